import {
  type Codec,
  float32Tensor,
  int8ChannelCodec,
  int8Codec,
  numericTensor,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { call } from "../../test/ort.ts";
import { present } from "../../test/present.ts";
import { codeCrossing, meanCoding, rawCrossing } from "./code-crossing.ts";
import { errorRatioOf, squaresOf } from "./coding-error.ts";

const floats = (name: string, ...values: number[]): Tensor =>
  float32Tensor(name, [values.length], Float32Array.from(values));
const ratio = (sent: Tensors, arrived: Tensors, ...coded: string[]): number | undefined =>
  errorRatioOf([squaresOf(sent, arrived, new Set(coded))]);

describe("the error of a coding", () => {
  it("is the root mean square of the difference over that of the values, of all fractions together", () => {
    const sent = tensorsOf(floats("x", 3, 4), floats("y", 0, 0, 12));
    expect(ratio(sent, sent)).toBe(0);
    expect(ratio(sent, tensorsOf(floats("x", 3, 4), floats("y", 0, 5, 0)))).toBeCloseTo(1, 12);
    expect(ratio(sent, tensorsOf(floats("x", 3.13, 4), floats("y", 0, 0, 12)))).toBeCloseTo(0.01, 6);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 1 }), (values) => {
        const twice = values.map((value) => 1.5 * value);
        expect(ratio(tensorsOf(floats("x", ...values)), tensorsOf(floats("x", ...twice)))).toBeCloseTo(
          0.5,
          9,
        );
      }),
    );
  });

  it("counts whole numbers where they were coded, as pictures are, and no shapes beside the data", () => {
    const whole = (value: number): Tensor => numericTensor("n", "UINT8", [2], Uint8Array.of(value, 100));
    const sent = tensorsOf(floats("x", 1), whole(0));
    expect(ratio(sent, tensorsOf(floats("x", 2), whole(50)))).toBe(1);
    expect(ratio(sent, tensorsOf(floats("x", 1), whole(50)), "n")).toBeCloseTo(0.5, 4);
  });

  it("is no number where values are none, unless they arrive as they are", () => {
    const odd = tensorsOf(floats("x", NaN, Infinity, 1));
    expect(ratio(odd, odd)).toBe(0);
    expect(ratio(odd, tensorsOf(floats("x", NaN, Infinity, 1.5)))).toBe(0.5);
    expect(ratio(odd, tensorsOf(floats("x", 0, Infinity, 1)))).toBeUndefined();
    expect(ratio(odd, tensorsOf(floats("x", NaN, 6e4, 1)))).toBeUndefined();
    expect(ratio(tensorsOf(floats("x", 0)), tensorsOf(floats("x", 1)))).toBeUndefined();
    expect(ratio(tensorsOf(floats("x", 0)), tensorsOf(floats("x", 0)))).toBe(0);
  });

  it("stands in a coding for all samples, and is left out where it is no number", async () => {
    const sample = (...values: number[]): Tensors =>
      tensorsOf(float32Tensor("x", [1, 1, values.length], Float32Array.from(values)));
    const clock = steps([1]);
    // 0 and 255 set the levels: 100.5 comes to lie half a level off.
    const quiet = present(await codeCrossing(sample(0, 255, 100), int8Codec, 1, clock, call));
    const loud = present(await codeCrossing(sample(0, 255, 100.5), int8Codec, 1, clock, call));
    expect(meanCoding([quiet], [1]).errorRatio).toBeLessThan(1e-6);
    const both = present(meanCoding([quiet, loud], [1, 1]).errorRatio);
    expect(both).toBeCloseTo(0.5 / Math.sqrt(2 * 255 ** 2 + 100 ** 2 + 100.5 ** 2), 6);
    const zeroed: Codec = {
      ...int8ChannelCodec,
      decode: async ({ spec }) => floats(spec.name, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    };
    const lost = present(await codeCrossing(sample(0, 0, 0, 0, 0, 0, 0, 0, 0), zeroed, 1, clock, call));
    expect(meanCoding([lost], [0])).not.toHaveProperty("errorRatio");
  });
});

/** A clock whose readings are these far apart, over and over. */
function steps(apart: readonly number[]): { nowMs(): number } & Parameters<typeof codeCrossing>[3] {
  let [now, index] = [0, 0];
  const nowMs = (): number => (now += apart[index++ % apart.length] ?? 0);
  return { nowMs, wallMs: () => 0, timer: () => ({ [Symbol.dispose]: () => undefined }) };
}

describe("the times of a coding", () => {
  it("are the quickest run in the mean over samples, and spread over all but the very first", async () => {
    const crossing = tensorsOf(floats("x", 0, 1, 2, 3));
    // Between two readings: before encoding, encoding, before decoding, decoding; three runs.
    const first = steps([0, 90, 0, 40, 0, 4, 0, 2, 0, 6, 0, 3]);
    const second = steps([0, 8, 0, 5, 0, 2, 0, 1, 0, 8, 0, 1]);
    const coded = [
      present(await codeCrossing(crossing, int8Codec, 3, first, call)),
      present(await codeCrossing(crossing, int8Codec, 3, second, call)),
    ];
    const { encodeMs, decodeMs, encodeSpreadMs = [], decodeSpreadMs = [] } = meanCoding(coded, [1, 1]);
    expect([encodeMs, decodeMs]).toEqual([3, 1.5]);
    expect([encodeSpreadMs.length, decodeSpreadMs.length]).toEqual([16, 16]);
    expect([encodeSpreadMs[0], encodeSpreadMs.at(-1)]).toEqual([2, 8]);
    expect([decodeSpreadMs[0], decodeSpreadMs.at(-1)]).toEqual([1, 5]);
    expect(encodeSpreadMs).toEqual(encodeSpreadMs.toSorted((a, b) => a - b));
  });

  it("add up over the tensors of a crossing, run by run", async () => {
    const crossing = tensorsOf(floats("x", 0, 1, 2, 3), floats("y", 0, 1, 2, 3));
    const clock = steps([0, 4, 0, 1, 0, 2, 0, 1, 0, 5, 0, 1, 0, 10, 0, 1]);
    const coded = present(await codeCrossing(crossing, int8Codec, 2, clock, call));
    expect(coded).toMatchObject({ encodeMs: 7, encodeRunsMs: [9, 12], decodeRunsMs: [2, 2] });
  });

  it("have no spread where nothing is coded", () => {
    const raw = meanCoding([rawCrossing(tensorsOf(floats("x", 1)))], [1]);
    expect(raw).toEqual({
      codecs: {},
      bytes: 4,
      encodeMs: 0,
      decodeMs: 0,
      errorRatio: 0,
      agreementRatio: 1,
      lossless: true,
    });
  });
});
