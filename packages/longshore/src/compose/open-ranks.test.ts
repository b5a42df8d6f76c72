import { float32Tensor, numericTensor, type Tensor } from "@longshore/core";
import { housekeepingCall, readHeads } from "@longshore/core/internal";
import { graphBuilder, onnxSource, writeModel } from "@longshore/graph";
import { sha256 } from "@longshore/nodejs";
import { memoryStore } from "@longshore/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { headsOf } from "../package/heads.ts";
import { partialSource } from "../package/partial-source.ts";
import { openLocal } from "./open-offloader.ts";
import { serve } from "./serve.ts";

const call = housekeepingCall("test");
const open: { close(graceMs?: number): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});

/** Gives `x` the shape that another input states, so that its rank is unknown before. */
function shaped(): Uint8Array {
  const build = graphBuilder();
  const inner = build.node("Reshape", [build.input("x", "FP32"), build.input("shape", "INT64", ["rank"])]);
  build.output(build.node("Neg", [inner], { outputs: ["y"] }), "FP32");
  return writeModel(build.model({ name: "shaped" }));
}

const store = (inputs: string) =>
  memoryStore({
    "shaped/1/model.onnx": shaped(),
    "shaped/model.yaml": `dataClass: public\n${inputs}`,
  });
const declared = "inputs: [{ name: x, datatype: FP32, shape: [-1, -1] }]";
const shape = (...sizes: readonly number[]): Tensor =>
  numericTensor("shape", "INT64", [sizes.length], BigInt64Array.from(sizes, BigInt));
const x = float32Tensor("x", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));

describe("a model whose file leaves ranks open", () => {
  it("follows the declarations of its configuration", async () => {
    const endpoint = openLocal({ store: store(declared) });
    open.push(endpoint);
    const { outputs } = await endpoint.offloader.infer("shaped", { x, shape: shape(3, 2) });
    expect(outputs.get("y")?.spec.shape).toEqual([3, 2]);
  });

  it("answers elsewhere, too, for any shape", async () => {
    const running = await serve({ store: store(declared), port: 0 });
    open.push(running);
    const endpoint = openLocal({ servers: [running.address] });
    open.push(endpoint);
    for (const sizes of [[6], [1, 2, 3]]) {
      const limits = { dataClass: "public" } as const;
      const { outputs } = await endpoint.offloader.infer("shaped", { x, shape: shape(...sizes) }, limits);
      expect(outputs.get("y")?.spec.shape).toEqual(sizes);
    }
  });

  it("says so in the list of a package, and where its package is fetched as needed", async () => {
    const files = store(declared);
    const list = await headsOf(files, "shaped");
    const { graphs } = readHeads(new TextEncoder().encode(JSON.stringify(list)));
    const content = shaped();
    const digest = await sha256(content);
    expect(graphs).toMatchObject([{ digest, openRanks: ["x", "y"] }]);
    const file = { digest, byteLength: content.byteLength, bytes: () => Promise.resolve(content) };
    const whole = onnxSource({ sha256 });
    const cache = { seen: () => false, read: () => Promise.resolve(undefined) };
    const stored = { asNeeded: { graphs }, manifest: { files: [] } };
    for (const packages of [new Map(), new Map([["shaped", stored]])]) {
      const source = partialSource(whole, { packages }, cache);
      expect(await source.inspect(file, call)).toEqual(await whole.inspect(file, call));
    }
  });
});
