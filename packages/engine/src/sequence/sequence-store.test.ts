import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  LongshoreError,
  type SequencePosition,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { childCall, housekeepingCall, nextStep } from "@longshore/core/internal";
import { manualClock, settle } from "@longshore/testkit";
import { checkSeal, type SealKey, sealState } from "./seal.ts";
import { type SequenceRequest, type SequenceStore, sequenceStore } from "./sequence-store.ts";

const call = housekeepingCall("test");
const states = [{ input: "s", output: "t", datatype: "FP32", shape: [1] }] as const;
const stateOf = (value: number): Tensors => tensorsOf(float32Tensor("s", [1], Float32Array.of(value)));
const valueOf = (tensors: Tensors, name = "s"): number => {
  const tensor = tensors.get(name);
  return tensor ? (float32View(tensor)[0] ?? NaN) : NaN;
};

const at = (
  step: number,
  more: Partial<SequencePosition> = {},
  input = step,
  tenant = "t",
): SequenceRequest => ({
  key: { tenant, model: "m", digest: "sha256:1", id: "q" },
  position: { id: "q", step, end: false, wantState: false, ...more },
  states,
  maxIdleMs: 1000,
  fingerprint: String(input),
});

/** One step of a model that adds up: state + step + 1, which is also the output. */
async function add(store: SequenceStore, request: SequenceRequest): Promise<number> {
  using turn = await store.enter(request, call);
  if (turn.remembered) return valueOf(turn.remembered.outputs, "sum");
  const next = valueOf(turn.state) + request.position.step + 1;
  turn.commit({ outputs: tensorsOf(float32Tensor("sum", [1], Float32Array.of(next))), state: stateOf(next) });
  return next;
}

