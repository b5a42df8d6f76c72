import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bytesElements,
  checkElements,
  elementOffsets,
  TextWriter,
  bytesTensor,
  textElements,
} from "./texts.ts";
import { elementCount, shapeFits, tensorOf } from "./tensor.ts";
import { float32Tensor, float32View, int64View, numericTensor } from "./views.ts";
import { fromHalf, toHalf } from "./half.ts";
import { joinElements, splitElements } from "./ragged.ts";

describe("shapes", () => {
  it("names the argument of a tensor that is no such thing", () => {
    // As a caller in plain JavaScript would swap them.
    const make = float32Tensor as (...given: readonly unknown[]) => unknown;
    expect(() => make([1], "x", Float32Array.of(1))).toThrow("float32Tensor: name must be a text");
    expect(() => make("x", Float32Array.of(1), [1])).toThrow(
      "float32Tensor: shape must be an array of sizes",
    );
    expect(() => make("x", [1], [1])).toThrow("float32Tensor: values must be a typed array");
  });

  it("products stay exact or are refused", () => {
    expect(elementCount([2, 3, 4])).toBe(24);
    expect(elementCount([])).toBe(1);
    expect(elementCount([0, 5])).toBe(0);
    for (const shape of [[-1], [2 ** 33, 2 ** 33], [1.5], [NaN], Array.from({ length: 33 }, () => 1)]) {
      expect(() => elementCount(shape)).toThrow(expect.objectContaining({ reason: "invalid-input" }));
    }
    expect(shapeFits([1, 3, 7], [1, -1, 7])).toBe(true);
    expect(shapeFits([1, 3], [1, 3, -1])).toBe(false);
  });

  it("bytes must fill the shape exactly", () => {
    expect(() => tensorOf("x", "FP32", [2], new Uint8Array(7))).toThrow(
      expect.objectContaining({
        reason: "body-mismatch",
        message: expect.stringContaining("takes 8 bytes, but 7 came"),
      }),
    );
  });
});

describe("views", () => {
  it("read unaligned bytes and refuse another datatype", () => {
    const padded = new Uint8Array(9);
    padded.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 1);
    expect([...float32View(tensorOf("x", "FP32", [2], padded.subarray(1)))]).toEqual([1.5, -2]);
    expect(() => int64View(float32Tensor("x", [1], Float32Array.of(1)))).toThrow(
      /x is FP32; INT64 is needed/,
    );
  });

  it("BYTES elements come back as they were, and lying lengths are refused", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 }), (parts) => {
        const tensor = bytesTensor("b", parts);
        expect(bytesElements(tensor).map((part) => [...part])).toEqual(parts.map((part) => [...part]));
        if (tensor.bytes.length > 0) {
          const short = { ...tensor, bytes: tensor.bytes.subarray(0, tensor.bytes.length - 1) };
          expect(() => bytesElements(short)).toThrow(expect.objectContaining({ reason: "body-mismatch" }));
        }
      }),
    );
    expect(textElements(bytesTensor("t", ["größer", "語"]))).toEqual(["größer", "語"]);
    const lying = tensorOf("b", "BYTES", [1], Uint8Array.of(255, 255, 255, 255, 1));
    expect(() => bytesElements(lying)).toThrow(expect.objectContaining({ reason: "body-mismatch" }));
  });
});

describe("texts", () => {
  const texts = fc.array(fc.string({ unit: "binary", maxLength: 30 }), { maxLength: 20 });

  it("written one by one are those of a list, however they fill their chunks", () => {
    fc.assert(
      fc.property(texts, fc.integer({ min: 0, max: 200 }), (list, expected) => {
        const writer = new TextWriter(expected);
        for (const text of list) writer.add(text);
        expect(writer.bytes()).toEqual(bytesTensor("t", list).bytes);
        expect(writer.byteLength).toBe(writer.bytes().byteLength);
      }),
    );
    const long = ["a".repeat(70_000), "é".repeat(40_000), ""];
    const writer = new TextWriter();
    for (const text of long) writer.add(text);
    expect(writer.bytes()).toEqual(bytesTensor("t", long).bytes);
  });

  it("show where each begins and the last one ends", () => {
    fc.assert(
      fc.property(texts, (list) => {
        const tensor = bytesTensor("t", list);
        const offsets = elementOffsets(tensor);
        expect([offsets.length, offsets.at(-1)]).toEqual([list.length + 1, tensor.bytes.byteLength]);
        for (const [index, element] of bytesElements(tensor).entries()) {
          expect(tensor.bytes.subarray((offsets[index] ?? 0) + 4, offsets[index + 1])).toEqual(element);
        }
      }),
    );
  });

  it("of a shape that lies cost nothing", () => {
    const lying = {
      spec: { name: "b", datatype: "BYTES", shape: [2 ** 40] },
      bytes: new Uint8Array(4),
    } as const;
    for (const read of [elementOffsets, checkElements]) {
      expect(() => read(lying)).toThrow(expect.objectContaining({ reason: "body-mismatch" }));
    }
  });
});

describe("ragged tensors", () => {
  it("split into the same tensors that were joined", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 3 })), { maxLength: 5 }),
        (shapes) => {
          const parts = shapes.map(([height, width]) =>
            float32Tensor(
              "x",
              [height, width],
              Float32Array.from({ length: height * width }, (_, index) => index),
            ),
          );
          const joined = joinElements("x", parts, { datatype: "FP32", shape: [0, 0] });
          expect(joined.spec.shape[0]).toBe(parts.length);
          expect(splitElements(joined).map((part) => [part.spec.shape, [...float32View(part)]])).toEqual(
            parts.map((part) => [part.spec.shape, [...float32View(part)]]),
          );
        },
      ),
    );
  });

  it("rows that do not add up are refused", () => {
    const joined = joinElements("x", [float32Tensor("x", [2], Float32Array.of(1, 2))], {
      datatype: "FP32",
      shape: [0],
    });
    expect(() => splitElements({ ...joined, rows: Int32Array.of(3) })).toThrow(
      expect.objectContaining({ reason: "body-mismatch" }),
    );
    const plain = numericTensor("y", "UINT8", [2, 2], Uint8Array.of(1, 2, 3, 4));
    expect(splitElements(plain).map((part) => [...part.bytes])).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });
});

describe("half precision", () => {
  it("every half comes back, and the nearest half is chosen", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = fromHalf(bits);
      if (!Number.isNaN(value)) expect(toHalf(value)).toBe(bits);
    }
    fc.assert(
      fc.property(fc.float({ min: -60000, max: 60000, noNaN: true }), (value) => {
        const error = Math.abs(fromHalf(toHalf(value)) - value);
        expect(error).toBeLessThanOrEqual(Math.max(2 ** -25, Math.abs(value) * 2 ** -11));
      }),
    );
    expect(fromHalf(toHalf(1e6))).toBe(Infinity);
    expect(fromHalf(toHalf(NaN))).toBeNaN();
  });
});
