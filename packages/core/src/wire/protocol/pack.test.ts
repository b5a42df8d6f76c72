import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { housekeepingCall } from "../../words/base/index.ts";
import { codecSet, fp16Codec, int8Codec, rawCodec, uint8Codec } from "../../words/codec/index.ts";
import {
  bytesOf,
  float32Tensor,
  float32View,
  joinElements,
  numericTensor,
  splitElements,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "../../words/tensor/index.ts";
import { defaultWireLimits } from "./limits.ts";
import { packTensors, unpackTensors } from "./pack.ts";
import type { WireTensor } from "./wire-tensor.ts";

const call = housekeepingCall("test");
const codecs = codecSet(rawCodec, fp16Codec, int8Codec, uint8Codec);
const unpack = async (wire: readonly WireTensor[]): Promise<Tensors> =>
  unpackTensors(wire, codecs, defaultWireLimits, call);

function crops(...sizes: readonly (readonly [number, number])[]): Tensor {
  const elements = sizes.map(([height, width], index) =>
    numericTensor("crop", "UINT8", [height, width, 3], new Uint8Array(height * width * 3).fill(index + 1)),
  );
  return joinElements("crops", elements, { datatype: "UINT8", shape: [-1, -1, 3] });
}

describe("tensors on the wire", () => {
  it("a ragged tensor travels as its elements and their shapes, and comes back the same", async () => {
    const tensor = crops([2, 5], [3, 4]);
    const wire = await packTensors(tensorsOf(tensor), {}, codecs, call);
    expect(wire.map(({ name, datatype, shape }) => [name, datatype, shape])).toEqual([
      ["crops", "UINT8", [66]],
      ["crops~rows", "INT32", [2, 3]],
    ]);
    const back = (await unpack(wire)).get("crops");
    expect(back).toEqual(tensor);
    expect(splitElements(back!).map((element) => element.spec.shape)).toEqual([[2, 5, 3], [3, 4, 3]]); // prettier-ignore
  });

  it("a ragged tensor without elements comes back without elements", async () => {
    const back = (await unpack(await packTensors(tensorsOf(crops()), {}, codecs, call))).get("crops");
    expect(back?.spec).toMatchObject({ shape: [0, -1, -1, -1], ragged: true });
    expect(splitElements(back!)).toEqual([]);
  });

  it("any list of elements survives", async () => {
    const size = fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 }));
    await fc.assert(
      fc.asyncProperty(fc.array(size, { minLength: 1, maxLength: 5 }), async (sizes) => {
        const tensor = crops(...sizes);
        const back = await unpack(await packTensors(tensorsOf(tensor), {}, codecs, call));
        expect(back.get("crops")).toEqual(tensor);
      }),
      { seed: 3 },
    );
  });

  it("codecs are undone, with their parameters", async () => {
    const values = Float32Array.from({ length: 64 }, (_, index) => Math.sin(index));
    const tensor = float32Tensor("x", [8, 8], values);
    for (const [codec, within] of [
      ["fp16", 1e-3],
      ["int8", 1e-2],
    ] as const) {
      // prettier-ignore
      const wire = await packTensors(tensorsOf(tensor), { x: codec }, codecs, call);
      expect(wire[0]?.parameters["codec"]).toBe(codec);
      expect(wire[0]?.bytes.byteLength).toBeLessThan(tensor.bytes.byteLength);
      const back = (await unpack(wire)).get("x");
      expect(back?.spec).toEqual(tensor.spec);
      const worst = Math.max(
        ...float32View(back!).map((value, index) => Math.abs(value - (values[index] ?? NaN))),
      );
      expect(worst, codec).toBeLessThan(within);
    }
  });

  it("names that every object has choose no codec", async () => {
    const tensor = float32Tensor("constructor", [1], Float32Array.of(1));
    const wire = await packTensors(tensorsOf(tensor), {}, codecs, call);
    expect(wire[0]?.parameters).toEqual({});
  });

  it("refuses unknown codecs, codecs for other tensors, and coded bytes of the wrong length", async () => {
    const x = float32Tensor("x", [4], new Float32Array(4));
    await expect(packTensors(tensorsOf(x), { x: "zip" }, codecs, call)).rejects.toMatchObject({
      reason: "unsupported",
      stage: "encode",
    });
    const wire: WireTensor = {
      name: "x",
      datatype: "FP32",
      shape: [4],
      parameters: { codec: "zip" },
      bytes: x.bytes,
    };
    await expect(unpack([wire])).rejects.toMatchObject({ reason: "unsupported", stage: "decode" });
    const ids = numericTensor("x", "INT64", [2], new BigInt64Array(2));
    await expect(packTensors(tensorsOf(ids), { x: "int8" }, codecs, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    await expect(
      unpack([{ ...wire, datatype: "INT64", parameters: { codec: "int8" } }]),
    ).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(
      unpack([{ ...wire, parameters: { codec: "fp16" }, bytes: new Uint8Array(7) }]),
    ).rejects.toMatchObject({ reason: "body-mismatch" });
    await expect(unpack([{ ...wire, parameters: { codec: 7 } }])).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });

  it("refuses companions that lie", async () => {
    const of = (shape: readonly number[], rows: Int32Array, rowsShape: readonly number[]): Promise<unknown> =>
      unpack([
        { name: "x", datatype: "UINT8", shape, parameters: {}, bytes: new Uint8Array(shape[0] ?? 0) },
        { name: "x~rows", datatype: "INT32", shape: rowsShape, parameters: {}, bytes: bytesOf(rows) },
      ]);
    await expect(of([6], Int32Array.of(2, 3), [1, 2])).resolves.toBeDefined();
    await expect(of([7], Int32Array.of(2, 3), [1, 2])).rejects.toMatchObject({ reason: "body-mismatch" });
    await expect(of([6], Int32Array.of(-2, -3), [1, 2])).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(of([6], Int32Array.of(2 ** 30, 2 ** 30), [1, 2])).rejects.toMatchObject({
      reason: "invalid-input",
    });
    await expect(of([6], Int32Array.of(2, 3), [2])).rejects.toMatchObject({ reason: "invalid-input" });
  });
});
