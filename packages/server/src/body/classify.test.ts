import { bytesTensor, float32Tensor, type Tensor, tensorOf, textElements } from "@longshore/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classify } from "./classify.ts";

/** The tensor of classes, and in how many steps it was made. */
function classified(
  tensor: Tensor,
  count: number,
  { batched = false, labels }: { batched?: boolean; labels?: readonly string[] } = {},
): { readonly lines: readonly string[]; readonly shape: readonly number[]; readonly pauses: number } {
  const work = classify(tensor, count, batched, labels);
  for (let pauses = 0; ; pauses++) {
    const step = work.next();
    if (step.done === true) return { lines: textElements(step.value), shape: step.value.spec.shape, pauses };
  }
}

const whole = (datatype: "INT64" | "INT8" | "BOOL", values: ArrayBufferView, length: number): Tensor =>
  tensorOf("y", datatype, [length], new Uint8Array(values.buffer));

describe("classification", () => {
  it("ranks as sorting does, for any values, rows and number of classes", () => {
    const rows = fc.integer({ min: 0, max: 4 });
    fc.assert(
      fc.property(
        rows,
        fc.integer({ min: 0, max: 40 }),
        fc.nat(45),
        fc.nat(1e6),
        (many, width, count, seed) => {
          // Few different values, so that many are equal.
          const values = Float32Array.from(
            { length: many * width },
            (_, index) => (((seed + index) * 7919) % 13) - 6,
          );
          const sorted = Array.from({ length: many }, (_row, row) => {
            const own = [...values.subarray(row * width, (row + 1) * width)].map((value, at) => ({
              value,
              at,
            }));
            own.sort((a, b) => b.value - a.value || a.at - b.at);
            return own.slice(0, count).map(({ value, at }) => `${value.toFixed(6)}:${at}`);
          });
          const tensor = float32Tensor("y", [many, width], values);
          expect(classified(tensor, count, { batched: true }).lines).toEqual(sorted.flat());
        },
      ),
    );
  });

  it("puts NaN last, and counts with labels", () => {
    const tensor = float32Tensor("y", [4], Float32Array.of(NaN, 1, Infinity, -1));
    const { lines } = classified(tensor, 4, { labels: ["none", "ü"] });
    expect(lines).toEqual(["inf:2", "1.000000:1:ü", "-1.000000:3", "nan:0:none"]);
  });

  it("writes six decimals as C does: halfway to the even one, and never an exponent", () => {
    const values = Float64Array.of(1e25, 123456.7890625, 3 / 128, 1 / 128, -0, -1 / 128, -3 / 128, -Infinity);
    const tensor = tensorOf("y", "FP64", [values.length], new Uint8Array(values.buffer));
    expect(classified(tensor, values.length).lines).toEqual([
      "10000000000000000905969664.000000:0",
      "123456.789062:1",
      "0.023438:2",
      "0.007812:3",
      "-0.000000:4",
      "-0.007812:5",
      "-0.023438:6",
      "-inf:7",
    ]);
  });

  it("writes whole numbers whole, to the last digit", () => {
    const large = whole("INT64", BigInt64Array.of(2n ** 60n, 2n ** 60n + 1n, -3n), 3);
    expect(classified(large, 3).lines).toEqual(["1152921504606846977:1", "1152921504606846976:0", "-3:2"]);
    expect(classified(whole("INT8", Int8Array.of(5, 19), 2), 1).lines).toEqual(["19:1"]);
    expect(classified(whole("BOOL", Uint8Array.of(0, 1), 2), 2).lines).toEqual(["1:1", "0:0"]);
  });

  it("reads halves, and refuses types without an order", () => {
    const half = tensorOf("y", "FP16", [2], new Uint8Array(Uint16Array.of(0x3c00, 0x4000).buffer));
    expect(classified(half, 2).lines).toEqual(["2.000000:1", "1.000000:0"]);
    expect(() => classified(bytesTensor("y", ["a"]), 1)).toThrow(/cannot be ranked/);
  });

  it("gives others their turn while it goes through a thousand rows, or writes many lines", () => {
    const values = Float32Array.from({ length: 250_000 }, (_, index) => (index * 7919) % 1009);
    const rows = classified(float32Tensor("y", [1000, 250], values), 2, { batched: true });
    expect(rows.shape).toEqual([1000, 2]);
    expect(rows.pauses).toBeGreaterThan(25);
    const all = classified(float32Tensor("y", [250_000], values), 250_000);
    expect(all.lines.length).toBe(250_000);
    expect(all.pauses).toBeGreaterThan(75);
  });
});
