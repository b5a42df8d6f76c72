import { LongshoreError } from "@longshore/core";
import { Worker } from "node:worker_threads";
import type { ExitGuard } from "./exit-guard.ts";
import type { OpenLink } from "./runner-link.ts";
import type { FromRunner } from "./runner-message.ts";
import { checkNiceness } from "./check-niceness.ts";
import type { ThreadData } from "./yield-cores.ts";
import { newSharedMemory, sharedPage } from "./shared-page.ts";

function crash(thrown: unknown): LongshoreError {
  const outOfMemory =
    thrown instanceof Error && (thrown as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY";
  return new LongshoreError(
    outOfMemory ? "memory-limit" : "runtime-crashed",
    "execute",
    outOfMemory
      ? "the runtime's worker reached its memory limit"
      : "the runtime's worker ended without an answer",
    { cause: thrown },
  );
}

/**
 * Runners as worker threads. They are never terminated while they work: inside native code that would abort the whole program. `guard`
 * covers the end of the program.
 *
 * @param niceness Niceness of the threads relative to this one.
 */
export function workerLink(url: URL, guard?: ExitGuard, niceness = 0): OpenLink {
  const workerData: ThreadData = { niceness: checkNiceness(niceness) };
  return (events) => {
    const worker = new Worker(url, { workerData });
    const shared = newSharedMemory();
    const { busy } = sharedPage(shared);
    const watch = guard?.watch(busy);
    let over = false;
    const gone = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    const end = (why: LongshoreError): void => {
      if (over) return;
      over = true;
      watch?.[Symbol.dispose]();
      events.ended(why);
    };
    worker.on("message", (message: FromRunner) => events.received(message));
    worker.on("error", (thrown) => end(crash(thrown)));
    worker.on("exit", (code) => end(crash(new Error(`exit code ${code}`))));
    worker.unref();
    return {
      moves: true,
      shared,
      send(message, transfer) {
        // Before sending: the worker clears it, perhaps before this thread continues.
        Atomics.store(busy, 0, 1);
        try {
          worker.postMessage(message, [...transfer]);
        } catch (thrown) {
          Atomics.store(busy, 0, 0);
          throw thrown;
        }
      },
      hold: (held) => (held ? worker.ref() : worker.unref()),
      async end() {
        over = true;
        watch?.[Symbol.dispose]();
        // Held until it is gone, or the program could end in between. An idle, freed worker is safe to terminate.
        worker.ref();
        await worker.terminate();
        await gone;
      },
    };
  };
}
