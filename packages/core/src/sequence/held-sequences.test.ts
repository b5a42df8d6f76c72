import { expect, it } from "vitest";
import { housekeepingCall } from "../base/index.ts";
import { numericTensor, tensorsOf } from "../tensor/index.ts";
import { heldSequences } from "./held-sequences.ts";

const call = housekeepingCall("test");
const step = (bytes: number, at = 0) => ({
  step: at,
  endpoint: "there",
  state: tensorsOf(numericTensor("s", "UINT8", [bytes], new Uint8Array(bytes))),
  seal: "1.a.0.b",
});

it("keeps no state above its bounds, and the steps all the same", async () => {
  const held = heldSequences({ maxStateBytes: 10, maxAllBytes: 25 });
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

it("forgets the sequence that was used least recently when there are too many, and those that ended", async () => {
  const held = heldSequences({ maxSequences: 2 });
  for (const key of ["a", "b", "a", "c"]) {
    using turn = await held.enter(key, call);
    turn.keep(step(1));
  }
  const known = async (key: string): Promise<boolean> => {
    using turn = await held.enter(key, call);
    return turn.held !== undefined;
  };
  expect([await known("a"), await known("b"), await known("c")]).toEqual([true, false, true]);
  {
    using turn = await held.enter("c", call);
    turn.forget();
  }
  expect(await known("c")).toBe(false);
});
