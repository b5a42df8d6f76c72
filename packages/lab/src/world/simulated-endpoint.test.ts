import { describe, expect, it } from "vitest";
import { type InferenceRequest, linkBelief, LongshoreError, seededRandom, tensorOf } from "@longshore/core";
import { childCall, housekeepingCall, meanOf } from "@longshore/core/internal";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { emulatedLink } from "../link/index.ts";
import { constantTrace } from "../trace/index.ts";
import {
  defaultEnvelope,
  simulatedEndpoint,
  type SimulatedEndpointParts,
  virtualClock,
  type VirtualClock,
  wholeSegment,
} from "./index.ts";

const call = housekeepingCall("test");
const model = toyModel();

function endpoint(clock: VirtualClock, more: Partial<SimulatedEndpointParts> = {}) {
  return simulatedEndpoint({
    info: endpointInfo("edge", "edge"),
    models: [model],
    clock,
    random: seededRandom(4),
    logSpread: 0,
    ...more,
  });
}

function request(from = "start", to = "end", bytes = 100_000): InferenceRequest {
  const x = tensorOf("x", "UINT8", [1, bytes], new Uint8Array(bytes));
  return {
    segment: { ...wholeSegment(model.description), from, to },
    inputs: new Map([["x", x]]),
    codecs: {},
  };
}

function linkTo(clock: VirtualClock) {
  // 100 packets a second.
  const trace = constantTrace(1_168_000);
  return emulatedLink({ up: trace, down: trace, delayMs: 20, clock, random: seededRandom(2) });
}

