import type { Clock } from "@longshore/core";
import { readFile } from "node:fs/promises";

/** The options of a watch. */
export interface MemoryWatch {
  readonly pid: number;
  readonly limitBytes: number;
  readonly everyMs: number;
  readonly clock: Clock;
  readonly over: () => void;
}

const memoryLine = /^(?:RssAnon|RssShmem):\s+(\d+) kB$/gm;

/** Resident memory of a process that is its own (not mapped files), in bytes; undefined when it is gone or not on Linux. */
async function ownBytes(pid: number): Promise<number | undefined> {
  try {
    let kilobytes = 0;
    for (const [, figure] of (await readFile(`/proc/${pid}/status`, "utf8")).matchAll(memoryLine)) {
      kilobytes += Number(figure);
    }
    return kilobytes * 1024;
  } catch {
    // The process has ended; its owner learns that in another way.
    return undefined;
  }
}

/**
 * Checks a process' memory every `everyMs` and calls `over` once when it is over the limit. Between two checks a process can
 * allocate as much as the machine writes in that time (some tens of megabytes in 20 ms). So this backs up a kernel limit if
 * there is one, and is the only limit otherwise.
 */
export function watchMemory({ pid, limitBytes, everyMs, clock, over }: MemoryWatch): Disposable {
  let timer: Disposable | undefined;
  let disposed = false;
  const look = async (): Promise<void> => {
    const bytes = await ownBytes(pid);
    if (disposed || bytes === undefined) return;
    if (bytes > limitBytes) over();
    else timer = clock.timer(everyMs, () => void look());
  };
  timer = clock.timer(everyMs, () => void look());
  return {
    [Symbol.dispose]() {
      disposed = true;
      timer?.[Symbol.dispose]();
    },
  };
}
