import { memoryCompressor } from "@longshore/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { housekeepingCall } from "../base/index.ts";
import {
  bytesTensor,
  float32Tensor,
  float32View,
  joinElements,
  numericTensor,
  type Tensor,
} from "../tensor/index.ts";
import type { Codec, Encoded } from "./codec.ts";
import { codecSet, decodeCrossing, encodeCrossing } from "./codec-set.ts";
import { fp16Codec } from "./fp16.ts";
import { int8Codec } from "./int8.ts";
import { int8DeflateCodec } from "./int8-deflate.ts";
import { rawCodec } from "./raw.ts";
import { uint8Codec } from "./uint8.ts";

const call = housekeepingCall("codec");
const deflate = int8DeflateCodec({ compressor: memoryCompressor() });
const lossy = [uint8Codec, int8Codec, fp16Codec, deflate];
const all = [rawCodec, ...lossy];

const vector = (...values: readonly number[]): Tensor =>
  float32Tensor("x", [values.length], Float32Array.from(values));

async function roundTrip(codec: Codec, tensor: Tensor): Promise<Float32Array> {
  return float32View(await codec.decode(await codec.encode(tensor, call), call));
}

/** Two elements of 1 x 2 and 3 x 2. */
const ragged = (): Tensor =>
  joinElements(
    "crops",
    [
      float32Tensor("a", [1, 2], Float32Array.of(0.25, 1)),
      float32Tensor("b", [3, 2], Float32Array.of(0, -2, 3, 4, 5, 6)),
    ],
    { datatype: "FP32", shape: [-1, 2] },
  );

const floats = fc.float32Array({ noNaN: true, noDefaultInfinity: true, maxLength: 200 });

describe("8-bit codecs", () => {
  it.each([uint8Codec, int8Codec, deflate])("$id errs by at most half of its scale", async (codec) => {
    await fc.assert(
      fc.asyncProperty(floats, async (values) => {
        const encoded = await codec.encode(float32Tensor("x", [values.length], values), call);
        const back = float32View(await codec.decode(encoded, call));
        const scale = Number(encoded.parameters["scale"]);
        for (const [index, value] of values.entries()) {
          const bound = scale * 0.5000001 + Math.abs(value) * 2 ** -23;
          expect(Math.abs((back[index] ?? NaN) - value)).toBeLessThanOrEqual(bound);
        }
      }),
    );
  });

  it("int8 uses a byte a value, keeps zeros exact and states a whole zero point", async () => {
    const encoded = await int8Codec.encode(vector(-1, 0, 0, 2.5), call);
    expect(encoded.bytes.byteLength).toBe(4);
    expect(Number.isInteger(encoded.parameters["zeroPoint"])).toBe(true);
    expect([...float32View(await int8Codec.decode(encoded, call))].slice(1, 3)).toEqual([0, 0]);
  });

  it("int8 gives the levels that its formula says", async () => {
    // range -1..1.55, so a scale of 0.01 and a zero point of -28
    const encoded = await int8Codec.encode(vector(-1, 0, 1.55, 0.5), call);
    expect(encoded.parameters["scale"]).toBeCloseTo(0.01, 7);
    expect(encoded.parameters["zeroPoint"]).toBe(-28);
    expect([...new Int8Array(encoded.bytes)]).toEqual([-128, -28, 127, 22]);
  });

  it.each([
    ["0..1", (level: number) => level / 255],
    ["-1..1", (level: number) => (level / 255 - 0.5) / 0.5],
    ["0..255", (level: number) => level],
  ])("uint8 gives image levels in %s back to within the last bit", async (_range, valueOf) => {
    // 7 to 200: the ends of the range do not occur, so it has to know the grid
    const values = Float32Array.from({ length: 194 }, (_, index) => valueOf(index + 7));
    const back = await roundTrip(uint8Codec, float32Tensor("x", [194], values));
    for (const [index, value] of values.entries()) expect(back[index]).toBeCloseTo(value, 6);
  });

  it("uint8 gives all levels divided by 255 back exactly", async () => {
    const values = Float32Array.from({ length: 256 }, (_, level) => level / 255);
    expect(await roundTrip(uint8Codec, float32Tensor("x", [256], values))).toEqual(values);
  });

  it.each([uint8Codec, int8Codec, deflate])("$id sends NaN and infinities unharmed", async (codec) => {
    const values = Float32Array.of(1, -Infinity, NaN, Infinity, 0);
    const encoded = await codec.encode(float32Tensor("x", [5], values), call);
    expect(encoded.parameters).toEqual({ plain: true });
    expect(float32View(await codec.decode(encoded, call))).toEqual(values);
  });

  it.each(lossy)("$id gives constant and empty tensors back", async (codec) => {
    expect([...(await roundTrip(codec, vector(3, 3, 3)))]).toEqual([3, 3, 3]);
    expect([...(await roundTrip(codec, vector()))]).toEqual([]);
    expect([...(await roundTrip(codec, vector(0, 0)))]).toEqual([0, 0]);
  });

  it("says the ends of the FP32 range", async () => {
    const most = 3.4028234663852886e38;
    const back = await roundTrip(int8Codec, vector(-most, 0, most));
    expect(back[0]).toBeCloseTo(-most, -37);
    expect(Number.isFinite(back[2])).toBe(true);
  });
});

