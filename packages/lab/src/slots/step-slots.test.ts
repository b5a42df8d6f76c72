import { describe, expect, it } from "vitest";
import { type InferenceRequest, LongshoreError, seededRandom } from "@longshore/core";
import { childCall, housekeepingCall } from "@longshore/core/internal";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace } from "../trace/index.ts";
import {
  offloadWorld,
  simulatedEndpoint,
  type SimulatedModel,
  virtualClock,
  type VirtualClock,
  wholeSegment,
} from "../world/index.ts";
import { fifoSlots, type Slots, stepSlots, type StepWork } from "./index.ts";

const call = housekeepingCall("test");

/** 100 ms: 10 of a transform, 30 of one graph, which ends at the cut c1, and 60 of another that runs for four elements. */
const model: SimulatedModel = {
  ...toyModel(),
  steps: [
    { id: "fit", graph: undefined, tookMs: 20, runs: 1 },
    { id: "c1", graph: "detect", tookMs: 60, runs: 1 },
    { id: "read", graph: "recognise", tookMs: 120, runs: 4 },
  ],
};

function endpoint(clock: VirtualClock, slots: Slots, served = model) {
  const info = endpointInfo("cloud", "cloud");
  return simulatedEndpoint({ info, models: [served], clock, random: seededRandom(4), logSpread: 0, slots });
}

function request(from = "start", to = "end"): InferenceRequest {
  return { segment: { ...wholeSegment(model.description), from, to }, inputs: new Map(), codecs: {} };
}

/** When requests that come at these instants are answered, in order of the answers. */
async function answeredAt(
  clock: VirtualClock,
  slots: Slots,
  arrivals: readonly (readonly [atMs: number, request: InferenceRequest])[],
): Promise<readonly (readonly [index: number, atMs: number])[]> {
  const there = endpoint(clock, slots);
  const answers: (readonly [number, number])[] = [];
  const each = arrivals.map(async ([atMs, asked], index) => {
    await new Promise<void>((resolve) => clock.timer(atMs, resolve));
    await there.infer(asked, call);
    answers.push([index, Math.round(clock.nowMs())]);
  });
  await clock.runUntil(Promise.all(each));
  return answers;
}

