import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { createHash } from "node:crypto";
import { realFiles } from "../../test/files.ts";
import { artifactOf, call } from "../../test/ort.ts";
import { withSequence } from "../../test/models.ts";
import { elementTypeOf, graphBuilder, readModel, writeModel } from "../onnx/index.ts";
import { onnxSource, plainSha256 } from "./index.ts";

const unknownOperator = (): Uint8Array => {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["n", 2]);
  build.node("Mystery", [x], { domain: "nobody", outputs: ["m"] });
  build.output(build.node("Relu", ["m"], { outputs: ["y"] }), "FP32", ["n", 2]);
  return writeModel(build.model({ name: "unknown", domains: { nobody: 1 } }));
};

describe("onnxSource", () => {
  it("reads inputs, outputs and weights of a file whose inner values are not declared", async () => {
    const file = artifactOf(present(realFiles["silero 16k"])());
    expect(await onnxSource().inspect(file, call)).toMatchObject({
      inputs: [
        { name: "input", datatype: "FP32", shape: [-1, -1] },
        { name: "state", datatype: "FP32", shape: [2, -1, 128] },
        { name: "sr", datatype: "INT64", shape: [] },
      ],
      outputs: [
        { name: "output", datatype: "FP32" },
        { name: "stateN", datatype: "FP32" },
      ],
      weightBytes: expect.toSatisfy((bytes: number) => bytes > 1_200_000 && bytes < file.byteLength),
    });
  });

  it("names operators that make the rows of a batch depend on each other", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["n", 2]);
    build.node("DynamicQuantizeLinear", [x], { outputs: ["q", "scale", "zero"] });
    build.output(build.node("Cast", ["q"], { attributes: { to: { int: 1 } } }), "FP32", ["n", 2]);
    const file = artifactOf(writeModel(build.model({ name: "dynamic" })));
    expect(await onnxSource().inspect(file, call)).toMatchObject({ rowSharing: ["DynamicQuantizeLinear"] });
    const plain = artifactOf(present(realFiles["ocr orient"])());
    expect((await onnxSource().inspect(plain, call)).rowSharing).toBeUndefined();
  });

  it("reads a file once for many questions, and again when it was forgotten", async () => {
    const [first, second] = [
      artifactOf(present(realFiles["ocr orient"])()),
      artifactOf(present(realFiles["silero half"])()),
    ];
    let reads = 0;
    const counted = { ...first, bytes: (...given: [typeof call]) => (reads++, first.bytes(...given)) };
    const source = onnxSource({ cacheBytes: 0 });
    await Promise.all([
      source.inspect(counted, call),
      source.cuts(counted, call),
      source.inspect(counted, call),
    ]);
    expect(reads).toBe(1);
    await source.inspect(second, call);
    await source.inspect(counted, call);
    expect(reads).toBe(2);
  });

  it("extracts a segment whose digest is that of its bytes, and gives each reader its own", async () => {
    const source = onnxSource();
    const file = artifactOf(present(realFiles["ocr orient"])());
    const head = await source.extract(file, "start", "c100", call);
    const [one, two] = [await head.bytes(call), await head.bytes(call)];
    expect(head).toMatchObject({ digest: plainSha256(one), byteLength: one.byteLength });
    expect(one).toEqual(two);
    expect(one.buffer).not.toBe(two.buffer);
    expect(readModel(one).graph!.node.length).toBeLessThan(471);
    expect((await source.extract(file, "start", "end", call)).digest).toBe(file.digest);
  });

  it("leaves outputs that cannot travel out of the whole model, too", async () => {
    const whole = await onnxSource().extract(artifactOf(withSequence()), "start", "end", call);
    const { graph } = readModel(await whole.bytes(call));
    expect(graph!.output.map((output) => output.name)).toEqual(["y"]);
  });

  it("refuses unknown cuts and files that are no models, and forgets the failure", async () => {
    const source = onnxSource();
    const file = artifactOf(present(realFiles["silero"])());
    await expect(source.extract(file, "start", "c99", call)).rejects.toMatchObject({ reason: "unknown-cut" });
    let bytes: Uint8Array = new Uint8Array(3);
    const mending = { digest: "sha256:0", byteLength: 3, bytes: () => Promise.resolve(bytes) };
    await expect(source.inspect(mending, call)).rejects.toMatchObject({ reason: "invalid-model" });
    bytes = present(realFiles["silero"])();
    expect((await source.inspect(mending, call)).inputs).toHaveLength(3);
  });

  it("learns types that no rule knows, without renaming cuts", async () => {
    const source = onnxSource();
    const file = artifactOf(unknownOperator());
    expect(await source.cuts(file, call)).toEqual([]);
    await expect(source.extract(file, "start", "c1", call)).rejects.toMatchObject({
      reason: "unknown-cut",
      message: expect.stringContaining('"m" is of unknown type'),
    });
    const seen = { kind: "tensor", element: elementTypeOf("FP32"), shape: [-1, 2] } as const;
    await source.learn(file, new Map([["m", seen]]), call);
    expect(await source.cuts(file, call)).toMatchObject([
      { id: "c1", crossing: [{ name: "m", datatype: "FP32", shape: [-1, 2] }], reveals: "features" },
    ]);
    const tail = readModel(await (await source.extract(file, "c1", "end", call)).bytes(call));
    expect(tail.graph!.input.map((input) => input.name)).toEqual(["m"]);
    expect(tail.opsetImport.map((set) => set.domain)).toEqual(["", "nobody"]);
  });
});

describe("sha256", () => {
  it("agrees with the platform's for every length around a block", () => {
    for (let length = 0; length < 200; length++) {
      const bytes = Uint8Array.from({ length }, (_unused, index) => (index * 7 + length) % 256);
      expect(plainSha256(bytes)).toBe(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
    }
  });
});
