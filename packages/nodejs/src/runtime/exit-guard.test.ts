import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { exitGuard } from "./exit-guard.ts";

test("many runtimes of one process cause no warning about a leak of listeners, and leave none", () => {
  const counts = (): number[] => [process.listenerCount("exit"), process.getMaxListeners()];
  const [listeners = 0, allowed = 0] = counts();
  const watches = Array.from({ length: 30 }, () => exitGuard().watch(new Int32Array(1)));
  expect(counts()).toEqual([listeners + 30, allowed + 30]);
  for (const watch of [...watches, ...watches]) watch[Symbol.dispose]();
  expect(counts()).toEqual([listeners, allowed]);
});

/** How a process ends that exits with 3 while its runs are `busy`. */
function exited(...busy: readonly number[]): {
  readonly status: number | null;
  readonly signal: string | null;
} {
  const script = `
    const { exitGuard } = await import(${JSON.stringify(new URL("../../dist/runtime/exit-guard.js", import.meta.url))});
    const guard = exitGuard(100);
    for (const one of ${JSON.stringify(busy)}) guard.watch(new Int32Array(new SharedArrayBuffer(4)).fill(one));
    process.on("SIGTERM", () => undefined);
    process.exit(3);
  `;
  const { status, signal } = spawnSync(process.execPath, ["--input-type=module", "--eval", script]);
  return { status, signal };
}

test.skipIf(process.platform === "win32")("a run that goes on is ended with the process, by a signal", () => {
  expect(exited(0, 0)).toEqual({ status: 3, signal: null });
  expect(exited(0, 1, 1)).toEqual({ status: null, signal: "SIGTERM" });
});
