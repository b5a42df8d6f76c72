import { describe, expect, it } from "vitest";
import fc from "fast-check";
import {
  type Call,
  float32Tensor,
  float32View,
  type InferenceRequest,
  LongshoreError,
  type LongshoreEvent,
  silentObserver,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall, nextStep, sleep } from "@longshore/core/internal";
import {
  type DoubleModel,
  doubleDescription,
  doubleEndpoint,
  manualClock,
  wrapperContract,
} from "@longshore/testkit";
import { onceEndpoint, type OnceParts } from "./once-endpoint.ts";

const digest = `sha256:${"1".repeat(64)}`;
const segment = { model: "double", version: "1", digest, variant: "default", from: "start", to: "end" };

wrapperContract("that answers repeated requests once", {
  wrap: (inner) => onceEndpoint(inner, { clock: manualClock(), observer: silentObserver }),
});

/** An endpoint that counts: every run takes 10 ms, adds its input to the count, and answers with that. */
function world(change: Partial<OnceParts> = {}, run?: DoubleModel["run"]) {
  const clock = manualClock();
  const events: LongshoreEvent[] = [];
  let count = 0;
  const counting: DoubleModel["run"] = async (inputs, _request, call) => {
    await sleep(clock, 10, call.abort);
    count += float32View(inputs.get("x")!)[0] ?? 0;
    return { outputs: tensorsOf(float32Tensor("y", [1, 1], Float32Array.of(count))) };
  };
  const double = doubleEndpoint([
    { description: doubleDescription({ name: "double", digest }), run: run ?? counting },
  ]);
  const endpoint = onceEndpoint(double, {
    clock,
    observer: { record: (event) => void events.push(event) },
    ...change,
  });
  const ask = (
    value: number,
    key?: string,
    more: Partial<Call> = {},
    request: Partial<InferenceRequest> = {},
  ) =>
    endpoint
      .infer(
        {
          segment,
          inputs: tensorsOf(float32Tensor("x", [1, 1], Float32Array.of(value))),
          codecs: {},
          ...request,
        },
        { ...housekeepingCall("test"), ...(key === undefined ? {} : { idempotencyKey: key }), ...more },
      )
      .then(({ outputs }) => float32View(outputs.get("y")!)[0]);
  const repeated = (): number => events.filter(({ kind }) => kind === "request-repeated").length;
  return { clock, double, endpoint, ask, repeated };
}

