import { expect, it } from "vitest";
import { type PackageHeads, readHeads } from "./heads.ts";

const digest = `sha256:${"0".repeat(64)}`;
const spec = { name: "x", datatype: "FP32", shape: [-1, 4] } as const;
const heads: PackageHeads = {
  schemaVersion: 1,
  graphs: [
    {
      path: "1/model.onnx",
      digest,
      bytes: 100,
      beside: [],
      version: "1",
      variant: "default",
      inputs: [spec],
      outputs: [spec],
      weightBytes: 90,
      heads: [{ cut: { id: "c1", crossing: [spec], reveals: "features" }, digest, bytes: 10 }],
    },
  ],
};
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const [graph] = heads.graphs;

it("the list of heads is read as it was written", () => {
  expect(readHeads(bytes(heads))).toEqual(heads);
});

it.each([
  ["text that is no JSON", new TextEncoder().encode("<html>")],
  ["another schema", bytes({ ...heads, schemaVersion: 2 })],
  ["a field that it does not know", bytes({ ...heads, run: "me" })],
  ["a digest that is none", bytes({ ...heads, graphs: [{ ...graph, digest: "sha256:1" }] })],
  ["fewer bytes than none", bytes({ ...heads, graphs: [{ ...graph, bytes: -1 }] })],
])("the list of heads is refused with %s", (_what, content) => {
  expect(() => readHeads(content)).toThrow(expect.objectContaining({ reason: "bad-reply" }) as Error);
});