describe("a sequence", () => {
  it("starts from zeros at step 0 and goes on from the state of the step before", async () => {
    const store = sequenceStore(manualClock());
    expect([await add(store, at(0)), await add(store, at(1)), await add(store, at(2))]).toEqual([1, 3, 6]);
    expect(store.live()).toBe(1);
  });

  it("refuses a wrong step and says which it expects, and one of which nothing is known", async () => {
    const store = sequenceStore(manualClock());
    await expect(add(store, at(3))).rejects.toMatchObject({ reason: "sequence-unknown" });
    await add(store, at(0));
    await expect(add(store, at(3))).rejects.toMatchObject({
      reason: "sequence-step",
      message: "sequence q expects step 1, and step 3 came",
    });
    expect(await add(store, at(1))).toBe(3);
  });

  it("answers a retry of the last step from memory and never steps twice", async () => {
    const store = sequenceStore(manualClock());
    await add(store, at(0));
    expect(await add(store, at(1))).toBe(3);
    expect(await add(store, at(1))).toBe(3);
    expect(await add(store, at(1))).toBe(3);
    // The same number with another input is no retry.
    await expect(add(store, at(1, {}, 99))).rejects.toMatchObject({ reason: "sequence-step" });
    expect(await add(store, at(2))).toBe(6);
  });

  it("does not remember replies that are too large, and refuses their retry", async () => {
    const store = sequenceStore(manualClock(), { maxReplyBytes: 4 });
    await add(store, at(0));
    await add(store, at(1));
    await expect(add(store, at(1))).rejects.toMatchObject({ reason: "sequence-step" });
  });

  it("takes carried state instead of its own, at any step", async () => {
    const store = sequenceStore(manualClock());
    await add(store, at(0));
    expect(await add(store, at(7, { state: stateOf(100) }))).toBe(108);
    expect(await add(store, at(8))).toBe(117);
    for (const wrong of [
      tensorsOf(float32Tensor("other", [1], new Float32Array(1))),
      tensorsOf(float32Tensor("s", [1, 1], new Float32Array(1))),
      new Map(),
    ]) {
      await expect(add(store, at(9, { state: wrong }))).rejects.toMatchObject({ reason: "invalid-input" });
    }
  });

  it("ends: state is freed, a retry of the end is answered, a further step is not", async () => {
    const store = sequenceStore(manualClock());
    await add(store, at(0));
    expect(await add(store, at(1, { end: true }))).toBe(3);
    expect(store.live()).toBe(0);
    expect(await add(store, at(1, { end: true }))).toBe(3);
    await expect(add(store, at(2))).rejects.toMatchObject({ reason: "sequence-unknown" });
    expect(await add(store, at(0, {}, 5))).toBe(1);
  });

  it("expires after idling, by the clock, without a request", async () => {
    const clock = manualClock();
    const store = sequenceStore(clock);
    await add(store, at(0));
    await clock.advance(900);
    await add(store, at(1));
    await clock.advance(999);
    expect(store.live()).toBe(1);
    await clock.advance(1);
    expect(store.live()).toBe(0);
    expect(clock.armed()).toBe(0);
    await expect(add(store, at(2))).rejects.toMatchObject({ reason: "sequence-unknown" });
  });

  it("keeps tenants apart", async () => {
    const store = sequenceStore(manualClock());
    await add(store, at(0, {}, 0, "a"));
    await expect(add(store, at(1, {}, 1, "b"))).rejects.toMatchObject({ reason: "sequence-unknown" });
  });

  it("limits live sequences and says when one will be free", async () => {
    const clock = manualClock();
    const store = sequenceStore(clock, { maxLive: 1 });
    await add(store, at(0));
    await clock.advance(400);
    const other: SequenceRequest = { ...at(0), key: { ...at(0).key, id: "other" } };
    await expect(add(store, other)).rejects.toMatchObject({ reason: "rejected", retryAfterMs: 600 });
    await add(store, at(1, { end: true }));
    expect(await add(store, other)).toBe(1);
  });

  it("serves requests of one sequence one after another, and a failed one leaves the step open", async () => {
    const store = sequenceStore(manualClock());
    const first = await store.enter(at(0), call);
    const order: string[] = [];
    const second = add(store, at(1)).then((value) => order.push(`1: ${value}`));
    const again = add(store, at(0)).catch((error: LongshoreError) => order.push(error.reason));
    await settle();
    expect(order).toEqual([]);
    first[Symbol.dispose]();
    await Promise.all([second.catch((error: LongshoreError) => order.push(error.reason)), again]);
    // Step 1 came before the retry of step 0 and found that step 0 had not been done.
    expect(order[0]).toBe("sequence-unknown");
    expect(await add(store, at(1))).toBe(3);
  });

  it("lets go of a request that is cancelled while it waits, in order", async () => {
    const store = sequenceStore(manualClock());
    const first = await store.enter(at(0), call);
    const { call: child, cancel } = childCall(call);
    const waiting = store.enter(at(1), child);
    cancel(new LongshoreError("cancelled", "queue", "gone"));
    await expect(waiting).rejects.toMatchObject({ reason: "cancelled" });
    const third = Promise.resolve(store.enter(at(1), call));
    let entered = false;
    void third.then(() => (entered = true));
    await settle();
    expect(entered).toBe(false);
    first.commit({ outputs: new Map(), state: stateOf(1) });
    first[Symbol.dispose]();
    expect(valueOf((await third).state)).toBe(1);
  });

  it("refuses ids and steps that are none", async () => {
    const store = sequenceStore(manualClock());
    for (const position of [{ id: "" }, { id: "x".repeat(300) }, { step: -1 }, { step: 0.5 }]) {
      await expect(add(store, at(0, position))).rejects.toMatchObject({ reason: "invalid-input" });
    }
    expect(store.live()).toBe(0);
  });

  it("holds the sum of exactly the answered steps, after any retry, loss or carried state", async () => {
    const move = fc.oneof(
      { weight: 4, arbitrary: fc.constant("next" as const) },
      fc.constant("retry" as const),
      fc.constant("fail" as const),
      fc.constant("skip" as const),
      fc.constant("carry" as const),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(move, { maxLength: 30 }), async (moves) => {
        const store = sequenceStore(manualClock());
        let last = -1;
        let sum = 0;
        for (const one of moves) {
          if (one === "next") {
            sum += last + 2;
            last++;
            expect(await add(store, at(last))).toBe(sum);
          } else if (one === "retry" && last >= 0) expect(await add(store, at(last))).toBe(sum);
          else if (one === "fail" && last >= 0) (await store.enter(at(last + 1), call))[Symbol.dispose]();
          else if (one === "skip" && last >= 0) {
            await expect(add(store, at(last + 2))).rejects.toMatchObject({ reason: "sequence-step" });
          } else if (one === "carry") {
            last++;
            expect(await add(store, at(last, { state: stateOf(sum) }))).toBe(sum + last + 1);
            sum += last + 1;
          }
        }
      }),
    );
  });
});

