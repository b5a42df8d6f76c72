import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { realFiles } from "../../test/files.ts";
import { countNodes, graphBuilder, outsideFiles, readModel, tensorProto, writeModel } from "./index.ts";
import {
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
} from "./onnx_pb.ts";

function tiny(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["n", 2]);
  const w = build.weights("w", "FP32", [2], Float32Array.of(1, 2));
  build.output(build.node("Add", [x, w], { outputs: ["y"] }), "FP32", ["n", 2]);
  return writeModel(build.model({ name: "tiny", metadata: { made: "here" } }));
}

const reasonOf = (bytes: Uint8Array): unknown => {
  try {
    readModel(bytes);
    return "read";
  } catch (error) {
    return error;
  }
};

describe("countNodes", () => {
  const countOf = (nodes: readonly NodeProto[]): number =>
    nodes.reduce(
      (sum, { attribute }) =>
        sum +
        1 +
        attribute
          .flatMap(({ g, graphs }) => [...(g ? [g] : []), ...graphs])
          .reduce((inner, { node }) => inner + countOf(node), 0),
      0,
    );

  it.each(Object.entries(realFiles))("counts the nodes of %s and of the bodies in it", (_name, read) => {
    const bytes = read();
    const nodes = countOf(readModel(bytes).graph?.node ?? []);
    expect(nodes).toBeGreaterThan(1);
    expect(countNodes(bytes, Infinity)).toBe(nodes);
    expect(countNodes(bytes, nodes - 1)).toBe(nodes - 1);
  });

  it("ends with any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(countNodes(bytes, 50)).toBeLessThanOrEqual(50);
      }),
    );
  });
});

describe("readModel", () => {
  it.each(Object.entries(realFiles))("gives %s byte for byte when written again", (_name, read) => {
    const bytes = read();
    expect(Buffer.compare(writeModel(readModel(bytes)), bytes)).toBe(0);
  });

  it("shares weights with the file instead of copying them", () => {
    const bytes = present(realFiles["silero 16k"])();
    const [first] = readModel(bytes).graph!.initializer.filter((tensor) => tensor.rawData.byteLength > 1000);
    expect(present(first).rawData.buffer).toBe(bytes.buffer);
  });

  it.each([
    ["an empty file", new Uint8Array(), /empty/],
    ["text", new TextEncoder().encode("hello, this is no model at all"), /not ONNX|no ONNX graph/],
    ["JSON", new TextEncoder().encode('{"a": 1}'), /JSON/],
    ["a web page", new TextEncoder().encode("<!DOCTYPE html><html></html>"), /web page/],
    ["a Git LFS pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"), /LFS/],
    ["a zip archive", Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 0, 0), /zip/],
    [
      "a model without graph",
      toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n })),
      /no ONNX graph/,
    ],
  ])("refuses %s and names its likely kind", (_what, bytes, message) => {
    expect(reasonOf(bytes)).toMatchObject({
      reason: "invalid-model",
      message: expect.stringMatching(message),
    });
  });

  it("refuses every truncation of a file", () => {
    const bytes = tiny();
    for (let length = 0; length < bytes.byteLength; length++) {
      // Metadata is the last field: a file that lost only that is still complete.
      const outcome = reasonOf(bytes.subarray(0, length));
      if (outcome === "read") expect(length).toBeGreaterThan(bytes.byteLength - 30);
      else expect(outcome).toMatchObject({ reason: "invalid-model" });
    }
  });

  it("never throws anything but invalid-model on damaged bytes", () => {
    const bytes = tiny();
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (changes) => {
          const damaged = bytes.slice();
          for (const [at, value] of changes) damaged[at] = value;
          const outcome = reasonOf(damaged);
          if (outcome !== "read") expect(outcome).toMatchObject({ reason: "invalid-model" });
        },
      ),
      { numRuns: 500 },
    );
  });

  it("refuses bodies nested deeper than the limit", () => {
    let graph = create(GraphProtoSchema, { name: "innermost" });
    for (let depth = 0; depth < 60; depth++) {
      const attribute = create(AttributeProtoSchema, { name: "body", g: graph });
      graph = create(GraphProtoSchema, { node: [create(NodeProtoSchema, { attribute: [attribute] })] });
    }
    const bytes = toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, { graph, opsetImport: [{ version: 17n }] }),
    );
    expect(reasonOf(bytes)).toMatchObject({ reason: "invalid-model" });
  });

  it.each([
    ["negative", [-1n]],
    ["absurd", [2n ** 40n, 2n ** 40n]],
    ["not matching its bytes", [3n]],
  ])("refuses a weight whose size is %s", (_what, dims) => {
    const model = readModel(tiny());
    present(model.graph!.initializer[0]).dims = dims;
    expect(reasonOf(writeModel(model))).toMatchObject({
      reason: "invalid-model",
      message: expect.stringContaining('"w"'),
    });
  });

  it("refuses weights outside the file unless that file is handed in", () => {
    const model = readModel(tiny());
    const weight = present(model.graph!.initializer[0]);
    weight.rawData = new Uint8Array();
    weight.dataLocation = TensorProto_DataLocation.EXTERNAL;
    weight.externalData = Object.entries({ location: "weights.bin", offset: "4", length: "8" }).map(
      ([key, value]) => create(StringStringEntryProtoSchema, { key, value }),
    );
    const bytes = writeModel(model);
    expect(reasonOf(bytes)).toMatchObject({
      reason: "invalid-model",
      message: expect.stringContaining("weights.bin"),
    });
    expect(outsideFiles(bytes)).toEqual(["weights.bin"]);
    expect(outsideFiles(tiny())).toEqual([]);
    const file = new Uint8Array(Float32Array.of(9, 1, 2).buffer);
    const whole = readModel(bytes, { externalData: new Map([["weights.bin", file]]) });
    expect(writeModel(whole)).toEqual(tiny());
    const short = new Map([["weights.bin", file.subarray(0, 8)]]);
    expect(() => readModel(bytes, { externalData: short })).toThrow(
      /8 bytes at 4 of "weights.bin", which has 8/,
    );
  });
});

describe("tensorProto", () => {
  it("refuses an absurd shape", () => {
    expect(() => tensorProto("w", "FP32", [2 ** 30, 2 ** 30], new Float32Array(1))).toThrow(
      expect.objectContaining({ reason: "invalid-input" }),
    );
  });
});
