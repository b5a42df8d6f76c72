import { bytesOf, tensorOf } from "@longshore/core";
import { expect, it } from "vitest";
import { tensorJson, tensorLine } from "./print-result.ts";

it("prints numbers of 16 bits as what they stand for", () => {
  const half = tensorOf("y", "FP16", [3], bytesOf(Uint16Array.of(0x3c00, 0xb800, 0x7c00)));
  expect(tensorLine("y", half)).toBe("y: FP16 [3]  1 -0.5 Infinity");
  expect(tensorJson(half)).toEqual({ datatype: "FP16", shape: [3], data: [1, -0.5, "Infinity"] });
  const wide = tensorOf("y", "BF16", [2], bytesOf(Uint16Array.of(0x3f80, 0xc000)));
  expect(tensorLine("y", wide)).toBe("y: BF16 [2]  1 -2");
});