describe("a sequence whose sender does not count", () => {
  it("takes the next step, learns its number, and is never a retry", async () => {
    const store = sequenceStore(manualClock());
    const next = { ...at(nextStep), fingerprint: undefined };
    await expect(add(store, next)).rejects.toMatchObject({
      reason: "sequence-unknown",
      message: expect.stringContaining("must specify the START flag on the first request") as string,
    });
    await add(store, at(0));
    for (const step of [1, 2]) {
      using turn = await store.enter(next, call);
      expect(turn.step).toBe(step);
      expect(turn.remembered).toBeUndefined();
      turn.commit({ outputs: new Map(), state: stateOf(step) });
    }
    // A request with carried state continues a sequence and does not start one.
    using carried = await store.enter(
      { ...at(nextStep, { state: stateOf(7) }), key: { ...at(0).key, id: "moved" } },
      call,
    );
    expect([carried.step, valueOf(carried.state)]).toEqual([1, 7]);
  });
});

describe("limits", () => {
  it("keep one tenant from taking all", async () => {
    const store = sequenceStore(manualClock(), { maxLivePerTenant: 1 });
    await add(store, at(0));
    const more = (tenant: string): SequenceRequest => ({
      ...at(0),
      key: { ...at(0).key, id: "more", tenant },
    });
    await expect(add(store, more("t"))).rejects.toMatchObject({ reason: "tenant-limit" });
    expect(await add(store, more("u"))).toBe(1);
    expect([store.live(), store.live("t"), store.live("u")]).toEqual([2, 1, 1]);
  });

  it("end a sequence whose state grows too large, and begin none while the store is full", async () => {
    const store = sequenceStore(manualClock(), { maxStateBytes: 8 });
    await add(store, at(0));
    const big = (): Tensors => tensorsOf(float32Tensor("s", [3], new Float32Array(3)));
    {
      using turn = await store.enter(at(1), call);
      expect(() => turn.commit({ outputs: new Map(), state: big() })).toThrow(
        expect.objectContaining({ reason: "memory-limit" }) as Error,
      );
    }
    expect(store.live()).toBe(0);
    await add(store, at(0));
    await add(store, { ...at(0), key: { ...at(0).key, id: "two" } });
    await expect(add(store, { ...at(0), key: { ...at(0).key, id: "three" } })).rejects.toMatchObject({
      reason: "rejected",
    });
  });
});

