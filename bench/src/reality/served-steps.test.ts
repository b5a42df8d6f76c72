import type { Account, Endpoint, ModelDescription, Result, StageTime } from "@longshore/core";
import type { Simulation } from "@longshore/lab";
import { expect, it } from "vitest";
import { asServed } from "./served-steps.ts";

/** Crops, of which each is read: two steps for each of three elements. */
const description = {
  name: "page",
  version: "1",
  digest: "",
  variants: [
    {
      name: "base",
      body: {
        kind: "pipeline",
        steps: [
          { id: "detect", run: { model: "detect" }, inputs: {} },
          { id: "crop", run: { transform: "crop-image" }, inputs: {} },
          { id: "line", run: { transform: "resize-image" }, inputs: {}, forEach: "crop.crops" },
          { id: "read", run: { model: "read" }, inputs: {}, forEach: "line.image" },
        ],
      },
    },
  ],
} as unknown as ModelDescription;

const stage = (kind: StageTime["stage"], name: string, tookMs: number): StageTime => ({
  stage: kind,
  name,
  tookMs,
});

function ran(detectMs: number, tookMs: number): Result {
  const stages = [
    stage("run", "detect", detectMs),
    stage("transform", "crop", 10),
    stage("queue", "read", 5),
    stage("transform", "line", 6),
    stage("run", "read", 80),
    stage("network", "rest", 3),
  ];
  return { tookMs, accounts: [{ stages } as Partial<Account> as Account] } as Partial<Result> as Result;
}

it("reports the times of a resting server's steps, their elements, and the time between steps", async () => {
  const engine = {
    describe: () => Promise.resolve({ description: { batching: { maxBatchSize: 8 } } }),
    infer: ({ segment: { to } }: { readonly segment: { readonly to: string } }) =>
      Promise.resolve({ outputs: new Map([[`${to}.out`, { spec: { shape: [3, 4] } }]]) }),
  } as unknown as Endpoint;
  const told = await asServed({ model: { description }, inputs: {} } as unknown as Simulation, engine, [
    ran(30, 150),
    ran(50, 160),
  ]);
  expect(told).toEqual({
    wholeMs: 152,
    steps: [
      { id: "detect", graph: "detect", tookMs: 40, runs: 1 },
      { id: "crop", graph: undefined, tookMs: 10, runs: 1 },
      // An engine works on twice as many elements together as the widest of its models takes at a time.
      { id: "line", graph: undefined, tookMs: 6, runs: 3, together: 16 },
      { id: "read", graph: "read", tookMs: 80, runs: 3, together: 16 },
    ],
  });
});