describe("simulatedEndpoint", () => {
  it("charges the profile's times of whole, head, tail and middle", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock, { speed: 2 });
    const took = async (from: string, to: string): Promise<number> => {
      const beganMs = clock.nowMs();
      const response = await clock.runUntil(edge.infer(request(from, to), call));
      expect(response.account.stages.find(({ stage }) => stage === "run")?.tookMs).toBe(
        clock.nowMs() - beganMs,
      );
      return clock.nowMs() - beganMs;
    };
    expect(await took("start", "end")).toBe(50);
    expect(await took("start", "c1")).toBe(20);
    expect(await took("c1", "end")).toBe(30);
    expect(edge.counts).toEqual({ accepted: 3, answered: 3, failed: 0 });
  });

  it("answers with the right names and shapes, or with the result of compute", async () => {
    const clock = virtualClock();
    const blank = await clock.runUntil(endpoint(clock).infer(request(), call));
    expect(blank.outputs.get("scores")?.spec.shape).toEqual([1, 10]);
    const answer = new Map([["scores", tensorOf("scores", "UINT8", [1, 1], Uint8Array.of(7))]]);
    const computing = endpoint(clock, { models: [{ ...model, compute: () => answer }] });
    expect((await clock.runUntil(computing.infer(request(), call))).outputs).toBe(answer);
  });

  it("runs one request an instance, in order of arrival, and reports its queue", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock, { instances: 2, maxQueue: 3 });
    const ends: number[] = [];
    const all = Array.from({ length: 5 }, () =>
      edge.infer(request(), call).then((response) => {
        ends.push(clock.nowMs());
        return response;
      }),
    );
    await clock.advance(1);
    expect(edge.load()).toMatchObject({ inFlight: 5, cpuRatio: 1 });
    expect(edge.load().queueMs).toBeCloseTo(99 + 150, 0);
    await expect(edge.infer(request(), call)).rejects.toMatchObject({ reason: "queue-full" });
    const responses = await clock.runUntil(Promise.all(all));
    expect(ends).toEqual([100, 100, 200, 200, 300]);
    expect(responses[4]?.account.stages[0]).toEqual({ stage: "queue", name: "toy", tookMs: 200 });
  });

  it("keeps the slot of a cancelled run and frees the queue position of one that waits", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock);
    const running = childCall(call);
    const waiting = childCall(call);
    const gone = new LongshoreError("cancelled", "execute", "not wanted");
    const first = edge.infer(request(), running.call);
    const second = edge.infer(request(), waiting.call);
    const third = edge.infer(request(), call);
    second.catch(() => undefined);
    clock.timer(10, () => (running.cancel(gone), waiting.cancel(gone)));
    await expect(clock.runUntil(first)).rejects.toMatchObject({ reason: "cancelled" });
    await expect(clock.runUntil(second)).rejects.toMatchObject({ reason: "cancelled" });
    await clock.runUntil(third);
    expect(clock.nowMs()).toBe(200);
  });

  it("crosses its link, acknowledges, counts bytes and teaches the belief", async () => {
    const clock = virtualClock();
    const learner = linkBelief();
    const edge = endpoint(clock, { link: linkTo(clock), learner });
    const acknowledged: number[] = [];
    const response = await clock.runUntil(
      edge.infer(request(), call, { acknowledged: (bytes) => acknowledged.push(bytes) }),
    );
    // 69 packets up, one down, two delays, and the run.
    expect(clock.nowMs()).toBeCloseTo(690 + 20 + 100 + 10 + 20, 0);
    expect(response.account).toMatchObject({
      sentBytes: 100_000 + defaultEnvelope.up,
      receivedBytes: 10 + defaultEnvelope.down,
    });
    expect(response.account.costMicros).toBeGreaterThan(100);
    expect(response.account.energy).toEqual({ millijoules: 200, label: "estimated" });
    expect(acknowledged[acknowledged.length - 1]).toBe(100_000);
    const believed = learner.transferMs(100_000, "up", clock.nowMs());
    expect(believed.origin).toBe("measured");
    expect(meanOf(believed)).toBeGreaterThan(300);
    expect(meanOf(believed)).toBeLessThan(900);
  });

  it("fills whole packets with a probe and its head, which the belief learns", async () => {
    const clock = virtualClock();
    const learner = linkBelief();
    const told: number[] = [];
    const edge = endpoint(clock, {
      link: linkTo(clock),
      learner: {
        ...learner,
        sendStarted(bytes, direction, nowMs, progress) {
          told.push(bytes);
          return learner.sendStarted(bytes, direction, nowMs, progress);
        },
      },
    });
    await clock.runUntil(edge.capabilities.probe?.(1460, call) ?? Promise.resolve(undefined));
    expect(told).toEqual([1460]);
    // A packet there and one back, 10 ms each, and both ways' delay.
    expect(clock.nowMs()).toBeCloseTo(60, 0);
  });

  it("sends fewer bytes when the crossing travels coded", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock, { link: linkTo(clock) });
    const coded = { ...request("c1", "end", 20_000), codecs: { x: "half" } };
    const { account } = await clock.runUntil(edge.infer(coded, call));
    expect(account.sentBytes).toBe(10_000 + defaultEnvelope.up);
  });

  it("offers whole, head and tail in each variant its tier may hold, and lies on command", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock);
    const cloud = simulatedEndpoint({
      info: endpointInfo("cloud", "cloud"),
      models: [model],
      clock,
      random: seededRandom(1),
    });
    const keys = (await edge.offers({ model: "toy" }, call)).map(
      ({ segment }) => `${segment.variant}:${segment.from}..${segment.to}`,
    );
    expect(keys).toEqual(["base:start..end", "base:start..c1", "base:c1..end"]);
    expect(await cloud.offers({ model: "toy" }, call)).toHaveLength(6);
    expect(await edge.offers({ model: "other" }, call)).toEqual([]);
    edge.faults.promiseFactor = 0.01;
    const promised = (await edge.offers({ model: "toy" }, call)).map(({ completionMs }) =>
      meanOf(completionMs),
    );
    expect(promised[0]).toBeCloseTo(1, 9);
    await clock.runUntil(edge.infer(request(), call));
    expect(clock.nowMs()).toBe(100);
  });

  it("describes its model", async () => {
    const edge = endpoint(virtualClock());
    expect((await edge.describe("toy", undefined, call))?.profile).toBe(model.profile);
    expect(await edge.describe("toy", "9", call)).toBeUndefined();
    await expect(
      edge.infer({ ...request(), segment: { ...request().segment, model: "no" } }, call),
    ).rejects.toMatchObject({ reason: "unknown-model" });
    await expect(edge.infer(request("start", "c9"), call)).rejects.toMatchObject({ reason: "unknown-cut" });
    const other = { ...request(), segment: { ...request().segment, variant: "tiny" } };
    await expect(edge.infer(other, call)).rejects.toMatchObject({ reason: "unknown-variant" });
  });

  it("breaks requests under way when it goes down, and refuses until it is back", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock);
    const broken = edge.infer(request(), call);
    clock.timer(30, () => (edge.faults.down = true));
    await expect(clock.runUntil(broken)).rejects.toMatchObject({ reason: "no-answer" });
    expect(clock.nowMs()).toBe(30);
    await expect(edge.infer(request(), call)).rejects.toMatchObject({ reason: "unreachable" });
    await expect(edge.offers({ model: "toy" }, call)).rejects.toMatchObject({ reason: "unreachable" });
    edge.faults.down = false;
    await clock.runUntil(edge.infer(request(), call));
    await edge.close();
    await expect(edge.infer(request(), call)).rejects.toMatchObject({ reason: "unreachable" });
  });

  it("hangs, slows down, fails and answers rubbish on command", async () => {
    const clock = virtualClock();
    const edge = endpoint(clock, { faults: { slowFactor: 3 } });
    await clock.runUntil(edge.infer(request(), call));
    expect(clock.nowMs()).toBe(300);
    edge.faults.garbage = true;
    expect((await clock.runUntil(edge.infer(request(), call))).outputs.size).toBe(0);
    edge.faults.failRatio = 1;
    await expect(clock.runUntil(edge.infer(request(), call))).rejects.toMatchObject({ reason: "run-failed" });
    edge.faults.hang = true;
    const hung = childCall(call);
    clock.timer(10_000, () => hung.cancel(new LongshoreError("deadline-exceeded", "execute", "gave up")));
    await expect(clock.runUntil(edge.infer(request(), hung.call))).rejects.toMatchObject({
      reason: "deadline-exceeded",
    });
  });
});
