import { bytesTensor, float32Tensor, numericTensor, tensorsOf } from "@longshore/core";
import { expect, it } from "vitest";
import { sideRanges } from "./side-ranges.ts";

it("ranges are of shapes and counts over all samples, not of data", () => {
  const crossing = (rows: bigint, cols: bigint) =>
    tensorsOf(
      numericTensor("shape", "INT64", [2], BigInt64Array.of(rows, cols)),
      numericTensor("count", "INT32", [], Int32Array.of(-Number(rows))),
      numericTensor("words", "INT64", [1, 2], BigInt64Array.of(7n, 30_000n)),
      numericTensor("long", "INT64", [33], new BigInt64Array(33)),
      float32Tensor("h", [2], Float32Array.of(1, 2)),
      bytesTensor("text", ["a"], [1]),
    );
  expect(sideRanges([crossing(2n, 640n), crossing(5n, 320n)])).toEqual({
    shape: { least: 2, most: 640 },
    count: { least: -5, most: -2 },
  });
  expect(sideRanges([tensorsOf(float32Tensor("h", [1], Float32Array.of(1)))])).toBeUndefined();
});
