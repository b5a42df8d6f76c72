import { bytesTensor, float32Tensor, float32View, tensorsOf, textElements } from "@longshore/core";
import { joinElements } from "@longshore/core/internal";
import { expect, test } from "vitest";
import { flatten } from "./flatten.ts";

const run = async (tensor: ReturnType<typeof bytesTensor>) => {
  const out = await flatten.run(
    tensorsOf({ ...tensor, spec: { ...tensor.spec, name: "tensor" } }),
    flatten.parse({}),
  );
  return out.get("tensor")!;
};

test("texts that were made one by one become a plain list", async () => {
  const ragged = joinElements("t", [bytesTensor("t", ["one"]), bytesTensor("t", ["two"])], {
    datatype: "BYTES",
    shape: [1],
  });
  const flat = await run(ragged);
  expect(flat.spec).toEqual({ name: "tensor", datatype: "BYTES", shape: [2] });
  expect(textElements(flat)).toEqual(["one", "two"]);
});

test("rows of different lengths are laid one after the other", async () => {
  const rows = [[1, 2, 3], [4], []].map((row) => float32Tensor("t", [row.length], Float32Array.from(row)));
  const flat = await run(joinElements("t", rows, { datatype: "FP32", shape: [-1] }));
  expect(flat.spec.shape).toEqual([4]);
  expect([...float32View(flat)]).toEqual([1, 2, 3, 4]);
});

test("a list of nothing stays one", async () => {
  const flat = await run(joinElements("t", [], { datatype: "BYTES", shape: [1] }));
  expect(flat.spec.shape).toEqual([0]);
});

test("the size is known beforehand where all sizes are", () => {
  const specs = flatten.specs(new Map([["tensor", { name: "tensor", datatype: "FP32", shape: [2, 3] }]]), {});
  expect(specs[0]?.shape).toEqual([6]);
});
