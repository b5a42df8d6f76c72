import { expect, test } from "vitest";
import { exitGuard } from "./exit-guard.ts";

test("many runtimes of one process do not pass for a leak of listeners, and leave nothing behind", () => {
  const counts = (): number[] => [process.listenerCount("exit"), process.getMaxListeners()];
  const [listeners = 0, allowed = 0] = counts();
  const watches = Array.from({ length: 30 }, () => exitGuard().watch(new Int32Array(1)));
  expect(counts()).toEqual([listeners + 30, allowed + 30]);
  for (const watch of [...watches, ...watches]) watch[Symbol.dispose]();
  expect(counts()).toEqual([listeners, allowed]);
});