describe("a request with an idempotency key", () => {
  it("that comes again after its answer gets the same answer, of its own, without a run", async () => {
    const { clock, ask, double, endpoint, repeated } = world();
    expect(await clock.finish(ask(1, "a"))).toBe(1);
    const call = { ...housekeepingCall("again"), idempotencyKey: "a" };
    const inputs = tensorsOf(float32Tensor("x", [1, 1], Float32Array.of(1)));
    const second = await endpoint.infer({ segment, inputs, codecs: {} }, call);
    expect(second.account.stages).toEqual([{ stage: "cache", name: "double", tookMs: 0 }]);
    second.outputs.get("y")!.bytes.fill(0);
    expect(await ask(1, "a")).toBe(1);
    expect(double.requests).toHaveLength(1);
    expect(repeated()).toBe(2);
  });

  it("does not end the call of a run that has answered", async () => {
    let flight: AbortSignal | undefined;
    const { ask } = world({}, async (inputs, _request, call) => {
      flight = call.abort;
      return { outputs: tensorsOf(float32Tensor("y", [1, 1], float32View(inputs.get("x")!))) };
    });
    expect(await ask(1, "a")).toBe(1);
    expect(flight?.aborted).toBe(false);
  });

  it("is not refused at admission while its answer is kept or on its way, and takes no slot there", async () => {
    const { clock, double } = world();
    let full = false;
    let slots = 0;
    const admit = (): Disposable => {
      if (full) throw new LongshoreError("queue-full", "admission", "full");
      slots++;
      return { [Symbol.dispose]: () => void slots-- };
    };
    const once = onceEndpoint(
      { ...double, capabilities: { ...double.capabilities, admit } },
      { clock, observer: { record: () => undefined } },
    );
    const call = (idempotencyKey: string): Call => ({ ...housekeepingCall("test"), idempotencyKey });
    const enter = (asked: Call) => (): unknown => once.capabilities.admit?.(segment, asked);
    const inputs = tensorsOf(float32Tensor("x", [1, 1], Float32Array.of(1)));
    const first = once.infer({ segment, inputs, codecs: {} }, call("a"));
    enter(call("a"))();
    expect(slots).toBe(0);
    enter(call("b"))();
    expect(slots).toBe(1);
    full = true;
    expect(enter(call("a"))).not.toThrow();
    await clock.finish(first);
    expect(enter(call("a"))).not.toThrow();
    for (const other of [call("b"), { ...call("a"), tenant: "other" }, housekeepingCall("no key")])
      expect(enter(other)).toThrow("full");
    await clock.advance(120_001);
    expect(enter(call("a"))).toThrow("full");
  });

  it("that comes again when its model has other content is run by that, and a step that is counted here not again", async () => {
    const { clock, ask, double } = world();
    const other = { segment: { ...segment, digest: `sha256:${"2".repeat(64)}` } };
    const [before, after] = [ask(1, "a"), ask(1, "a", {}, other)];
    expect(await clock.finish(Promise.all([before, after]))).toEqual([1, 2]);
    expect([await ask(1, "a"), await ask(1, "a", {}, other)]).toEqual([1, 2]);
    const sequence = { id: "s", step: nextStep, end: false, wantState: false };
    expect(await clock.finish(ask(1, "step", {}, { sequence }))).toBe(3);
    await expect(ask(1, "step", {}, { ...other, sequence })).rejects.toMatchObject({
      reason: "sequence-step",
    });
    expect(double.requests).toHaveLength(3);
  });

  it("that comes again while the first is under way waits for it", async () => {
    const { clock, ask, double } = world();
    expect(await clock.finish(Promise.all([ask(1, "a"), ask(1, "a"), ask(1, "a")]))).toEqual([1, 1, 1]);
    expect(double.requests).toHaveLength(1);
  });

  it("makes a step of a sequence once, even where the steps are counted here", async () => {
    const { clock, ask, double } = world();
    const step = { sequence: { id: "s", step: nextStep, end: false, wantState: false } };
    expect(await clock.finish(ask(1, "step 1", {}, step))).toBe(1);
    expect(await clock.finish(ask(1, "step 1", {}, step))).toBe(1);
    expect(await clock.finish(ask(1, "step 2", {}, step))).toBe(2);
    expect(double.requests).toHaveLength(2);
  });

  it("makes no step a second time whose answer was too large to keep, or had to go", async () => {
    const step = { sequence: { id: "s", step: nextStep, end: false, wantState: false } };
    const large = world({ maxAnswerBytes: 1 });
    expect(await large.clock.finish(large.ask(1, "step 1", {}, step))).toBe(1);
    await expect(large.ask(1, "step 1", {}, step)).rejects.toMatchObject({ reason: "sequence-step" });
    await expect(large.ask(2, "step 1", {}, step)).rejects.toMatchObject({ reason: "invalid-input" });
    expect(await large.clock.finish(large.ask(1, "step 2", {}, step))).toBe(2);
    // A request that is no step may run again, and so may a step from the state that it brings.
    const carried = { sequence: { ...step.sequence, state: tensorsOf() } };
    expect(await large.clock.finish(large.ask(1, "step 2", {}, carried))).toBe(3);
    expect(await large.clock.finish(large.ask(1, "no step"))).toBe(4);
    expect(await large.clock.finish(large.ask(1, "no step"))).toBe(5);
    // The endpoint that keeps the sequence knows whether a numbered step was made.
    const numbered = { sequence: { ...step.sequence, step: 3 } };
    expect(await large.clock.finish(large.ask(1, "step 3", {}, numbered))).toBe(6);
    expect(await large.clock.finish(large.ask(1, "step 3", {}, numbered))).toBe(7);
    const full = world({ maxBytes: 1500 });
    for (const at of [1, 2, 3, 4]) {
      expect(await full.clock.finish(full.ask(1, `step ${at}`, {}, step))).toBe(at);
    }
    await expect(full.ask(1, "step 1", {}, step)).rejects.toMatchObject({ reason: "sequence-step" });
    expect(full.double.requests).toHaveLength(4);
  });

  const others: readonly [string, number, Partial<InferenceRequest>][] = [
    ["inputs", 2, {}],
    ["a part", 1, { segment: { ...segment, from: "c1" } }],
    ["outputs", 1, { outputs: ["z"] }],
    ["classes", 1, { classes: new Map([["y", 2]]) }],
    ["a step", 1, { sequence: { id: "s", step: 3, end: false, wantState: false } }],
    ["parameters", 1, { parameters: { beams: 4 } }],
    ["a parameter beyond 2^53", 1, { parameters: { beams: 2n ** 53n + 1n } }],
  ];
  it.each(others)("that comes with other %s is refused, not answered wrongly", async (_, value, request) => {
    const { clock, ask, double } = world();
    const first = ask(1, "a");
    await expect(ask(value, "a", {}, request)).rejects.toMatchObject({ reason: "invalid-input" });
    await clock.finish(first);
    await expect(ask(value, "a", {}, request)).rejects.toMatchObject({ reason: "invalid-input" });
    expect(double.requests).toHaveLength(1);
  });

  it("that comes under other rules is refused, and gets no earlier answer", async () => {
    const { clock, ask, double } = world();
    await clock.finish(ask(1, "a"));
    const { rules } = housekeepingCall("test");
    const others: Partial<Call["rules"]>[] = [
      { confirm: true },
      { zones: [] },
      { dataClass: "secret" },
      { leastTrust: "vouched" },
    ];
    for (const other of others) {
      const asked = ask(1, "a", { rules: { ...rules, ...other } });
      await expect(asked).rejects.toMatchObject({ reason: "invalid-input" });
    }
    expect(double.requests).toHaveLength(1);
  });

  it("is another one's when it is another tenant's, and without a key every request is its own", async () => {
    const { clock, ask, double } = world();
    await clock.finish(ask(1, "a"));
    expect(await clock.finish(ask(1, "a", { tenant: "other" }))).toBe(2);
    expect(await clock.finish(ask(1))).toBe(3);
    expect(await clock.finish(ask(1))).toBe(4);
    expect(double.requests).toHaveLength(4);
  });

  it("is tried again after it failed, and when the caller left before it was done", async () => {
    let fail = true;
    const failing = world({}, async () => {
      if (fail) throw new LongshoreError("run-failed", "execute", "planted");
      return tensorsOf(float32Tensor("y", [1, 1], Float32Array.of(7)));
    });
    await expect(failing.ask(1, "a")).rejects.toMatchObject({ reason: "run-failed" });
    fail = false;
    expect(await failing.ask(1, "a")).toBe(7);
    const { clock, ask, double } = world();
    const left = new AbortController();
    const first = ask(1, "a", { abort: left.signal });
    left.abort();
    await expect(first).rejects.toMatchObject({ reason: "cancelled" });
    expect(await clock.finish(ask(1, "a"))).toBe(1);
    expect(double.requests).toHaveLength(2);
  });

  it("is forgotten after a while, and when others need the memory", async () => {
    const late = world({ keptMs: 1000 });
    await late.clock.finish(late.ask(1, "a"));
    await late.clock.advance(1001);
    expect(await late.clock.finish(late.ask(1, "a"))).toBe(2);
    const small = world({ maxBytes: 2500 });
    for (const key of ["a", "b", "c"]) await small.clock.finish(small.ask(1, key));
    expect(await small.clock.finish(small.ask(1, "c"))).toBe(3);
    expect(await small.clock.finish(small.ask(1, "a"))).toBe(4);
    const large = world({ maxAnswerBytes: 3 });
    await large.clock.finish(large.ask(1, "a"));
    expect(await large.clock.finish(large.ask(1, "a"))).toBe(2);
  });

  it("runs once in any order of requests, and gets the answer of the first one", async () => {
    const steps = fc.array(
      fc.record({ key: fc.integer({ min: 0, max: 3 }), pauseMs: fc.constantFrom(0, 4, 12) }),
      { maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (asked) => {
        const { clock, ask, double } = world();
        const answers: Promise<readonly [number, number | undefined]>[] = [];
        for (const { key, pauseMs } of asked) {
          answers.push(ask(key + 1, `key ${key}`).then((value) => [key, value] as const));
          await clock.advance(pauseMs);
        }
        const all = await clock.finish(Promise.all(answers));
        const first = new Map<number, number | undefined>();
        for (const [key, value] of all) {
          if (!first.has(key)) first.set(key, value);
          expect(value).toBe(first.get(key));
        }
        expect(double.requests).toHaveLength(first.size);
      }),
      { numRuns: 50 },
    );
  });
});