describe("fp16", () => {
  it("errs by at most 2^-11 of the value, or 2^-25 below the normal range", async () => {
    await fc.assert(
      fc.asyncProperty(fc.float32Array({ min: -65504, max: 65504, noNaN: true }), async (values) => {
        const back = await roundTrip(fp16Codec, float32Tensor("x", [values.length], values));
        for (const [index, value] of values.entries()) {
          const bound = Math.max(Math.abs(value) * 2 ** -11, 2 ** -25);
          expect(Math.abs((back[index] ?? NaN) - value)).toBeLessThanOrEqual(bound);
        }
      }),
    );
  });

  it("gives every half back bit for bit", async () => {
    const half = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);
    const encoded: Encoded = {
      ...(await fp16Codec.encode(vector(0), call)),
      spec: { name: "x", datatype: "FP32", shape: [65_536] },
      bytes: new Uint8Array(half.buffer),
    };
    const again = await fp16Codec.encode(await fp16Codec.decode(encoded, call), call);
    const bits = new Uint16Array(again.bytes.buffer);
    for (let word = 0; word < 65_536; word++) {
      // NaNs keep being NaN; which of them is not promised
      const isNotANumber = (word & 0x7c00) === 0x7c00 && (word & 0x3ff) !== 0;
      if (!isNotANumber) expect(bits[word]).toBe(word);
    }
  });

  it("rounds to nearest even and keeps values that are not finite", async () => {
    const back = await roundTrip(fp16Codec, vector(1 + 2 ** -11, 1 + 3 * 2 ** -11, 65_519, -Infinity, NaN));
    expect([...back]).toEqual([1, 1 + 2 ** -9, 65_504, -Infinity, NaN]);
  });

  it.each([65_520, -65_536, -3e38])("makes no infinity of %f, which is none", async (large) => {
    const values = Float32Array.of(0.1, large, Infinity);
    const encoded = await fp16Codec.encode(float32Tensor("x", [3], values), call);
    expect(encoded.parameters).toEqual({ plain: true });
    expect(float32View(await fp16Codec.decode(encoded, call))).toEqual(values);
  });
});

