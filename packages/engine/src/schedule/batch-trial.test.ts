import { float32Tensor, float32View, numericTensor, seededRandom, tensorsOf } from "@longshore/core";
import { expect, it } from "vitest";
import { tryBatching, type TriedRun, type TrialParts } from "./batch-trial.ts";

/** A graph that doubles rows; a run of n rows takes 20 us and 2 us for each, or as long as `slowed` says of the run's number and usual time. */
function trialOf(slowed: (run: number, usualMs: number) => number | undefined): TrialParts {
  let count = 0;
  const run: TrialParts["run"] = async (feeds): Promise<TriedRun> => {
    const x = feeds.get("x");
    if (!x) throw new Error("there is no x");
    const [rows = 0, width = 0] = x.spec.shape;
    const usualMs = 0.02 + 0.002 * rows;
    const doubled = float32View(x).map((value) => value * 2);
    const outputs = tensorsOf(numericTensor("y", "FP32", [rows, width], doubled));
    return { outputs, ranMs: slowed(count++, usualMs) ?? usualMs };
  };
  const rows = [1, 2, 3].map((value) =>
    tensorsOf(float32Tensor("x", [1, 4], Float32Array.of(value, 1, 2, 3))),
  );
  return { rows, tolerance: undefined, most: 64, random: seededRandom(1), run };
}

it("joins rows of a graph that takes less time for each of many", async () => {
  const verdict = await tryBatching(trialOf(() => undefined));
  expect(verdict.because).toBe("equal answers, and it pays");
  expect(verdict.maxRows).toBeGreaterThan(4);
});

it("finds the same where other work slows all runs for a few milliseconds", async () => {
  for (let from = 0; from < 200; from += 5) {
    const verdict = await tryBatching(trialOf((run) => (run >= from && run < from + 13 ? 0.2 : undefined)));
    expect(verdict, `slow from run ${from}`).toMatchObject({ because: "equal answers, and it pays" });
    expect(verdict.maxRows, `slow from run ${from}`).toBeGreaterThan(4);
  }
});

it("finds the same where the machine becomes slower or faster for good", async () => {
  for (const factor of [0.2, 5]) {
    for (let from = 0; from < 200; from += 5) {
      const slowed = (run: number, usualMs: number) => (run >= from ? factor * usualMs : usualMs);
      const verdict = await tryBatching(trialOf(slowed));
      const when = `${factor} of its time from run ${from} on`;
      expect(verdict, when).toMatchObject({ because: "equal answers, and it pays" });
      expect(verdict.maxRows, when).toBeGreaterThan(4);
    }
  }
});

it("joins none where each row takes as long as alone, whatever the machine does", async () => {
  for (const factor of [0.2, 1, 5]) {
    for (let from = 0; from < 60; from += 3) {
      const parts = trialOf(() => undefined);
      let count = 0;
      const run: TrialParts["run"] = async (feeds) => {
        const { outputs } = await parts.run(feeds);
        const rows = feeds.get("x")?.spec.shape[0] ?? 0;
        return { outputs, ranMs: 0.02 * rows * (count++ >= from ? factor : 1) };
      };
      expect(await tryBatching({ ...parts, run })).toEqual({ maxRows: 1, because: "it does not pay" });
    }
  }
});
