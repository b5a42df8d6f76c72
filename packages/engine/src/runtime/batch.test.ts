import {
  bytesTensor,
  float32Tensor,
  float32View,
  tensorOf,
  tensorsOf,
  type Tensors,
  textElements,
} from "@longshore/core";
import { housekeepingCall, isGiven } from "@longshore/core/internal";
import { manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { paddedRows, runJoined } from "./batch.ts";

function feeds(rowBytes: number, value: number): Tensors {
  return tensorsOf(
    tensorOf("x", "UINT8", [1, rowBytes], new Uint8Array(rowBytes).fill(value)),
    tensorOf("scale", "UINT8", [1, 1], Uint8Array.of(value)),
  );
}

describe("runJoined", () => {
  it("copies large rows in steps, and gives its own memory away", async () => {
    const clock = manualClock();
    const rowBytes = 3 * 2 ** 20;
    let ran: Tensors | undefined;
    const done = runJoined(
      [feeds(rowBytes, 1), feeds(rowBytes, 2)],
      2,
      clock,
      housekeepingCall("test"),
      (all) => {
        ran = all;
        return Promise.resolve(all);
      },
    );
    expect(ran).toBeUndefined();
    const all = await clock.finish(done);
    expect(clock.timersSet()).toBeGreaterThanOrEqual(3);
    expect(ran).toBe(all);
    const [x, scale] = [all.get("x")!, all.get("scale")!];
    expect(x.spec.shape).toEqual([2, rowBytes]);
    expect([x.bytes[0], x.bytes[rowBytes - 1], x.bytes[rowBytes], x.bytes.at(-1)]).toEqual([1, 1, 2, 2]);
    expect([...scale.bytes]).toEqual([1, 2]);
    expect([isGiven(x), isGiven(scale)]).toEqual([true, false]);
  });

  it("fails where a member has left and its rows are gone, instead of moving those of others", async () => {
    const clock = manualClock();
    const members = [1, 2, 3].map((value) => feeds(3 * 2 ** 20, value));
    let ran = false;
    const done = runJoined(members, 3, clock, housekeepingCall("test"), () => {
      ran = true;
      return Promise.resolve();
    });
    structuredClone(undefined, { transfer: [members[1]!.get("x")!.bytes.buffer as ArrayBuffer] });
    await expect(clock.finish(done)).rejects.toMatchObject({ reason: "invalid-input" });
    expect(ran).toBe(false);
  });

  it("runs at once on small rows, and on those of one member as they came", async () => {
    const clock = manualClock();
    const call = housekeepingCall("test");
    const run = (all: Tensors): Promise<Tensors> => Promise.resolve(all);
    const one = feeds(8 * 2 ** 20, 1);
    expect(await runJoined([one], 1, clock, call, run)).toBe(one);
    let ran = false;
    void runJoined([feeds(10, 1), feeds(10, 2)], 2, clock, call, (all) => {
      ran = true;
      return run(all);
    });
    expect(ran).toBe(true);
  });
});

describe("joining with rows of padding", () => {
  it("repeats the first row, numbers and texts alike", async () => {
    const numbers = (...values: number[]): Tensors =>
      tensorsOf(
        float32Tensor("x", [values.length, 1], Float32Array.from(values)),
        bytesTensor("t", values.map(String), [values.length, 1]),
      );
    const asIs = (all: Tensors): Promise<Tensors> => Promise.resolve(all);
    const ran = (rows: number, ...members: Tensors[]): Promise<Tensors> =>
      runJoined(members, rows, manualClock(), housekeepingCall("test"), asIs);
    const padded = await ran(4, numbers(5, 6), numbers(7));
    expect([...float32View(padded.get("x")!)]).toEqual([5, 6, 7, 5]);
    expect(textElements(padded.get("t")!)).toEqual(["5", "6", "7", "5"]);
    expect((await ran(1, numbers(5, 6))).get("x")?.spec.shape).toEqual([2, 1]);
    expect(
      [2, 3, 5].map((rows) => paddedRows(rows, { maxBatchSize: 8, buckets: { axes: [], rows: [2, 4] } })),
    ).toEqual([2, 4, 5]);
  });

  it("copies one large request once, in steps, and gives its own memory away", async () => {
    const clock = manualClock();
    const rowBytes = 3 * 2 ** 20;
    let ran: Tensors | undefined;
    const done = runJoined([feeds(rowBytes, 1)], 2, clock, housekeepingCall("test"), (all) => {
      ran = all;
      return Promise.resolve(all);
    });
    expect(ran).toBeUndefined();
    const x = (await clock.finish(done)).get("x")!;
    expect([x.spec.shape, x.bytes[rowBytes], x.bytes.at(-1), isGiven(x)]).toEqual([
      [2, rowBytes],
      1,
      1,
      true,
    ]);
  });
});
