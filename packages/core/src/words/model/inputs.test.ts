import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import type { PortSpec } from "./model.ts";
import { bytesTensor, float32Tensor, textElements } from "../tensor/index.ts";
import { type Input, takeInputs, takeTensors } from "./inputs.ts";

const port = (change: Partial<PortSpec> = {}): PortSpec => ({
  name: "x",
  datatype: "FP32",
  shape: [-1, 3],
  ...change,
});
const take = (spec: PortSpec, input: Input) => takeInputs("m", [spec], { x: input }).tensors.get("x");

describe("takeInputs", () => {
  it("works out the free size of a shape from the numbers", () => {
    expect(take(port(), new Float32Array(12))?.spec.shape).toEqual([4, 3]);
    expect(take(port({ shape: [1, 576] }), new Float32Array(576))?.spec.shape).toEqual([1, 576]);
    expect(take(port({ shape: [] }), new Float32Array(1))?.spec.shape).toEqual([]);
    expect(take(port({ shape: [-1, 1, -1] }), new Float32Array(8))?.spec.shape).toEqual([1, 1, 8]);
    expect(take(port({ datatype: "UINT8", shape: [-1, 2] }), new Uint8Array(6))?.spec.shape).toEqual([3, 2]);
  });

  it("takes the input itself for a model that needs one, under any name", () => {
    const x = float32Tensor("other", [1, 3], new Float32Array(3));
    expect(takeInputs("m", [port()], x).tensors.get("x")?.bytes).toBe(x.bytes);
    expect(takeInputs("m", [port()], new Float32Array(3)).tensors.get("x")?.spec.shape).toEqual([1, 3]);
    const ports = [port({ name: "mode", optional: true }), port()];
    expect([...takeInputs("m", ports, x).tensors.keys()]).toEqual(["x"]);
    expect([...takeTensors("m", x).tensors.keys()]).toEqual(["other"]);
    expect(() => takeInputs("m", [port(), port({ name: "y" })], x)).toThrow(
      "m takes x FP32 [-1, 3]; y FP32 [-1, 3]: give the inputs by their names, as an object",
    );
  });

  it("makes bytes and texts the elements of BYTES inputs, and counts the features that set their cost", () => {
    const image = port({ datatype: "BYTES", shape: [1], media: "image" });
    const taken = takeInputs("m", [image], { x: new Uint8Array(100) });
    expect(taken.features).toEqual({ bytes: 104 });
    const text = takeInputs("m", [port({ datatype: "BYTES", shape: [1], media: "text" })], { x: "grüezi" });
    expect(text.features).toEqual({ bytes: 11, size: 7 });
    const several = take(port({ datatype: "BYTES", shape: [-1] }), ["a", "bc"]);
    expect(several && textElements(several)).toEqual(["a", "bc"]);
    expect(take(port({ datatype: "BYTES", shape: [1] }), bytesTensor("other", ["a"]))?.spec.name).toBe("x");
  });

  it.each([
    ["numbers that do not fill the shape", port(), new Float32Array(4)],
    ["bytes that are no whole number of elements", port(), new Uint8Array(5)],
    ["numbers for an integer input", port({ datatype: "INT64", shape: [-1] }), new Float32Array(3)],
    ["text for numbers", port(), "hello"],
    ["an object that is no tensor", port(), untyped({ datatype: "FP32", shape: [1, 3], data: [1, 2, 3] })],
    ["a plain list of numbers", port(), untyped([1, 2, 3])],
    ["nothing at all", port(), untyped(null)],
    ["two images where one is taken", port({ datatype: "BYTES", shape: [1] }), ["a", "b"]],
    ["a tensor of another shape", port(), float32Tensor("x", [2, 2], new Float32Array(4))],
    [
      "a tensor of another type",
      port({ datatype: "INT32" }),
      float32Tensor("x", [1, 3], new Float32Array(3)),
    ],
    [
      "a tensor whose bytes do not match its shape",
      port(),
      { spec: { name: "x", datatype: "FP32", shape: [2, 3] }, bytes: new Uint8Array(4) },
    ],
  ] as const)("refuses %s, saying what the model takes", (_, spec, input) => {
    expect(() => take(spec, input)).toThrow(
      expect.objectContaining({
        reason: "invalid-input",
        message: expect.stringContaining(`x ${spec.datatype} [${spec.shape.join(", ")}]`) as string,
      }) as Error,
    );
  });

  it.each([null, undefined, 7, "x", [new Float32Array(3)]])("refuses inputs without names: %s", (inputs) => {
    expect(() => takeInputs("m", [port()], untyped(inputs))).toThrow(
      /inputs of m are given by|m takes x|m: x FP32/,
    );
    expect(() => takeTensors("m", untyped(inputs))).toThrow(/inputs of m are given by their names/);
    expect(() => takeTensors("m", { x: untyped(inputs) })).toThrow(/give x as a tensor/);
  });

  it("lists the names that it takes when others came, or too many", () => {
    for (const inputs of [{}, { y: "a" }, { x: new Float32Array(3), y: "a" }]) {
      expect(() => takeInputs("m", [port()], untyped(inputs))).toThrow(
        expect.objectContaining({
          reason: "invalid-input",
          message: expect.stringContaining("m takes x FP32 [-1, 3]; given:") as string,
        }) as Error,
      );
    }
  });
});
