import { doubleDescription, doubleOffer, type ManualClock, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import {
  type Endpoint,
  type EndpointInfo,
  type InferenceRequest,
  type InferenceResponse,
  nextStep,
} from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, float32View, type Tensors, tensorsOf } from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

/** A running total: each step adds its input to the state. A wrong state or a step taken twice gives a wrong total. */
const description = doubleDescription({
  name: "total",
  digest: `sha256:${"2".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "total", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
  sequence: {
    maxIdleMs: 60_000,
    states: [{ input: "s", output: "sN", datatype: "FP32", shape: [1] }],
  },
});

interface Counter extends Endpoint {
  /** Steps that it ran, by sequence. */
  readonly steps: number[];
  fault: "none" | "down" | "answer-lost" | "forgets" | "lies" | "corrupts";
  readonly carried: number[];
  /** The queue that it reports. */
  queueMs: number;
}

function counter(info: EndpointInfo, runMs: number): Counter {
  const sums = new Map<string, { sum: number; step: number }>();
  const made: Counter = {
    info,
    steps: [],
    carried: [],
    fault: "none",
    queueMs: 0,
    capabilities: {},
    describe: () => Promise.resolve({ description }),
    offers: () => Promise.resolve([doubleOffer(description, info, runMs)]),
    async infer(request: InferenceRequest, { tenant }: Call) {
      const { sequence } = request;
      if (!sequence) throw new Error("a step of a sequence was expected");
      if (tenant === "greedy") {
        throw new LongshoreError("tenant-limit", "admission", "too many", { retryAfterMs: 1000 });
      }
      if (made.fault === "down") throw new LongshoreError("unreachable", "transport", `${info.id} is down`);
      if (made.fault === "forgets") sums.delete(sequence.id);
      const brought = sequence.state?.get("s");
      if (brought) made.carried.push(sequence.step);
      const mine = sums.get(sequence.id);
      if (!brought && sequence.step > 0 && !mine) {
        throw new LongshoreError("sequence-unknown", "execute", "no such sequence here");
      }
      if (!brought && sequence.step > 0 && mine?.step !== sequence.step - 1) {
        throw new LongshoreError(
          "sequence-step",
          "execute",
          `step ${sequence.step} does not follow ${mine?.step}`,
        );
      }
      const before = brought ? the(float32View(brought)[0]) : (mine?.sum ?? 0);
      const x = request.inputs.get("x");
      if (!x || "read" in x) throw new Error("x was expected");
      const sum = before + the(float32View(x)[0]);
      sums.set(sequence.id, { sum, step: sequence.step });
      made.steps.push(sequence.step);
      if (made.fault === "answer-lost")
        throw new LongshoreError("no-answer", "transport", `${info.id} broke off`);
      const wrong = (...faults: readonly Counter["fault"][]): number => (faults.includes(made.fault) ? 7 : 0);
      const after = Float32Array.of(sum + wrong("lies", "corrupts"));
      const state: Tensors = tensorsOf(float32Tensor("s", [1], after));
      return {
        outputs: tensorsOf(float32Tensor("total", [1], Float32Array.of(sum + wrong("lies")))),
        ...(sequence.wantState ? { state } : {}),
        account: {
          endpoint: info.id,
          zone: info.zone,
          segment: request.segment,
          stages: [{ stage: "run", name: "total", tookMs: runMs }],
          sentBytes: 0,
          receivedBytes: 0,
          energy: { millijoules: 0, label: "estimated" },
          costMicros: 0,
          forwarded: [],
        },
        load: { atMs: 0, cpuRatio: 0, inFlight: 0, queueMs: made.queueMs },
      };
    },
    close: () => Promise.resolve(),
  };
  return made;
}

const info = (id: string, state: EndpointInfo["state"], zone = "eu"): EndpointInfo => ({
  id,
  tier: id === "device" ? "device" : "edge",
  zone,
  trust: "operated",
  codecs: [],
  state,
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
});

const policy = tablePolicy({ internal: { leastTrust: "none" }, public: { leastTrust: "none" } });

function parts(clock: ManualClock) {
  return { policy, clock, random: seededRandom(3), observer: silentObserver, links: () => undefined };
}

/** A gateway that runs nothing itself. */
function gatewayBefore(clock: ManualClock, ...endpoints: readonly Endpoint[]) {
  return offloadEndpoint({ ...parts(clock), info: info("gateway", "movable"), endpoints });
}

const one = { x: Float32Array.of(1) };
const total = (outputs: Tensors): number => the(float32View(outputs.get("total")!)[0]);

describe("sequences", () => {
  it("keep their state where they run, and take it along when that endpoint is gone", async () => {
    const clock = manualClock();
    const edge = counter(info("edge", "movable"), 1);
    const device = counter(info("device", "movable", "device"), 20);
    const offloader = createOffloader({ ...parts(clock), local: device, endpoints: [edge] });
    const sequence = offloader.sequence("total");
    const ranAt: string[] = [];
    for (let step = 0; step < 9; step++) {
      if (step === 4) edge.fault = "down";
      const result = await clock.finish(sequence.next(one));
      ranAt.push(result.where);
      expect(total(result.outputs)).toBe(step + 1);
    }
    expect(ranAt.slice(0, 4)).toEqual(["edge", "edge", "edge", "edge"]);
    expect(ranAt.slice(4)).toEqual(["device", "device", "device", "device", "device"]);
    // Only the move carried the state; afterwards it was there.
    expect(device.carried).toEqual([4]);
    expect(edge.carried).toEqual([]);
    await sequence[Symbol.asyncDispose]();
    await expect(sequence.next(one)).rejects.toMatchObject({ reason: "sequence-unknown" });
  });

  it.each(["lies", "corrupts"] as const)(
    "go on rightly where answers are confirmed and the endpoint that has the state %s",
    async (fault) => {
      const clock = manualClock();
      const [a, b, c] = ["a", "b", "c"].map((id, at) => counter(info(id, "movable"), 1 + at));
      const offloader = createOffloader({ ...parts(clock), endpoints: [a!, b!, c!], checks: {} });
      const sequence = offloader.sequence("total", { confirm: true });
      for (let step = 0; step < 9; step++) {
        if (step === 4) a!.fault = fault;
        const end = step === 8;
        const result = await clock.finish(sequence.next(one, { end }));
        expect(total(result.outputs)).toBe(step + 1);
        expect(result.confirmedBy).not.toBe(result.where);
        if (step > 4) expect([result.where, result.confirmedBy]).not.toContain("a");
      }
    },
  );

  it("are confirmed by nobody where their state does not travel", async () => {
    const clock = manualClock();
    const resident = ["a", "b"].map((id) => counter(info(id, "resident"), 1));
    const offloader = createOffloader({ ...parts(clock), endpoints: resident });
    const sequence = offloader.sequence("total", { confirm: true });
    await clock.finish(sequence.next(one));
    await expect(clock.finish(sequence.next(one))).rejects.toMatchObject({ reason: "unconfirmed" });
  });

  it("move to a better endpoint by plan, with their state", async () => {
    const clock = manualClock();
    const edge = counter(info("edge", "movable"), 1);
    const device = counter(info("device", "movable", "device"), 20);
    const offloader = createOffloader({ ...parts(clock), local: device, endpoints: [edge] });
    const sequence = offloader.sequence("total");
    const ranAt: string[] = [];
    for (let step = 0; step < 8; step++) {
      edge.queueMs = step >= 3 ? 900 : 0;
      const result = await clock.finish(sequence.next(one));
      ranAt.push(result.where);
      expect(total(result.outputs)).toBe(step + 1);
    }
    expect(ranAt).toEqual(["edge", "edge", "edge", "edge", "device", "device", "device", "device"]);
    expect(device.carried).toEqual([4]);
  });

  it("tell their endpoint which step is the last, ask for no copy of what it leaves, and take no step after it", async () => {
    const clock = manualClock();
    const edge = counter(info("edge", "movable"), 1);
    const device = counter(info("device", "movable", "device"), 20);
    const told: (readonly [step: number, end: boolean, wantState: boolean])[] = [];
    const watched: Endpoint = {
      ...edge,
      infer(request, call) {
        const { step = -1, end = false, wantState = false } = request.sequence ?? {};
        told.push([step, end, wantState]);
        return edge.infer(request, call);
      },
    };
    const offloader = createOffloader({ ...parts(clock), local: device, endpoints: [watched] });
    const sequence = offloader.sequence("total");
    for (let step = 0; step < 2; step++) await clock.finish(sequence.next(one));
    expect(total((await clock.finish(sequence.next(one, { end: true }))).outputs)).toBe(3);
    expect(told).toEqual([
      [0, false, true],
      [1, false, true],
      [2, true, false],
    ]);
    await expect(sequence.next(one)).rejects.toMatchObject({ reason: "sequence-unknown" });
  });

  it("give each step a key of its own, since a key names one request, and the same key when a step is repeated", async () => {
    const clock = manualClock();
    const device = counter(info("device", "movable", "device"), 20);
    const keys: (string | undefined)[] = [];
    const watched: Endpoint = {
      ...device,
      infer(request, call) {
        keys.push(call.idempotencyKey);
        if (keys.length === 2) throw new LongshoreError("queue-full", "admission", "too many");
        return device.infer(request, call);
      },
    };
    const offloader = createOffloader({ ...parts(clock), local: watched, endpoints: [] });
    const sequence = offloader.sequence("total", { idempotencyKey: "till-4" });
    await clock.finish(sequence.next(one));
    await expect(clock.finish(sequence.next(one))).rejects.toMatchObject({ reason: "queue-full" });
    await clock.finish(sequence.next(one));
    await clock.finish(sequence.next(one, { idempotencyKey: "the last" }));
    expect(keys).toEqual(["till-4.0", "till-4.1", "till-4.1", "the last"]);
  });

  it("ask another endpoint with a key for each step, though nobody gave one", async () => {
    const clock = manualClock();
    const edge = counter(info("edge", "movable"), 1);
    const keys: (string | undefined)[] = [];
    const watched: Endpoint = {
      ...edge,
      infer(request, call, progress) {
        keys.push(call.idempotencyKey);
        return edge.infer(request, call, progress);
      },
    };
    const offloader = createOffloader({ ...parts(clock), endpoints: [watched] });
    const sequence = offloader.sequence("total");
    for (let step = 0; step < 3; step++) await clock.finish(sequence.next(one));
    expect(new Set(keys).size).toBe(3);
    expect(keys).not.toContain(undefined);
  });

  it("never step twice: a step whose answer was lost is repeated elsewhere from the state before it", async () => {
    const clock = manualClock();
    const edge = counter(info("edge", "movable"), 1);
    const device = counter(info("device", "movable", "device"), 20);
    const offloader = createOffloader({ ...parts(clock), local: device, endpoints: [edge] });
    const sequence = offloader.sequence("total");
    for (let step = 0; step < 6; step++) {
      edge.fault = step === 3 ? "answer-lost" : "none";
      const result = await clock.finish(sequence.next(one));
      expect(total(result.outputs)).toBe(step + 1);
      if (step === 3) expect(result.where).toBe("device");
    }
    expect(edge.steps.filter((step) => step === 3)).toEqual([3]);
    expect(device.carried).toContain(3);
  });

  it("bring their copy back when the endpoint has forgotten them", async () => {
    const clock = manualClock();
    const edge = counter(info("edge", "movable"), 1);
    const stateless = counter(info("stateless", "none"), 1);
    const offloader = createOffloader({ ...parts(clock), endpoints: [edge, stateless] });
    const sequence = offloader.sequence("total");
    for (let step = 0; step < 4; step++) {
      if (step === 2) edge.fault = "forgets";
      const result = await clock.finish(sequence.next(one));
      expect(total(result.outputs)).toBe(step + 1);
    }
    expect(edge.carried).toEqual([2, 3]);
  });

  it("are pinned to an endpoint that lets no state go, and say so when it is lost", async () => {
    const clock = manualClock();
    const triton = counter(info("triton", "resident"), 1);
    const device = counter(info("device", "movable", "device"), 20);
    const offloader = createOffloader({ ...parts(clock), local: device, endpoints: [triton] });
    const sequence = offloader.sequence("total");
    const first = await clock.finish(sequence.next(one));
    expect(first.where).toBe("triton");
    expect((await clock.finish(sequence.next(one))).where).toBe("triton");
    triton.fault = "down";
    for (let time = 0; time < 2; time++)
      await expect(clock.finish(sequence.next(one))).rejects.toMatchObject({ reason: "unreachable" });
  });

  it("refuse to run at endpoints that keep no state", async () => {
    const clock = manualClock();
    const stateless = counter(info("stateless", "none"), 1);
    const offloader = createOffloader({ ...parts(clock), endpoints: [stateless] });
    await expect(clock.finish(offloader.sequence("total").next(one))).rejects.toMatchObject({
      reason: "no-endpoint",
      message: expect.stringContaining("state") as string,
    });
  });

  it("stay with their endpoint behind a gateway", async () => {
    const clock = manualClock();
    const a = counter(info("a", "resident"), 1);
    const b = counter(info("b", "resident"), 1);
    const gateway = offloadEndpoint({
      ...parts(clock),
      info: info("gateway", "resident"),
      endpoints: [a, b],
    });
    const offloader = createOffloader({ ...parts(clock), endpoints: [gateway] });
    for (let round = 0; round < 4; round++) {
      const sequence = offloader.sequence("total");
      for (let step = 0; step < 4; step++) {
        const result = await clock.finish(sequence.next(one));
        expect(total(result.outputs)).toBe(step + 1);
        expect(result.where).toBe("gateway");
      }
    }
    expect(a.steps.length + b.steps.length).toBe(16);
  });
});

describe("sequences of clients that keep no state, behind a gateway", () => {
  const { segment } = doubleOffer(description, info("edge", "movable"), 1);
  const faults = ["down", "answer-lost", "forgets"] as const;

  it("go on for others where one tenant has as many as an endpoint keeps for one", async () => {
    const clock = manualClock();
    const inner = offloadEndpoint({
      ...parts(clock),
      info: info("inner", "movable"),
      endpoints: [counter(info("a", "movable"), 1)],
    });
    const outer = offloadEndpoint({ ...parts(clock), info: info("outer", "movable"), endpoints: [inner] });
    const begin = (tenant: string): Promise<InferenceResponse> => {
      const sequence = { id: tenant, step: 0, end: false, wantState: false };
      const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(1)));
      const call = { ...housekeepingCall("test"), tenant };
      return clock.finish(outer.infer({ segment, inputs, codecs: {}, sequence }, call));
    };
    await begin("modest");
    await expect(begin("greedy")).rejects.toMatchObject({ reason: "tenant-limit", retryAfterMs: 1000 });
    expect(total((await begin("other")).outputs)).toBe(1);
  });

  it.each(faults.flatMap((fault) => [0, 1, 2, 5].map((at) => [fault, at] as const)))(
    "go on when their endpoint is %s at step %i, and no step is done twice",
    async (fault, at) => {
      const clock = manualClock();
      const counters = [counter(info("a", "movable"), 1), counter(info("b", "movable"), 1)];
      const gateway = gatewayBefore(clock, ...counters);
      const asked = (step: number): InferenceRequest => ({
        segment,
        inputs: tensorsOf(float32Tensor("x", [1], Float32Array.of(1))),
        codecs: {},
        sequence: { id: "7", step: step === 0 ? 0 : nextStep, end: step === 7, wantState: false },
      });
      for (let step = 0; step < 8; step++) {
        const there = counters.find(({ steps }) => steps.at(-1) === step - 1) ?? counters[0];
        if (there) there.fault = step === at ? fault : "none";
        const response = await clock.finish(gateway.infer(asked(step), housekeepingCall("test")));
        expect(total(response.outputs)).toBe(step + 1);
        expect(response.state).toBeUndefined();
        if (there) there.fault = "none";
      }
      await expect(clock.finish(gateway.infer(asked(3), housekeepingCall("test")))).rejects.toMatchObject({
        reason: "sequence-unknown",
        message: expect.stringContaining("must specify the START flag") as string,
      });
    },
  );

  it.each(["answer-lost", "forgets"] as const)(
    "go on from the step before when the only endpoint is %s, behind a gateway and in an app without an endpoint of its own",
    async (fault) => {
      const clock = manualClock();
      const endpoint = counter(info("a", "movable"), 1);
      const gateway = gatewayBefore(clock, endpoint);
      const behind = (step: number): Promise<InferenceResponse> => {
        const sequence = { id: "7", step: step === 0 ? 0 : nextStep, end: step === 4, wantState: false };
        const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(1)));
        return gateway.infer({ segment, inputs, codecs: {}, sequence }, housekeepingCall("test"));
      };
      const own = createOffloader({ ...parts(clock), endpoints: [endpoint] }).sequence("total");
      const inApp = (step: number): Promise<{ readonly outputs: Tensors }> =>
        own.next(one, { end: step === 4 });
      for (const next of [behind, inApp]) {
        let answered = 0;
        for (let step = 0; step < 5; step++) {
          endpoint.fault = step === 2 ? fault : "none";
          const asked = clock.finish<{ readonly outputs: Tensors }>(next(step));
          // A step whose answer was lost does not count for the client: the next step continues from the one before.
          if (endpoint.fault === "answer-lost")
            await expect(asked).rejects.toMatchObject({ reason: "no-answer" });
          else expect(total((await asked).outputs)).toBe(++answered);
        }
      }
    },
  );

  it("are reported as lost, behind a gateway and in an app, when their server forgot a state that cannot travel, and begin again", async () => {
    const clock = manualClock();
    const endpoint = counter(info("a", "resident"), 1);
    const other = counter(info("b", "resident"), 9);
    const gateway = gatewayBefore(clock, endpoint, other);
    const behind = (step: number): Promise<InferenceResponse> => {
      const sequence = { id: "7", step, end: false, wantState: false };
      const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(1)));
      return gateway.infer({ segment, inputs, codecs: {}, sequence }, housekeepingCall("test"));
    };
    const own = createOffloader({ ...parts(clock), endpoints: [endpoint, other] }).sequence("total");
    for (const next of [behind, () => own.next(one)]) {
      endpoint.fault = "none";
      await clock.finish<object>(next(0));
      await clock.finish<object>(next(nextStep));
      endpoint.fault = "forgets";
      await expect(clock.finish<object>(next(nextStep))).rejects.toMatchObject({
        reason: "sequence-lost",
        code: "ABORTED",
        retryable: false,
        message: expect.stringMatching(
          /a held it and does not know it any more.*begin the sequence again/,
        ) as string,
      });
    }
    endpoint.fault = "none";
    expect(total((await clock.finish(behind(0))).outputs)).toBe(1);
  });

  it("have an error for a step by its deadline while the one before it is not over", async () => {
    const clock = manualClock();
    const endpoint = counter(info("a", "movable"), 1);
    let hangs = false;
    const hanging: Endpoint = {
      ...endpoint,
      infer: (request, call) => (hangs ? new Promise(() => undefined) : endpoint.infer(request, call)),
    };
    const gateway = gatewayBefore(clock, hanging);
    const step = (at: number, deadlineMs = Infinity): Promise<InferenceResponse> => {
      const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(1)));
      const sequence = { id: "7", step: at, end: false, wantState: false };
      const call = { ...housekeepingCall("test"), deadlineMs };
      return gateway.infer({ segment, inputs, codecs: {}, sequence }, call);
    };
    await clock.finish(step(0));
    const offloader = createOffloader({ ...parts(clock), endpoints: [hanging] });
    const own = offloader.sequence("total");
    await clock.finish(own.next(one));
    hangs = true;
    void step(nextStep);
    void own.next(one);
    const lateAtMs = clock.nowMs() + 200;
    const late = [step(nextStep, lateAtMs), own.next(one, { deadlineMs: 200 })];
    const ended = Promise.allSettled<unknown>(late);
    await clock.advance(200);
    for (const one of await ended)
      expect(one).toMatchObject({ status: "rejected", reason: { reason: "deadline-exceeded" } });
  });

  it("are done one at a time in the order in which they came, and wait no longer than their call", async () => {
    const clock = manualClock();
    const endpoint = counter(info("a", "movable"), 1);
    const gateway = gatewayBefore(clock, endpoint);
    const step = (first: boolean, abort = new AbortController().signal) =>
      gateway.infer(
        {
          segment,
          inputs: tensorsOf(float32Tensor("x", [1], Float32Array.of(1))),
          codecs: {},
          sequence: { id: "7", step: first ? 0 : nextStep, end: false, wantState: false },
        },
        housekeepingCall("test", abort),
      );
    const gone = new AbortController();
    const all = [step(true), step(false), step(false, gone.signal), step(false)];
    gone.abort(new LongshoreError("cancelled", "execute", "gone"));
    const ended = await clock.finish(Promise.allSettled(all));
    expect(ended.map((one) => (one.status === "fulfilled" ? total(one.value.outputs) : 0))).toEqual([
      1, 2, 0, 3,
    ]);
  });
});

/** The value, which the test knows to be there. */
function the<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a value was expected");
  return value;
}
