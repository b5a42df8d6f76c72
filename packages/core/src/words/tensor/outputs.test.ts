import { describe, expect, it } from "vitest";
import { untyped } from "@longshore/testkit";
import type { Datatype } from "./datatype.ts";
import { toHalf } from "./half.ts";
import { outputsOf } from "./outputs.ts";
import { type Tensor, tensorsOf } from "./tensor.ts";
import { bytesTensor } from "./texts.ts";
import {
  float32Tensor,
  float32View,
  int32View,
  int64View,
  numbersOf,
  numericTensor,
  numericView,
  typedView,
} from "./views.ts";

describe("outputs of a result", () => {
  it("have data and dims, sharing the memory of the tensor", () => {
    const y = float32Tensor("y", [1, 3], Float32Array.of(1, 2, 3));
    const output = outputsOf(tensorsOf(y)).get("y");
    expect(output?.dims).toEqual([1, 3]);
    expect(output?.data).toEqual(Float32Array.of(1, 2, 3));
    expect(output?.bytes).toBe(y.bytes);
    expect((output!.data as Float32Array).buffer).toBe(y.bytes.buffer);
  });

  it("widen FP16 and BF16, and decode BYTES as texts", () => {
    const outputs = outputsOf(
      tensorsOf(
        numericTensor("half", "FP16", [2], Uint16Array.of(toHalf(1.5), toHalf(-2))),
        numericTensor("brain", "BF16", [1], Uint16Array.of(0x3f80)),
        bytesTensor("text", ["läuft", ""]),
      ),
    );
    expect(outputs.get("half")?.data).toEqual(Float32Array.of(1.5, -2));
    expect(outputs.get("brain")?.data).toEqual(Float32Array.of(1));
    expect(outputs.get("text")?.data).toEqual(["läuft", ""]);
  });

  it("become plain values in JSON: no bytes, booleans as such, and values that JSON lacks as texts", () => {
    const outputs = outputsOf(
      tensorsOf(
        float32Tensor("y", [2], Float32Array.of(0.5, NaN)),
        numericTensor("flags", "BOOL", [2], Uint8Array.of(1, 0)),
        numericTensor("ids", "INT64", [2], BigInt64Array.of(7n, 2n ** 60n)),
        bytesTensor("text", ["a"]),
      ),
    );
    expect(JSON.parse(JSON.stringify({ outputs }))).toEqual({
      outputs: {
        y: { name: "y", datatype: "FP32", dims: [2], data: [0.5, "NaN"] },
        flags: { name: "flags", datatype: "BOOL", dims: [2], data: [true, false] },
        ids: { name: "ids", datatype: "INT64", dims: [2], data: [7, "1152921504606846976"] },
        text: { name: "text", datatype: "BYTES", dims: [1], data: ["a"] },
      },
    });
  });
});

describe("typed views", () => {
  const cases: readonly [Datatype, ArrayBufferView][] = [
    ["BOOL", Uint8Array.of(1)],
    ["UINT8", Uint8Array.of(2)],
    ["INT8", Int8Array.of(-2)],
    ["UINT16", Uint16Array.of(3)],
    ["INT16", Int16Array.of(-3)],
    ["UINT32", Uint32Array.of(4)],
    ["INT32", Int32Array.of(-4)],
    ["UINT64", BigUint64Array.of(5n)],
    ["INT64", BigInt64Array.of(-5n)],
    ["FP16", Uint16Array.of(6)],
    ["BF16", Uint16Array.of(7)],
    ["FP32", Float32Array.of(8)],
    ["FP64", Float64Array.of(9)],
  ];
  it.each(cases)("of %s have its elements", (datatype, values) => {
    expect(typedView(numericTensor("x", datatype, [1], values), datatype)).toEqual(values);
  });

  it("of BYTES are the bytes of each element", () => {
    expect(typedView(bytesTensor("x", ["ab"]), "BYTES")).toEqual([Uint8Array.of(97, 98)]);
  });

  it("refuse a tensor of another datatype", () => {
    const x = float32Tensor("x", [1], Float32Array.of(1));
    expect(() => typedView(x, "INT32")).toThrow("x is FP32; INT32 is needed here");
  });

  it.each([
    (absent: Tensor) => float32View(absent),
    (absent: Tensor) => int32View(absent),
    (absent: Tensor) => int64View(absent),
    (absent: Tensor) => numericView(absent),
    (absent: Tensor) => numbersOf(absent),
    (absent: Tensor) => typedView(absent, "FP32"),
  ])("refuse the output of a misspelt name (%#)", (viewOf) => {
    const outputs = new Map<string, Tensor>();
    expect(() => viewOf(untyped(outputs.get("yy")))).toThrow(
      expect.objectContaining({
        reason: "invalid-input",
        message: expect.stringContaining("there is no tensor here"),
      }),
    );
  });
});
