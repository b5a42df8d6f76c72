import { float32Tensor, float32View } from "@longshore/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tensorFromJson } from "./json-tensor.ts";
import { readNpy, writeNpy } from "./npy.ts";

describe("npy", () => {
  it("reads its own output, for any shape", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 }), (shape) => {
        const count = shape.reduce((product, size) => product * size, 1);
        const values = Float32Array.from({ length: count }, (_, index) => index - 1.5);
        const read = readNpy("x", writeNpy(float32Tensor("x", shape, values)));
        expect(read.spec.shape).toEqual(shape);
        expect([...float32View(read)]).toEqual([...values]);
      }),
    );
  });

  it("reads bytes that NumPy wrote", () => {
    const header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }".padEnd(117) + "\n";
    const bytes = new Uint8Array(10 + 118 + 16);
    bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0]);
    bytes.set(new TextEncoder().encode(header), 10);
    new DataView(bytes.buffer).setBigInt64(128, -7n, true);
    expect(readNpy("ids", bytes).spec).toEqual({ name: "ids", datatype: "INT64", shape: [2] });
  });

  it("refuses any other file by name, with any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => readNpy("x", bytes)).toThrow(expect.objectContaining({ reason: "invalid-input" }));
      }),
    );
    const good = writeNpy(float32Tensor("x", [2, 2], new Float32Array(4)));
    expect(() => readNpy("x", good.subarray(0, good.length - 1))).toThrow(/takes 16 bytes, but 15/);
  });
});

describe("JSON tensors", () => {
  it("takes nested, flat and stated shapes", () => {
    const spec = { name: "x", datatype: "FP32", shape: [-1, 2] } as const;
    expect(
      tensorFromJson(spec, [
        [1, 2],
        [3, 4],
      ]).spec.shape,
    ).toEqual([2, 2]);
    expect(tensorFromJson(spec, [1, 2]).spec.shape).toEqual([1, 2]);
    expect(tensorFromJson(spec, { shape: [1, 2], data: [1, 2] }).spec.shape).toEqual([1, 2]);
    expect(tensorFromJson({ ...spec, datatype: "BYTES", shape: [1] }, "text").spec.datatype).toBe("BYTES");
  });

  it("names the mismatch", () => {
    const spec = { name: "x", datatype: "INT64", shape: [1, 3] } as const;
    expect(() => tensorFromJson(spec, [[1, 2], [3]])).toThrow(/differ in length/);
    expect(() => tensorFromJson(spec, [1, 2, 3, 4])).toThrow(/\[1, 3\]/);
    expect(() => tensorFromJson(spec, [[1, 2.5, 3]])).toThrow(/not a whole number/);
    expect(() => tensorFromJson(spec, [["a", 2, 3]])).toThrow(/not a number/);
  });
});
