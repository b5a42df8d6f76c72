import type { StageTime } from "@longshore/core";
import { doubleDescription, doubleEndpoint } from "@longshore/testkit";
import { expect, it } from "vitest";
import { asServed, type Ran } from "./served-steps.ts";

/** Crops, of which each is read: two steps for each of three elements. */
const description = doubleDescription({
  name: "page",
  variants: [
    {
      name: "base",
      agreementRatio: 1,
      body: {
        outputs: {},
        kind: "pipeline",
        steps: [
          { id: "detect", run: { model: "detect" }, inputs: {} },
          { id: "crop", run: { transform: "crop-image", parameters: {} }, inputs: {} },
          {
            id: "line",
            run: { transform: "resize-image", parameters: {} },
            inputs: {},
            forEach: "crop.crops",
          },
          { id: "read", run: { model: "read" }, inputs: {}, forEach: "line.image" },
        ],
      },
    },
  ],
});

const stage = (kind: StageTime["stage"], name: string, tookMs: number): StageTime => ({
  stage: kind,
  name,
  tookMs,
});

function ran(detectMs: number, tookMs: number): Ran {
  const stages = [
    stage("run", "detect", detectMs),
    stage("transform", "crop", 10),
    stage("queue", "read", 5),
    stage("transform", "line", 6),
    stage("run", "read", 80),
    stage("network", "rest", 3),
  ];
  return { tookMs, accounts: [{ stages }] };
}

it("reports the times of a resting server's steps, their elements, and the time between steps", async () => {
  const reader = doubleDescription({ name: "read", batching: { maxBatchSize: 8 } });
  const engine = doubleEndpoint([
    { description: reader, run: () => new Map() },
    {
      description,
      run: (_inputs, { segment: { to } }) => {
        const spec = { name: `${to}.out`, datatype: "UINT8", shape: [3, 4] } as const;
        return new Map([[spec.name, { spec, bytes: new Uint8Array(12) }]]);
      },
    },
  ]);
  const told = await asServed({ model: { description }, inputs: {} }, engine, [ran(30, 150), ran(50, 160)]);
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
