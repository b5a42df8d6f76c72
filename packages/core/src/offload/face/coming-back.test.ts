import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  type Reason,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({
  name: "total",
  digest: `sha256:${"6".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "total", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
  sequence: {
    maxIdleMs: 600_000,
    states: [{ input: "s", output: "sN", datatype: "FP32", shape: [1] }],
  },
});

/** A server that adds up; while it is not `up` it says why. */
function server(id: string) {
  const info = { ...doubleInfo, id, zone: "eu", state: "movable" as const };
  const sums = new Map<string, number>();
  const state = { fault: undefined as Reason | undefined, questions: 0, runs: 0 };
  const check = (): void => {
    if (state.fault) throw new LongshoreError(state.fault, "transport", `${id} is not there`);
  };
  const double = doubleEndpoint(
    [
      {
        description,
        offers: [doubleOffer(description, info, 5)],
        async run(inputs, { sequence }) {
          state.runs++;
          check();
          if (!sequence) throw new Error("a step was expected");
          const brought = sequence.state?.get("s");
          const before = brought ? float32View(brought)[0] : sequence.step > 0 ? sums.get(sequence.id) : 0;
          if (before === undefined) throw new LongshoreError("sequence-unknown", "execute", "not here");
          const sum = before + float32View(inputs.get("x")!)[0]!;
          sums.set(sequence.id, sum);
          const outputs = tensorsOf(float32Tensor("total", [1], Float32Array.of(sum)));
          const kept = tensorsOf(float32Tensor("s", [1], Float32Array.of(sum)));
          return { outputs, ...(sequence.wantState ? { state: kept } : {}) };
        },
      },
    ],
    info,
  );
  const endpoint: Endpoint = {
    ...double,
    async describe(...asked) {
      state.questions++;
      check();
      return double.describe(...asked);
    },
    async offers(...asked) {
      state.questions++;
      check();
      return double.offers(...asked);
    },
  };
  return {
    endpoint,
    state,
    /** A new process knows none of its sequences. */
    restart: (): void => {
      sums.clear();
      state.fault = undefined;
    },
  };
}

/** A gateway before two servers, and eight sequences through it that take a step each with `step`. */
function scene() {
  const clock = manualClock();
  const [a, b] = [server("a"), server("b")];
  const gateway = offloadEndpoint({
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(5),
    observer: silentObserver,
    links: () => undefined,
    endpoints: [a.endpoint, b.endpoint],
    info: { ...doubleInfo, id: "gate", zone: "eu", state: "movable" },
  });
  const { segment } = doubleOffer(description, doubleInfo, 5);
  const rules: Call["rules"] = { dataClass: "internal", leastTrust: "none", zones: ["eu"] };
  let steps = 0;
  const step = async (): Promise<void> => {
    const took = Array.from({ length: 8 }, (_, id) => {
      const call = { ...housekeepingCall("c"), rules, deadlineMs: clock.nowMs() + 5000 };
      // Like a server that reads the body later.
      using _pass = gateway.capabilities.admit?.(segment, call);
      return gateway.infer(
        {
          segment,
          inputs: tensorsOf(float32Tensor("x", [1], Float32Array.of(1))),
          codecs: {},
          sequence: { id: `${id}`, step: steps, end: false, wantState: false },
        },
        call,
      );
    });
    // One that fails leaves none of the others under way, which would take the same step beside the next try.
    await clock.finish(Promise.allSettled(took));
    const answers = await Promise.all(took);
    steps++;
    for (const { outputs } of answers) expect(float32View(outputs.get("total")!)[0]).toBe(steps);
  };
  const stepsFor = async (ms: number): Promise<void> => {
    for (const untilMs = clock.nowMs() + ms; clock.nowMs() < untilMs; await clock.advance(250)) await step();
  };
  /** The polls and runs that the second server gets meanwhile. */
  const askedFor = async (ms: number): Promise<{ readonly questions: number; readonly runs: number }> => {
    const before = { ...b.state };
    await stepsFor(ms);
    return { questions: b.state.questions - before.questions, runs: b.state.runs - before.runs };
  };
  return { clock, gateway, a, b, step, stepsFor, askedFor };
}

describe("a server that was gone for long and is back", () => {
  it("is tried again within about a second, and takes the requests that the other one refuses", async () => {
    const { a, b, stepsFor, clock, step } = scene();
    await stepsFor(2000);
    b.state.fault = "unreachable";
    await stepsFor(40_000);
    b.restart();
    const before = b.state.questions;
    await clock.advance(1100);
    expect(b.state.questions).toBeGreaterThan(before);
    a.state.fault = "shutting-down";
    await step();
    await stepsFor(2000);
  });

  it("is tried at once where no other endpoint is left", async () => {
    const { a, b, stepsFor, step } = scene();
    await stepsFor(2000);
    b.state.fault = "unreachable";
    await stepsFor(40_000);
    a.state.fault = "shutting-down";
    await expect(step()).rejects.toMatchObject({ reason: "unreachable" });
    b.restart();
    await stepsFor(2000);
  });

  it("is tried at most once a second meanwhile", async () => {
    const { b, stepsFor, askedFor } = scene();
    await stepsFor(2000);
    b.state.fault = "unreachable";
    await stepsFor(10_000);
    const { questions, runs } = await askedFor(60_000);
    expect(questions).toBeLessThan(62);
    expect(runs).toBe(0);
  });
});

describe("a server that does not know its gateway any more", () => {
  it("gets no request while another one answers, few questions, and requests again once it answers", async () => {
    const { b, stepsFor, askedFor } = scene();
    await stepsFor(2000);
    b.state.fault = "unauthenticated";
    await stepsFor(5000);
    const { questions, runs } = await askedFor(60_000);
    expect(questions).toBeLessThan(10);
    expect(runs).toBe(0);
    b.state.fault = undefined;
    const back = await askedFor(40_000);
    expect(questions + back.questions).toBeGreaterThan(5);
  });
});

describe("a server that does not say what it has", () => {
  it("is tried at most once a second, whatever its reason", async () => {
    const { b, stepsFor } = scene();
    await stepsFor(2000);
    b.state.fault = "not-permitted";
    const { questions } = b.state;
    await stepsFor(20_000);
    expect(b.state.questions - questions).toBeLessThan(25);
  });
});
