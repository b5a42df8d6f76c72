import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall } from "../../words/base/index.ts";
import { numericTensor, tensorsOf } from "../../words/tensor/index.ts";
import { heldSequences } from "./held-sequences.ts";

const call = housekeepingCall("test");
const step = (bytes: number, at = 0) => ({
  step: at,
  endpoint: "there",
  state: tensorsOf(numericTensor("s", "UINT8", [bytes], new Uint8Array(bytes))),
  seal: "1.a.0.b",
});

it("keeps no state above its bounds, and the steps all the same", async () => {
  const held = heldSequences(manualClock(), { maxStateBytes: 10, maxAllBytes: 25 });
  for (const [key, bytes] of [
    ["large", 11],
    ["a", 10],
    ["b", 10],
    ["c", 10],
  ] as const) {
    using turn = await held.enter(key, call);
    turn.keep(step(bytes));
  }
  const kept: (string | undefined)[] = [];
  for (const key of ["large", "a", "b", "c"]) {
    using turn = await held.enter(key, call);
    expect(turn.held?.step).toBe(0);
    kept.push(turn.held?.state && key);
  }
  expect(kept).toEqual([undefined, undefined, "b", "c"]);
});

it("refuses one sequence more than it keeps, until one ends or nobody has come for it for too long", async () => {
  const clock = manualClock();
  const held = heldSequences(clock, { maxSequences: 2, maxTenantSequences: 2 });
  const enter = async (key: string, nowMs: number): Promise<boolean> => {
    await clock.advance(nowMs - clock.nowMs());
    using turn = await held.enter(key, call, 10_000);
    const known = turn.held !== undefined;
    turn.keep(step(1));
    return known;
  };
  await enter("a", 0);
  await enter("b", 0);
  await expect(enter("c", 1)).rejects.toMatchObject({ reason: "rejected", retryAfterMs: 1000 });
  expect([await enter("a", 5000), await enter("b", 6000)]).toEqual([true, true]);
  {
    await clock.advance(1000);
    using turn = await held.enter("b", call, 10_000);
    turn.forget();
  }
  expect(await enter("c", 7000)).toBe(false);
  await expect(enter("d", 14_000)).rejects.toMatchObject({ reason: "rejected" });
  // Sequences of `a`, which was last seen at 5000.
  expect(await enter("d", 15_000)).toBe(false);
  expect(await enter("c", 15_000)).toBe(true);
  await expect(enter("a", 15_500)).rejects.toMatchObject({ reason: "rejected" });
});

it("does not keep for ever what nobody says an idle time of", async () => {
  const clock = manualClock();
  const held = heldSequences(clock, { maxSequences: 1, maxTenantSequences: 1 });
  const enter = async (key: string, nowMs: number): Promise<void> => {
    await clock.advance(nowMs - clock.nowMs());
    using turn = await held.enter(key, call);
    turn.keep(step(1));
  };
  await enter("a", 0);
  await expect(enter("b", 59_000)).rejects.toMatchObject({ reason: "rejected" });
  await enter("b", 61_000);
});

it("keeps slots for others where one tenant has very many", async () => {
  const held = heldSequences(manualClock(), { maxSequences: 4 });
  const enter = async (tenant: string, key: string): Promise<void> => {
    using turn = await held.enter(`${tenant} ${key}`, { ...call, tenant });
    turn.keep(step(1));
  };
  await enter("many", "a");
  await enter("many", "b");
  await expect(enter("many", "c")).rejects.toMatchObject({
    reason: "tenant-limit",
    message: expect.stringContaining("2 of your sequences"),
  });
  await enter("few", "a");
  await enter("many", "b");
});

it("forgets a sequence that idled for too long since its last request was over", async () => {
  const clock = manualClock();
  const held = heldSequences(clock);
  const enter = async (tookMs: number, maxIdleMs?: number): Promise<number | undefined> => {
    using turn = await held.enter(maxIdleMs === undefined ? "any" : "a", call, maxIdleMs);
    const known = turn.held?.step;
    turn.keep(step(1, (known ?? -1) + 1));
    await clock.advance(tookMs);
    return known;
  };
  // However long a request takes, its sequence does not idle.
  expect([await enter(0, 1000), await enter(5000, 1000)]).toEqual([undefined, 0]);
  await clock.advance(999);
  expect(await enter(0, 1000)).toBe(1);
  await clock.advance(1000);
  expect(await enter(0, 1000)).toBeUndefined();
  // Where nobody says how long it may, its endpoint knows.
  await enter(0);
  await clock.advance(600_000);
  expect(await enter(0)).toBe(0);
});