describe("slots", () => {
  const group = { name: "m", most: 1 };
  const of = (id: string, step: number, end = false): SequenceRequest => ({
    ...at(step, { end }),
    key: { ...at(0).key, id },
    slots: group,
  });

  it("are held from the first request to the last; others wait in the order in which they began", async () => {
    const store = sequenceStore(manualClock());
    await add(store, of("a", 0));
    const done: string[] = [];
    const b = add(store, of("b", 0, true)).then(() => done.push("b"));
    const c = add(store, of("c", 0)).then(() => done.push("c"));
    await add(store, of("a", 1));
    await settle();
    expect(done).toEqual([]);
    await add(store, of("a", 2, true));
    await Promise.all([b, c]);
    expect(done).toEqual(["b", "c"]);
  });

  it("are not held by a sequence that has ended, even if its last step is repeated", async () => {
    const clock = manualClock();
    const store = sequenceStore(clock);
    await add(store, of("a", 0, true));
    const place = store.join("t", "m", "a");
    const reached = await store.reach(of("a", 0, true), call, place);
    const turn = await store.enter(of("a", 0, true), call, place);
    expect(turn.remembered).toBeDefined();
    turn[Symbol.dispose]();
    reached[Symbol.dispose]();
    expect(await clock.finish(add(store, of("b", 0)))).toBe(1);
    expect(clock.nowMs()).toBe(0);
  });

  it("and sequences that begin again while a sequence ended by its size is still being left", async () => {
    const store = sequenceStore(manualClock(), { maxStateBytes: 8 });
    const place = store.join("t", "m", "a");
    const reached = await store.reach(of("a", 0), call, place);
    const turn = await store.enter(of("a", 0), call, place);
    const big = tensorsOf(float32Tensor("s", [3], new Float32Array(3)));
    expect(() => turn.commit({ outputs: new Map(), state: big })).toThrow(
      expect.objectContaining({ reason: "memory-limit" }) as Error,
    );
    turn[Symbol.dispose]();
    expect(await add(store, of("a", 0))).toBe(1);
    reached[Symbol.dispose]();
    expect(await add(store, of("a", 1))).toBe(3);
  });

  it("are freed by idling, by a request that gives up, and at the end of the store", async () => {
    const clock = manualClock();
    const store = sequenceStore(clock);
    await add(store, of("a", 0));
    const b = add(store, of("b", 0));
    await clock.advance(1000);
    expect(await b).toBe(1);
    const { call: child, cancel } = childCall(call);
    const waiting = store.enter(of("c", 0), child);
    await settle();
    cancel(new LongshoreError("cancelled", "queue", "gone"));
    await expect(waiting).rejects.toMatchObject({ reason: "cancelled" });
    const last = store.enter(of("d", 0), call);
    await settle();
    store.close();
    await expect(last).rejects.toMatchObject({ reason: "shutting-down" });
  });
});

describe("seals of exported state", () => {
  const sealKey = (id: string): SealKey => ({
    id,
    mac: (bytes) => Promise.resolve(createHmac("sha256", `secret ${id}`).update(bytes).digest("hex")),
  });
  const mine = sealKey("k1");
  const { key } = at(0);
  const caller = { ...call, rights: ["infer"] };
  const back = (state: Tensors, seal?: string): SequencePosition => ({
    ...at(4, { state }).position,
    ...(seal === undefined ? {} : { seal }),
  });

  it("let a caller continue only from a state exported here for the same sequence", async () => {
    const seal = await sealState(mine, key, 3, stateOf(5));
    await checkSeal(mine, key, back(stateOf(5), seal), caller);
    const others = [
      { ...key, tenant: "other" },
      { ...key, model: "other" },
      { ...key, digest: "sha256:2" },
      { ...key, id: "other" },
    ];
    for (const other of others) {
      await expect(checkSeal(mine, other, back(stateOf(5), seal), caller)).rejects.toMatchObject({
        reason: "not-permitted",
      });
    }
    const changed = [back(stateOf(6), seal), back(stateOf(5), seal.replace(".3.", ".4."))];
    for (const position of changed) {
      // Not even those who may make a state up: a broken seal of ours is no honest mistake.
      await expect(
        checkSeal(mine, key, position, { ...call, rights: ["segment:infer"] }),
      ).rejects.toMatchObject({ reason: "not-permitted" });
    }
  });

  it("let the step after theirs go on, and no other one", async () => {
    const seal = await sealState(mine, key, 3, stateOf(5));
    const said = (step: number): SequencePosition => ({ ...back(stateOf(5), seal), step });
    await checkSeal(mine, key, said(nextStep), caller);
    for (const step of [0, 3, 5]) {
      await expect(checkSeal(mine, key, said(step), caller)).rejects.toMatchObject({
        reason: "sequence-step",
      });
    }
  });

  it("are needed by callers that may not run parts of models; one of another endpoint counts as none", async () => {
    const foreign = await sealState(sealKey("k2"), key, 3, stateOf(5));
    for (const seal of [undefined, foreign, "nonsense", "1.k1.3.00"]) {
      await expect(checkSeal(mine, key, back(stateOf(5), seal), caller)).rejects.toMatchObject({
        reason: "not-permitted",
      });
      await checkSeal(mine, key, back(stateOf(5), seal), { ...call, rights: ["infer", "segment:infer"] });
      await checkSeal(mine, key, back(stateOf(5), seal), call);
    }
  });
});
