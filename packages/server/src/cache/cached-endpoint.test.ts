import { describe, expect, it } from "vitest";
import { createHash } from "node:crypto";
import fc from "fast-check";
import {
  type Account,
  type Call,
  type Endpoint,
  float32Tensor,
  float32View,
  type InferenceRequest,
  LongshoreError,
  type LongshoreEvent,
  silentObserver,
  tensorsOf,
  type Tensors,
} from "@longshore/core";
import { housekeepingCall, sleep } from "@longshore/core/internal";
import {
  type DoubleModel,
  doubleDescription,
  doubleEndpoint,
  manualClock,
  settle,
  wrapperContract,
} from "@longshore/testkit";
import { answerCache, cachedEndpoint } from "./cached-endpoint.ts";

const hash = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

wrapperContract("with a cache of answers", {
  wrap: (inner) =>
    cachedEndpoint(
      inner,
      answerCache({ clock: manualClock(), observer: silentObserver, hash, maxBytes: 2 ** 20 }),
    ),
});

function inputs(...values: readonly number[]): Tensors {
  return tensorsOf(float32Tensor("x", [1, values.length], Float32Array.from(values)));
}

const digest = `sha256:${"1".repeat(64)}`;

function request(tensors: Tensors, change: Partial<InferenceRequest> = {}): InferenceRequest {
  const segment = { model: "double", version: "1", digest, variant: "default", from: "start", to: "end" };
  return { segment, inputs: tensors, codecs: {}, ...change };
}

/** A model that takes 10 ms, over a cache, and what became of each request. */
async function world(
  change: { readonly maxBytes?: number; readonly run?: DoubleModel["run"]; readonly cached?: boolean } = {},
) {
  const clock = manualClock();
  const events: LongshoreEvent[] = [];
  const run: DoubleModel["run"] = async (given, _request, call) => {
    await sleep(clock, 10, call.abort);
    const x = given.get("x")!;
    const y = float32Tensor(
      "y",
      x.spec.shape,
      float32View(x).map((value) => value * 2),
    );
    return { outputs: tensorsOf(y) };
  };
  const double = doubleEndpoint([
    {
      description: doubleDescription({ name: "double", digest, responseCache: change.cached ?? true }),
      run: change.run ?? run,
    },
  ]);
  const endpoint = cachedEndpoint(
    double,
    answerCache({
      clock,
      observer: { record: (event) => void events.push(event) },
      hash,
      maxBytes: change.maxBytes ?? 1_000_000,
    }),
  );
  await endpoint.describe("double", undefined, housekeepingCall("describe"));
  const outcomes = (): unknown[] =>
    events.flatMap((one) => (one.kind === "cache-asked" ? [one.outcome] : []));
  const ask = (tensors: Tensors, more: Partial<InferenceRequest> = {}, call: Partial<Call> = {}) =>
    endpoint.infer(request(tensors, more), { ...housekeepingCall("test"), ...call });
  return { clock, endpoint, double, ask, outcomes, events };
}

const values = (response: { readonly outputs: Tensors }): number[] => [
  ...float32View(response.outputs.get("y")!),
];

