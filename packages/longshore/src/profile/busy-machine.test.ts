import { expect, it } from "vitest";
import { warnWhenBusy } from "./busy-machine.ts";

async function notes(busyRatio: number | undefined): Promise<readonly string[]> {
  const said: string[] = [];
  let disposed = false;
  await warnWhenBusy(
    { note: (text) => void said.push(text) },
    {
      read: () => ({ busyRatio, loopDelayP50Ms: 0, loopDelayP99Ms: 0 }),
      [Symbol.dispose]: () => void (disposed = true),
    },
  );
  expect(disposed).toBe(true);
  return said;
}

it("warns before a measurement on a busy machine, and only then", async () => {
  expect(await notes(0.45)).toEqual([expect.stringContaining("(45 % of all cores)")]);
  expect(await notes(0.1)).toEqual([]);
  expect(await notes(undefined)).toEqual([]);
});
