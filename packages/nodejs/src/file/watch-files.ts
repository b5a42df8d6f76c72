import { stat } from "node:fs/promises";
import type { Clock } from "@longshore/core";

/** How often files are checked, in milliseconds: a revocation should take effect quickly. */
const defaultEveryMs = 2000;

async function mark(path: string): Promise<string> {
  try {
    const { mtimeNs, size, ino } = await stat(path, { bigint: true });
    return `${mtimeNs}/${size}/${ino}`;
  } catch {
    // Not there (any more) is a state like others.
    return "absent";
  }
}

/**
 * Calls `changed` when one of the files is another than it was. By looking, not by the platform's notices, which miss
 * files that are swapped under a name by link or rename, as Kubernetes and careful writers do. One call at a time; dispose
 * to stop.
 *
 * @param paths Asked each time: which files matter may change with what is in them.
 * @param unchanged Called when all of them are as they were.
 *
 * @example
 * ```ts
 * import { systemClock, watchFiles } from "@longshore/nodejs";
 *
 * const watching = await watchFiles(() => ["identity.yaml"], systemClock(), async () => console.warn("it changed"));
 * watching[Symbol.dispose]();
 * ```
 */
export async function watchFiles(
  paths: () => readonly string[],
  clock: Clock,
  changed: () => Promise<void>,
  everyMs: number = defaultEveryMs,
  unchanged: () => void = () => undefined,
): Promise<Disposable> {
  const marks = async (): Promise<string> => (await Promise.all(paths().map(mark))).join("\n");
  let last = await marks();
  let stopped = false;
  let timer: Disposable | undefined;
  const look = async (): Promise<void> => {
    const now = await marks();
    if (!stopped && now !== last) {
      last = now;
      await changed();
    } else if (!stopped) unchanged();
    if (!stopped) arm();
  };
  const arm = (): void => {
    timer = clock.timer(everyMs, () => void look());
  };
  arm();
  return {
    [Symbol.dispose]() {
      stopped = true;
      timer?.[Symbol.dispose]();
    },
  };
}