describe("answers from memory", () => {
  it("are kept for models that were only ever known without waiting", async () => {
    const { endpoint: other, double, clock } = await world();
    const asker = housekeepingCall("describe");
    const knowledge = await double.describe("double", undefined, asker);
    const observer = { record: () => undefined };
    const inner = { ...double, capabilities: { known: () => knowledge } };
    const endpoint = cachedEndpoint(inner, answerCache({ clock, observer, hash, maxBytes: 1_000_000 }));
    expect(other.capabilities.known?.("double", undefined, asker)).toBeUndefined();
    expect(endpoint.capabilities.known?.("double", undefined, asker)).toBe(knowledge);
    const before = double.requests.length;
    for (let time = 0; time < 2; time++)
      await clock.finish(endpoint.infer(request(inputs(1)), housekeepingCall("test")));
    expect(double.requests.length - before).toBe(1);
  });

  it("are given for equal inputs, cost nothing, and belong to their receiver", async () => {
    const { clock, ask, double, outcomes } = await world();
    const first = await clock.finish(ask(inputs(1, 2)));
    first.outputs.get("y")!.bytes.fill(0);
    const second = await ask(inputs(1, 2));
    expect(values(second)).toEqual([2, 4]);
    second.outputs.get("y")!.bytes.fill(0);
    const third = await ask(inputs(1, 2));
    expect(values(third)).toEqual([2, 4]);
    expect(third.account).toMatchObject({
      stages: [{ stage: "cache", name: "double" }],
      energy: { millijoules: 0 },
    });
    expect(double.requests).toHaveLength(1);
    expect(outcomes()).toEqual(["miss", "hit", "hit"]);
  });

  const apart: readonly [string, Partial<InferenceRequest>, Partial<Call>][] = [
    ["another tenant", {}, { tenant: "other" }],
    ["other rules", {}, { rules: { dataClass: "secret", leastTrust: "none" } }],
    ["whoever demands two endpoints", {}, { rules: { ...housekeepingCall("c").rules, confirm: true } }],
    ["other outputs", { outputs: ["y"] }, {}],
    ["classes", { classes: new Map([["y", 2]]) }, {}],
    ["other parameters", { parameters: { beams: 4 } }, {}],
    ["a parameter beyond 2^53", { parameters: { beams: 2n ** 53n + 1n } }, {}],
    ["another part", { segment: { ...request(inputs()).segment, to: "c1" } }, {}],
    ["another variant", { segment: { ...request(inputs()).segment, variant: "small" } }, {}],
  ];
  it.each(apart)("are not given to %s", async (_, more, call) => {
    const { clock, ask, outcomes } = await world();
    await clock.finish(ask(inputs(1)));
    await clock.finish(ask(inputs(1), more, call));
    expect(outcomes()).toEqual(["miss", "miss"]);
  });

  it("are not given for the same bytes in another shape or under another name", async () => {
    const { clock, ask, outcomes } = await world();
    const flat = Float32Array.from([1, 2, 3, 4]);
    await clock.finish(ask(tensorsOf(float32Tensor("x", [1, 4], flat))));
    await clock.finish(ask(tensorsOf(float32Tensor("x", [2, 2], flat))));
    expect(outcomes()).toEqual(["miss", "miss"]);
  });

  it("are none for sequences, models whose operator did not say so, and requests that name no content", async () => {
    const { clock, ask, outcomes } = await world();
    const sequence = { id: "s", step: 0, end: true, wantState: false };
    await clock.finish(ask(inputs(1), { sequence }));
    await clock.finish(ask(inputs(1), { segment: { ...request(inputs()).segment, digest: "" } }));
    expect(outcomes()).toEqual([]);
    const other = await world({ cached: false });
    await other.clock.finish(other.ask(inputs(1)));
    expect(other.outcomes()).toEqual([]);
  });

  it("are not failures, and not those of a lesser variant", async () => {
    let fail = true;
    const { ask, outcomes } = await world({
      run: async () => {
        if (fail) throw new LongshoreError("run-failed", "execute", "planted");
        return { outputs: inputs(3), account: lesser };
      },
    });
    await expect(ask(inputs(1))).rejects.toMatchObject({ reason: "run-failed" });
    fail = false;
    await ask(inputs(1));
    await ask(inputs(1));
    expect(outcomes()).toEqual(["miss", "miss"]);
  });

  it("give way to newer ones: the least recently used goes, and the limit is kept", async () => {
    const { clock, ask, outcomes, events } = await world({ maxBytes: 3500 });
    for (const value of [1, 2]) await clock.finish(ask(inputs(value)));
    await ask(inputs(1));
    await clock.finish(ask(inputs(3)));
    await ask(inputs(1));
    await clock.finish(ask(inputs(2)));
    expect(outcomes()).toEqual(["miss", "miss", "hit", "miss", "hit", "miss"]);
    const changes = events.flatMap((one) => (one.kind === "cache-changed" ? [one] : []));
    expect(Math.max(...changes.map(({ bytes }) => bytes))).toBeLessThanOrEqual(3500);
    expect(changes.at(-1)).toMatchObject({ entries: 2, evicted: 1 });
  });

  it("are the same as the endpoint's own, in any order of requests", async () => {
    const step = fc.record({ value: fc.integer({ min: 0, max: 5 }), tenant: fc.constantFrom("a", "b") });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 30 }),
        fc.integer({ min: 0, max: 6000 }),
        async (steps, maxBytes) => {
          const { clock, ask } = await world({ maxBytes });
          for (const { value, tenant } of steps) {
            const answer = await clock.finish(ask(inputs(value), {}, { tenant }));
            expect(values(answer)).toEqual([value * 2]);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

const lesser: Account = {
  endpoint: "double",
  zone: "eu",
  segment: { ...request(inputs()).segment, variant: "small" },
  stages: [],
  sentBytes: 0,
  receivedBytes: 0,
  energy: { millijoules: 1, label: "estimated" },
  costMicros: 0,
  forwarded: [],
};

describe("equal requests under way", () => {
  it("run once, and each gets an answer of its own", async () => {
    const { clock, ask, double, outcomes } = await world();
    const all = await clock.finish(
      Promise.all([ask(inputs(1)), ask(inputs(1)), ask(inputs(1)), ask(inputs(2))]),
    );
    expect(all.map(values)).toEqual([[2], [2], [2], [4]]);
    expect(double.requests).toHaveLength(2);
    expect(
      outcomes()
        .map(String)
        .toSorted((a, b) => a.localeCompare(b)),
    ).toEqual(["joined", "joined", "miss", "miss"]);
    all[0]!.outputs.get("y")!.bytes.fill(0);
    expect(values(all[1]!)).toEqual([2]);
  });

  it("also where no memory is left for answers", async () => {
    const { clock, ask, double } = await world({ maxBytes: 0 });
    await clock.finish(Promise.all([ask(inputs(1)), ask(inputs(1))]));
    await clock.finish(ask(inputs(1)));
    expect(double.requests).toHaveLength(2);
  });

  it("go on when the first caller leaves, and end when the last one does", async () => {
    const { clock, ask, double } = await world();
    const first = new AbortController();
    const second = new AbortController();
    const one = ask(inputs(1), {}, { abort: first.signal });
    const two = ask(inputs(1), {}, { abort: second.signal });
    await clock.advance(1);
    first.abort();
    await expect(one).rejects.toMatchObject({ reason: "cancelled" });
    expect(double.requests[0]!.call.abort.aborted).toBe(false);
    second.abort();
    await expect(two).rejects.toMatchObject({ reason: "cancelled" });
    expect(double.requests[0]!.call.abort.aborted).toBe(true);
    expect(values(await clock.finish(ask(inputs(1))))).toEqual([2]);
  });

  it("do not wait longer than their own deadlines", async () => {
    const { clock, ask } = await world();
    const patient = ask(inputs(1));
    const hasty = ask(inputs(1), {}, { deadlineMs: 5 });
    await expect(clock.finish(hasty)).rejects.toMatchObject({ reason: "deadline-exceeded" });
    expect(clock.nowMs()).toBe(5);
    expect(values(await clock.finish(patient))).toEqual([2]);
    expect(clock.armed()).toBe(0);
  });

  it.each(["evicted", "cancelled", "deadline-exceeded"] as const)(
    "are not failed by the first caller's own failure (%s): the remaining ones run again, once",
    async (reason) => {
      let runs = 0;
      const { clock, ask, double } = await world({
        run: async (given) => {
          runs += 1;
          if (runs === 1)
            throw new LongshoreError(reason, "queue", "the first caller's deadline was too near");
          return { outputs: tensorsOf(float32Tensor("y", [1, 1], float32View(given.get("x")!))) };
        },
      });
      const all = await clock.finish(Promise.allSettled([ask(inputs(7)), ask(inputs(7)), ask(inputs(7))]));
      expect(all.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
      expect(double.requests).toHaveLength(2);
    },
  );

  it("and answers in memory need no slot: none is refused for want of one before its inputs are there", async () => {
    const { double, clock } = await world();
    const refusal = (reason: "rejected" | "queue-full" | "shutting-down"): LongshoreError =>
      new LongshoreError(reason, "admission", "planted");
    let slots = 1;
    const inner: Endpoint = {
      ...double,
      capabilities: {
        ...double.capabilities,
        admit() {
          if (slots < 1) throw refusal(slots < 0 ? "shutting-down" : "rejected");
          slots--;
          let kept = true;
          return { [Symbol.dispose]: () => void ((slots += kept ? 1 : 0), (kept = false)) };
        },
      },
    };
    const observer = { record: () => undefined };
    const endpoint = cachedEndpoint(inner, answerCache({ clock, observer, hash, maxBytes: 1_000_000 }));
    const call = housekeepingCall("test");
    const { segment } = request(inputs(1));
    expect(
      () => (endpoint.capabilities.admit?.(segment, call), endpoint.capabilities.admit?.(segment, call)),
    ).toThrow("planted");
    slots = 1;
    await endpoint.describe("double", undefined, call);
    const ask = (pass = endpoint.capabilities.admit?.(segment, call)) =>
      endpoint.infer(request(inputs(1), pass ? { pass } : {}), call);
    const first = ask();
    await settle();
    expect(slots).toBe(0);
    const second = ask();
    await settle();
    // One that came in time for a slot gives it back when it has to wait for another's run.
    slots = 1;
    const third = ask();
    await settle();
    expect(slots).toBe(1);
    expect((await clock.finish(Promise.all([first, second, third]))).map(values)).toEqual([[2], [2], [2]]);
    slots = 0;
    expect(values(await ask())).toEqual([2]);
    slots = -1;
    expect(() => endpoint.capabilities.admit?.(segment, call)).toThrow(
      expect.objectContaining({ reason: "shutting-down" }) as Error,
    );
  });

  it("share a failure that is the request's", async () => {
    const { ask, double } = await world({
      run: async () => {
        throw new LongshoreError("invalid-input", "execute", "planted");
      },
    });
    const all = await Promise.allSettled([ask(inputs(7)), ask(inputs(7))]);
    expect(all).toMatchObject([
      { reason: { reason: "invalid-input" } },
      { reason: { reason: "invalid-input" } },
    ]);
    expect(double.requests).toHaveLength(1);
  });
});
