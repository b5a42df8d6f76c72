import { tensorOf, type Tensors, tensorsOf } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { type Sharing, splitOutputsAmong } from "./waiting.ts";

const shared = {
  rows: 1,
  enqueuedMs: 0,
  cut: (outputs: Tensors) => outputs,
  settled: false,
  resolve: () => undefined,
  reject: () => undefined,
};

describe("splitOutputsAmong", () => {
  it("answers the members of a large batch one after another, with others between", async () => {
    const clock = manualClock();
    const rowBytes = 2 * 2 ** 20;
    const answers: Uint8Array[] = [];
    const member: Sharing = {
      ...shared,
      resolve: ({ outputs }: { readonly outputs: Tensors }) => void answers.push(outputs.get("y")!.bytes),
    };
    const bytes = new Uint8Array(4 * rowBytes);
    for (let row = 0; row < 4; row++) bytes.fill(row + 1, row * rowBytes, (row + 1) * rowBytes);
    const outputs = tensorsOf(tensorOf("y", "UINT8", [4, rowBytes], bytes));
    // Three requests and a row of padding. Only these members of a request are read here.
    const members = [member, member, member];
    let parted = 0;
    splitOutputsAmong(
      members,
      outputs,
      { rows: 4, startedMs: 0, runMs: 1, parted: () => void parted++ },
      clock,
    );
    expect([answers.length, parted]).toEqual([1, 0]);
    await clock.advance(0);
    expect(parted).toBe(1);
    expect(answers.map((answer) => [answer.byteLength, answer[0], answer.at(-1)])).toEqual([
      [rowBytes, 1, 1],
      [rowBytes, 2, 2],
      [rowBytes, 3, 3],
    ]);
    expect(answers[0]!.buffer.byteLength).toBe(rowBytes);
  });

  it("copies a large answer in steps, and nothing for a request that has left", async () => {
    const clock = manualClock();
    const rowBytes = 16 * 2 ** 20;
    const answers: Uint8Array[] = [];
    const cut: Uint8Array[] = [];
    const member = (settled: boolean) => ({
      rows: 1,
      enqueuedMs: 0,
      settled,
      cut: (outputs: Tensors) => {
        cut.push(outputs.get("y")!.bytes);
        return outputs;
      },
      resolve: ({ outputs }: { readonly outputs: Tensors }) => void answers.push(outputs.get("y")!.bytes),
      reject: () => undefined,
    });
    const bytes = new Uint8Array(2 * rowBytes);
    for (let row = 0; row < 2; row++) bytes.fill(row + 1, row * rowBytes, (row + 1) * rowBytes);
    const outputs = tensorsOf(tensorOf("y", "UINT8", [2, rowBytes], bytes));
    const members = [member(true), member(false)];
    splitOutputsAmong(members, outputs, { rows: 2, startedMs: 0, runMs: 1, parted: () => undefined }, clock);
    expect(answers).toHaveLength(0);
    await clock.advance(0);
    expect(cut).toHaveLength(1);
    expect(answers.map((answer) => [answer.byteLength, answer[0], answer.at(-1)])).toEqual([
      [rowBytes, 2, 2],
    ]);
    expect(clock.timersSet()).toBe(7);
  });

  it.each([8, 4 * 2 ** 20])(
    "fails all members where the texts of an output of %i bytes do not fit its rows",
    (size) => {
      const failures: unknown[] = [];
      const member: Sharing = {
        ...shared,
        reject: (error: unknown) => void failures.push(error),
      };
      const members = [member, member];
      const texts = tensorsOf(tensorOf("y", "BYTES", [2], new Uint8Array(size).fill(255)));
      let parted = 0;
      const ran = { rows: 2, startedMs: 0, runMs: 1, parted: () => void parted++ };
      splitOutputsAmong(members, texts, ran, manualClock());
      expect(failures).toHaveLength(2);
      expect(parted).toBe(0);
    },
  );
});