describe("every codec", () => {
  it.each(all)("$id carries ragged tensors with their rows", async (codec) => {
    const tensor = ragged();
    const decoded = await codec.decode(await codec.encode(tensor, call), call);
    expect(decoded.spec).toEqual(tensor.spec);
    expect(decoded.rows).toEqual(tensor.rows);
    for (const [index, value] of float32View(tensor).entries()) {
      expect(float32View(decoded)[index]).toBeCloseTo(value, 1);
    }
  });

  it.each(lossy)("$id leaves whole numbers alone", (codec) => {
    for (const datatype of ["INT64", "INT32", "UINT8", "BOOL", "BYTES"] as const) {
      expect(codec.accepts({ name: "shape", datatype, shape: [2] })).toBe(false);
    }
  });

  it.each(all)("$id refuses bytes that are cut or too long", async (codec) => {
    const encoded = await codec.encode(vector(1, 2, 3, 4), call);
    for (const bytes of [encoded.bytes.subarray(1), new Uint8Array(encoded.bytes.byteLength * 3 + 64)]) {
      await expect(codec.decode({ ...encoded, bytes }, call)).rejects.toMatchObject({
        reason: "body-mismatch",
      });
    }
  });

  it.each(all)("$id refuses an absurd shape before it allocates", async (codec) => {
    const encoded = await codec.encode(vector(1, 2, 3, 4), call);
    for (const shape of [[2 ** 39], [2 ** 30, 2 ** 30], [-1], [0.5], [4, -4]]) {
      const spec = { ...encoded.spec, shape };
      await expect(codec.decode({ ...encoded, spec }, call)).rejects.toSatisfy(
        (error: { reason: string }) => error.reason === "body-mismatch" || error.reason === "body-too-large",
      );
    }
  });

  it.each(all)("$id refuses rows that do not go with the shape", async (codec) => {
    const encoded = await codec.encode(ragged(), call);
    for (const rows of [
      [1, 2],
      [1, 2, 2, 2, 2, 2],
      [4, 2, -1, 2],
      [2, 4, 1, 0],
      [1, 2, 4, 2],
    ]) {
      await expect(codec.decode({ ...encoded, rows: Int32Array.from(rows) }, call)).rejects.toMatchObject({
        reason: "body-mismatch",
      });
    }
  });

  it.each([uint8Codec, int8Codec])("$id refuses figures that cannot be", async (codec) => {
    const encoded = await codec.encode(vector(1, 2, 3, 4), call);
    const other = codec === int8Codec ? "zeroPoint" : "offset";
    for (const change of [
      { scale: NaN },
      { scale: 0 },
      { scale: Infinity },
      { scale: "1" },
      { [other]: 1e300 },
      { [other]: NaN },
      ...(codec === int8Codec ? [{ zeroPoint: 128 }, { zeroPoint: 0.5 }] : []),
    ]) {
      const parameters = { ...encoded.parameters, ...change };
      await expect(codec.decode({ ...encoded, parameters }, call)).rejects.toMatchObject({
        reason: "body-mismatch",
      });
    }
  });

  it("only ever decodes or refuses the bytes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...all),
        fc.uint8Array({ maxLength: 64 }),
        fc.array(fc.integer({ min: -2, max: 2 ** 31 }), { maxLength: 4 }),
        fc.option(fc.array(fc.integer({ min: -2, max: 2 ** 31 - 1 }), { maxLength: 6 }), { nil: undefined }),
        fc.dictionary(
          fc.constantFrom("scale", "offset", "zeroPoint", "plain"),
          fc.oneof(fc.double(), fc.boolean()),
        ),
        async (codec, bytes, shape, rows, parameters) => {
          const encoded: Encoded = {
            spec: { name: "x", datatype: "FP32", shape },
            codec: codec.id,
            bytes,
            parameters,
            ...(rows ? { rows: Int32Array.from(rows) } : {}),
          };
          try {
            const { bytes: out } = await codec.decode(encoded, call);
            expect(out.byteLength).toBeLessThanOrEqual(256 * 4);
          } catch (error) {
            expect(["body-mismatch", "body-too-large"]).toContain((error as { reason: string }).reason);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("raw", () => {
  it("carries texts and refuses lengths that run past the end", async () => {
    const encoded = await rawCodec.encode(bytesTensor("t", ["Regal", "7"]), call);
    expect((await rawCodec.decode(encoded, call)).bytes).toEqual(encoded.bytes);
    const bytes = encoded.bytes.slice();
    bytes[0] = 200;
    await expect(rawCodec.decode({ ...encoded, bytes }, call)).rejects.toMatchObject({
      reason: "body-mismatch",
    });
  });
});

describe("crossings", () => {
  const set = codecSet(rawCodec, int8Codec, uint8Codec);
  const crossing = new Map([
    ["features", float32Tensor("features", [3], Float32Array.of(0, 1, 2))],
    ["sizes", numericTensor("sizes", "INT64", [2], BigInt64Array.of(3n, 4n))],
  ]);

  it("travel by the codec chosen for each tensor, raw without a choice", async () => {
    const encoded = await encodeCrossing(crossing, { features: "int8" }, set, call);
    expect([...encoded.values()].map(({ codec }) => codec)).toEqual(["int8", "raw"]);
    const decoded = await decodeCrossing(encoded, set, call);
    expect(decoded.get("sizes")).toEqual(crossing.get("sizes"));
    expect(decoded.get("features")?.spec).toEqual(crossing.get("features")?.spec);
  });

  it("refuse codecs that are not known or do not take the tensor", async () => {
    await expect(encodeCrossing(crossing, { features: "jpeg-85" }, set, call)).rejects.toMatchObject({
      reason: "unsupported",
      message: "codec jpeg-85 is not known here; known are raw, int8, uint8",
    });
    await expect(encodeCrossing(crossing, { sizes: "int8" }, set, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    const encoded = await encodeCrossing(crossing, {}, set, call);
    const wrong = new Map([...encoded].map(([name, one]) => [name, { ...one, codec: "int8" }]));
    await expect(decodeCrossing(wrong, set, call)).rejects.toMatchObject({ reason: "body-mismatch" });
    await expect(decodeCrossing(encoded, codecSet(int8Codec), call)).rejects.toMatchObject({
      reason: "unsupported",
    });
  });

  it("need codecs with different ids", () => {
    expect(() => codecSet(rawCodec, rawCodec)).toThrowError(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
  });
});
