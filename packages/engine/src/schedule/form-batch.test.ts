import { expect, test } from "vitest";
import { type Candidate, formBatch } from "./form-batch.ts";
import { runTimes } from "./run-times.ts";

const waiting = (rows: number): Candidate => ({
  rows,
  batchKey: "same",
  enqueuedMs: 0,
  deadlineMs: Infinity,
  order: 0,
});

test("a request with more rows than may be joined runs alone instead of never", () => {
  const [large, small] = [waiting(50), waiting(1)];
  const formed = formBatch([large, small], { maxBatchSize: 32, maxQueueDelayMs: 1 }, runTimes(), 0);
  expect(formed).toEqual({ kind: "run", members: [large] });
});