describe("stepSlots", () => {
  it("takes as long as whole slots for a request that is alone", async () => {
    for (const cores of [1, 2]) {
      const clock = virtualClock();
      expect(await answeredAt(clock, stepSlots({ clock, cores }), [[0, request()]])).toEqual([[0, 100]]);
    }
  });

  it("works a step of one request beside another of the next, where whole slots do not", async () => {
    const arrivals = [
      [0, request()],
      [0, request()],
    ] as const;
    const whole = virtualClock();
    expect(await answeredAt(whole, fifoSlots({ clock: whole, count: 1 }), arrivals)).toEqual([
      [0, 100],
      [1, 200],
    ]);
    // The second has the first graph from 40 to 70 ms; from then on both take turns in the other, where two of four elements
    // are done and the third is requested by then.
    const clock = virtualClock();
    const answers = await answeredAt(clock, stepSlots({ clock, cores: 2 }), arrivals);
    expect(answers).toEqual([
      [0, 115],
      [1, 160],
    ]);
  });

  it("runs no more graphs at once than there are cores", async () => {
    const clock = virtualClock();
    const answers = await answeredAt(clock, stepSlots({ clock, cores: 1 }), [
      [0, request("c1", "end")],
      [1, request("start", "c1")],
    ]);
    // The transform of the second runs beside the first graph and shares the core; then both graphs take turns.
    expect(answers[1]?.[1]).toBe(100);
  });

  it("shares the cores evenly between requests under way", async () => {
    const clock = virtualClock();
    const one = stepSlots({ clock, cores: 1 });
    const transform = [{ graph: undefined, ratio: 1, runs: 1 }];
    const ends: number[] = [];
    const all = [one.work(() => 30, call, 30, transform), one.work(() => 50, call)].map(async (work) => {
      await work;
      ends.push(Math.round(clock.nowMs()));
    });
    await clock.runUntil(Promise.all(all));
    expect(ends).toEqual([60, 80]);
  });

  describe("with elements that are worked on together", () => {
    const each = { runs: 4, together: 2 };
    /** Crops, then a recogniser: 20 and 80 of 100, in two groups of two elements. */
    const grouped = [
      { graph: undefined, ratio: 0.2, ...each },
      { graph: "recognise", ratio: 0.8, ...each },
    ];
    const recognised = [{ graph: "recognise", ratio: 1, runs: 4 }];

    /** When requests that come at these instants, of 90 ms alone, are done. */
    async function doneAt(
      cores: number,
      arrivals: readonly (readonly [atMs: number, steps: readonly StepWork[]])[],
    ): Promise<readonly number[]> {
      const clock = virtualClock();
      const slots = stepSlots({ clock, cores });
      const all = arrivals.map(async ([atMs, steps]) => {
        await new Promise<void>((resolve) => clock.timer(atMs, resolve));
        await slots.work(() => 90, call, undefined, steps);
        return Math.round(10 * clock.nowMs()) / 10;
      });
      return clock.runUntil(Promise.all(all));
    }

    it("takes the service time alone, on one core and on several", async () => {
      for (const cores of [1, 2]) expect(await doneAt(cores, [[0, grouped]])).toEqual([90]);
    });

    it("works a graph for two groups of a request in turns with another request's runs", async () => {
      // The crops of a group take 10 ms, each element 20. The graph takes one of each group by 50 ms, then one of the other request's of
      // 22.5, then again one of each group.
      expect(
        await doneAt(2, [
          [0, grouped],
          [25, recognised],
        ]),
      ).toEqual([112.5, 180]);
    });
  });

  it("reports the wait for the graphs that a segment needs, in its offers, and counts the work still to come", async () => {
    const clock = virtualClock();
    const there = endpoint(clock, stepSlots({ clock, cores: 2 }));
    const served = there.infer(request(), call);
    await clock.advance(25);
    const offers = await there.offers({ model: "toy" }, call);
    const queueMs = (from: string, to: string): number | undefined =>
      offers.find(({ segment }) => segment.from === from && segment.to === to)?.queueMs;
    // 15 ms are left of the first graph's run; the second has 60 to come.
    expect(queueMs("start", "end")).toBeCloseTo(75, 6);
    expect(queueMs("start", "c1")).toBeCloseTo(15, 6);
    expect(queueMs("c1", "end")).toBeCloseTo(60, 6);
    expect(there.load()).toMatchObject({ inFlight: 1, cpuRatio: 0.5 });
    const { account, load } = await clock.runUntil(served);
    expect(load).toMatchObject({ inFlight: 0, queueMs: 0 });
    expect(account.stages.find(({ stage }) => stage === "run")?.tookMs).toBeCloseTo(100, 6);
  });

  it("lets a request leave its queue, keeps a graph that runs, and refuses above the limit", async () => {
    const clock = virtualClock();
    const slots = stepSlots({ clock, cores: 2, maxQueue: 1 });
    const running = childCall(call);
    const waiting = childCall(call);
    const first = slots.work(() => 100, running.call);
    const second = slots.work(() => 100, waiting.call);
    await expect(slots.work(() => 100, call)).rejects.toMatchObject({ reason: "queue-full" });
    const gone = new LongshoreError("cancelled", "execute", "not wanted");
    clock.timer(10, () => (running.cancel(gone), waiting.cancel(gone)));
    const rejected = [first, second].map((one) => expect(one).rejects.toMatchObject({ reason: "cancelled" }));
    await clock.runUntil(Promise.all(rejected));
    expect(slots.inFlight).toBe(0);
    expect(slots.waitMs()).toBeCloseTo(90, 6);
    const { queueMs, serviceMs } = await clock.runUntil(slots.work(() => 50, call));
    expect([queueMs, serviceMs].map(Math.round)).toEqual([90, 50]);
  });

  it("is the model of an endpoint with stated cores", async () => {
    const trace = constantTrace(1e9);
    const { clock, endpoints } = offloadWorld({
      models: [model],
      seed: 5,
      device: { speed: 1, info: endpointInfo("device", "device") },
      endpoints: [{ info: endpointInfo("cloud", "cloud"), cores: 2, up: trace, down: trace, delayMs: 0 }],
    });
    const cloud = endpoints.get("cloud")!;
    await clock.runUntil(Promise.all([1, 2].map(() => cloud.endpoint.infer(request(), call))));
    expect(clock.nowMs()).toBeLessThan(180);
  });
});
