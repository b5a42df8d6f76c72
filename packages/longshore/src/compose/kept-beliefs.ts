import { join } from "node:path";
import type { Clock, LongshoreError } from "@longshore/core";
import { openBeliefs, type OpenBeliefs } from "@longshore/nodejs";
import { cacheFolderOf } from "../engine/cache-folder.ts";

/** Inputs of `keptBeliefs`. */
export interface KeptBeliefsParts {
  readonly clock: Clock;
  /** Hears of a file that is ignored or cannot be written. */
  readonly report: (error: LongshoreError) => void;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * The beliefs that a file keeps over a restart; `from` is its path, `off` or false for nothing. Default: the value of
 * `LONGSHORE_BELIEFS`, else a file in the user's cache. Undefined if beliefs are not kept.
 */
export async function keptBeliefs(
  from: string | false | undefined,
  { environment, ...parts }: KeptBeliefsParts,
): Promise<OpenBeliefs | undefined> {
  const said = from ?? environment["LONGSHORE_BELIEFS"];
  if (said === false || said === "off") return undefined;
  const folder = cacheFolderOf({}, environment);
  const path = said || (folder === undefined ? undefined : join(folder, "beliefs.json"));
  if (path === undefined) return undefined;
  return openBeliefs({ path, ...parts });
}
