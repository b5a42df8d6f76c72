import { type Json, LongshoreError, silentObserver } from "@longshore/core";
import {
  type Alias,
  aliasFrom,
  aliasJson,
  type AliasEntry,
  aliasName,
  defaultTrialLimits,
  read,
  sign,
  type StickyBy,
  type Target,
  type TrialMode,
} from "@longshore/core/internal";
import { operatorSigner, systemClock, systemRandom } from "@longshore/nodejs";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { dial, serverInfo } from "../connect/dial.ts";
import { changeDirectoryFile, type SignedAlias } from "../connect/entry-file.ts";
import { readTextFile } from "../connect/read-text.ts";
import { targetOf } from "../rollout/target.ts";

/** Options of `longshore rollout sign`. */
export interface SignAliasOptions extends AtOptions {
  readonly file: string;
  readonly key: string;
  readonly model: string;
  readonly to: string;
  /** Another version on trial. */
  readonly candidate?: string;
  readonly mode: TrialMode;
  readonly weight: number;
  readonly by: StickyBy;
  /** The revision that the change is meant for; default: the one in the file. */
  readonly revision?: number;
  readonly days: number;
  readonly json: boolean;
}

const dayMs = 86_400_000;

function nameIn({ body }: SignedAlias): string {
  return String(read.own(read.objectAt(body.alias, "alias"), "name"));
}

/** The content of the versions, from a server that has them. */
async function targetsOf(
  options: SignAliasOptions,
): Promise<{ readonly stable: Target; readonly candidate: Target | undefined }> {
  const { model, to, candidate } = options;
  const [server] = await serversOf(options);
  if (!server) {
    throw new LongshoreError("invalid-input", "resolve", "name a server that has the versions with --at URL");
  }
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const endpoint = dial(serverInfo(server), parts, server);
  try {
    return {
      stable: await targetOf(endpoint, model, to),
      candidate: candidate === undefined ? undefined : await targetOf(endpoint, model, candidate),
    };
  } finally {
    await endpoint.close();
  }
}

/** The alias as it will be signed. */
function made(
  name: string,
  revision: number,
  { stable, candidate }: Awaited<ReturnType<typeof targetsOf>>,
  { model, mode, weight: weightRatio, by }: SignAliasOptions,
): Alias {
  const next = { schemaVersion: 1, name, revision, model, stable } as const;
  if (!candidate) return { ...next, because: `version ${stable.version}, as the operator signed` };
  const trial = { candidate, mode, weightRatio, by, limits: defaultTrialLimits };
  return { ...next, trial, because: `${mode} of version ${candidate.version}, as the operator signed` };
}

/**
 * Signs an alias into a directory file, for every server and gateway that reads that directory. Compares and sets: it is refused
 * with `conflict` where the file's alias is at another revision than the one that the change is meant for.
 */
export async function signAlias(name: string, options: SignAliasOptions, io: CommandIo): Promise<ExitCode> {
  aliasName(name);
  const { file, revision, days } = options;
  const signer = operatorSigner(await readTextFile(options.key, "the operator's key"));
  // Before the file is read: other writers wait for this.
  const targets = await targetsOf(options);
  const alias = await changeDirectoryFile(file, async ({ aliases, ...rest }) => {
    const found = aliases.find((one) => nameIn(one) === name);
    const before = found && aliasFrom(found.body.alias, `alias ${name}`);
    if (revision !== undefined && revision !== (before?.revision ?? 0)) {
      throw new LongshoreError(
        "conflict",
        "admission",
        `alias ${name} is at revision ${before?.revision ?? 0} in the file, and the change was meant for revision ${revision}: look at it again`,
      );
    }
    // The file may have been put back to an old state.
    const next = Math.max(before?.revision ?? 0, rest.lastRevision) + 1;
    const result = made(name, next, targets, options);
    const wallMs = Math.round(systemClock().wallMs());
    const body: AliasEntry = {
      schemaVersion: 1,
      notBeforeMs: 0,
      notAfterMs: wallMs + Math.round(days * dayMs),
      alias: aliasJson(result),
    };
    // An entry is plain data.
    const signed = { ...(await sign("alias entry", body as unknown as Json, signer)), body };
    const others = aliases.filter((one) => one !== found);
    const lastRevision = Math.max(rest.lastRevision, result.revision);
    return { now: { ...rest, aliases: [...others, signed], lastRevision }, result };
  });
  if (options.json) io.out(JSON.stringify(alias));
  else
    io.out(
      `${name} (revision ${alias.revision}) leads to ${alias.model} ${alias.stable.version}: ${alias.because}`,
    );
  return 0;
}
