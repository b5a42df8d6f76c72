import { expect, it } from "vitest";
import { type Account, type Inputs, type Limits, LongshoreError, type Result } from "@longshore/core";
import { sleep, outputsOf } from "@longshore/core/internal";
import { runScenarioOn, virtualClock } from "./index.ts";

/** Of an exchange of 10 ms and a run. */
const account = (runMs: number): Account => ({
  endpoint: "edge",
  zone: "home/edge",
  segment: { model: "toy", version: "1", digest: "d", variant: "fp32", from: "start", to: "end" },
  stages: [
    { stage: "network", name: "edge", tookMs: 10 },
    { stage: "run", name: "toy", tookMs: runMs },
  ],
  sentBytes: 5,
  receivedBytes: 1,
  energy: { millijoules: 1, label: "estimated" },
  costMicros: 1,
  forwarded: [],
});

it("starts every request at its instant, lets the world happen and loses no row", async () => {
  const clock = virtualClock({ startMs: 1000 });
  let cut = false;
  const infer = async (_model: string, _inputs: Inputs, limits?: Limits): Promise<Result> => {
    const startedMs = clock.nowMs();
    await sleep(clock, limits?.deadlineMs ?? 50);
    if (cut) throw new LongshoreError("no-endpoint", "plan", "nowhere to run");
    const tookMs = clock.nowMs() - startedMs;
    return {
      outputs: outputsOf(new Map()),
      where: "edge",
      because: "it is there",
      tookMs,
      predictedMs: 45,
      predictedLabel: "measured",
      plans: [],
      accounts: [account(4), account(3)],
      lostLegs: [],
      sentBytes: 10,
      receivedBytes: 1,
      energy: { millijoules: 3, label: "estimated" },
      costMicros: 2,
    };
  };
  const rows = await runScenarioOn(clock, {
    offloader: { infer },
    requests: [0, 20, 100].map((atMs) => ({ atMs, model: "toy", inputs: {}, check: () => atMs > 0 })),
    events: [{ atMs: 110, what: "link cut", happen: () => (cut = true) }],
  });
  expect(rows.map(({ outcome, atMs, tookMs, right }) => ({ outcome, atMs, tookMs, right }))).toEqual([
    { outcome: "answered", atMs: 0, tookMs: 50, right: false },
    { outcome: "answered", atMs: 20, tookMs: 50, right: true },
    { outcome: "no-endpoint", atMs: 100, tookMs: 50, right: undefined },
  ]);
  expect(rows.map(({ stagesMs }) => stagesMs)).toEqual([
    { network: 20, run: 7 },
    { network: 20, run: 7 },
    {},
  ]);
  expect(clock.nowMs()).toBe(1150);
});
