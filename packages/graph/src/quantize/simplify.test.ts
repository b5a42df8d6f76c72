import type { Tensors } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { hasLight, light, realFiles } from "../../test/files.ts";
import { mobileNetwork, pictures } from "../../test/networks.ts";
import { opened } from "../../test/models.ts";
import { call, ortRuntime } from "../../test/ort.ts";
import { present } from "../../test/present.ts";
import { type Attribute, graphBuilder, readModel, writeModel } from "../onnx/index.ts";
import { guessInputs, withSeededWeights, worstDifference } from "../profile/index.ts";
import { graphAnswers } from "./index.ts";
import { simplified } from "./simplify.ts";

const runtime = ortRuntime();

async function same(
  file: Uint8Array,
  inputs: readonly Tensors[] = [guessInputs(opened(file).split, 1)],
): Promise<readonly string[]> {
  const model = readModel(file);
  const simple = await simplified(model, runtime, call);
  const [expected, actual] = [
    await graphAnswers(model, inputs, runtime, call),
    await graphAnswers(simple, inputs, runtime, call),
  ];
  for (const [at, one] of expected.entries())
    expect(worstDifference(present(actual[at]), one)).toBeLessThanOrEqual(1);
  expect(Number(simple.opsetImport.find(({ domain }) => domain === "")?.version)).toBeGreaterThanOrEqual(13);
  return present(simple.graph).node.map((node) => node.opType);
}

describe("simplified", () => {
  it.each([9, 12, 17])("gives the same answers with fewer operators, from operator set %i", async (opset) => {
    const operators = await same(mobileNetwork(opset), pictures(2));
    expect(
      operators.filter((one) =>
        ["Constant", "Clip", "Div", "BatchNormalization", "ConvTranspose"].includes(one),
      ),
    ).toEqual([]);
    // The shift before the depthwise convolution stays: its border is made of zeros.
    expect(operators.filter((one) => one === "Conv")).toHaveLength(6);
  });

  it("gives the same answers for a real network whose weights lie in nodes", async () => {
    const operators = await same(present(realFiles["ocr orient"])());
    expect(operators).not.toContain("BatchNormalization");
    expect(operators).not.toContain("Clip");
  });

  it.runIf(hasLight)("stores weights that are computed", async () => {
    const operators = await same(withSeededWeights(light("shufflenet"), 3));
    expect(operators.filter((one) => ["ConstantOfShape", "BatchNormalization"].includes(one))).toEqual([]);
  });
});

interface OldNode {
  readonly operator: string;
  readonly opset: number;
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly outputs?: readonly string[];
  readonly floats?: readonly number[];
}

const old: readonly OldNode[] = [
  { operator: "Clip", opset: 7, attributes: { min: { float: -0.5 } } },
  { operator: "Clip", opset: 7, attributes: { max: { float: 0.5 } } },
  {
    operator: "Pad",
    opset: 7,
    attributes: { pads: { ints: [0, 0, 1, 1, 0, 0, 2, 0] }, value: { float: 2 } },
  },
  {
    operator: "Slice",
    opset: 9,
    attributes: { starts: { ints: [1] }, ends: { ints: [3] }, axes: { ints: [1] } },
  },
  { operator: "TopK", opset: 9, attributes: { k: { int: 3 } }, outputs: ["y", "places"] },
  { operator: "Softmax", opset: 11, attributes: { axis: { int: 2 } } },
  { operator: "Softmax", opset: 11, attributes: { axis: { int: 3 } } },
  { operator: "LogSoftmax", opset: 11, attributes: {} },
  { operator: "Unsqueeze", opset: 11, attributes: { axes: { ints: [0] } } },
  {
    operator: "Split",
    opset: 11,
    attributes: { axis: { int: 1 }, split: { ints: [1, 3] } },
    outputs: ["y", "rest"],
  },
  { operator: "ReduceSum", opset: 11, attributes: { axes: { ints: [1] }, keepdims: { int: 0 } } },
  { operator: "Upsample", opset: 7, attributes: { scales: { floats: [1, 1, 2, 3] } } },
  { operator: "Upsample", opset: 9, attributes: { mode: { text: "linear" } }, floats: [1, 1, 2, 2] },
  { operator: "Resize", opset: 10, attributes: {}, floats: [1, 1, 2, 2] },
  { operator: "Dropout", opset: 10, attributes: {} },
  { operator: "Dropout", opset: 9, attributes: {}, outputs: ["y", "mask"] },
];

describe("raising the operator set", () => {
  it.each(
    old.map((one) => [`${one.operator} of ${one.opset} ${JSON.stringify(one.attributes)}`, one] as const),
  )("keeps what %s means", async (_name, { operator, opset, attributes, outputs = ["y"], floats }) => {
    const build = graphBuilder();
    const inputs = [build.input("x", "FP32", [1, 4, 6, 6])];
    if (floats) inputs.push(build.weights("scales", "FP32", [floats.length], Float32Array.from(floats)));
    build.node(operator, inputs, { attributes, outputs });
    build.output("y", "FP32");
    await same(writeModel(build.model({ name: "old", opset })));
  });

  it("refuses a node without a later meaning, naming it", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 4, 6, 6]);
    build.node("Dropout", [x], { outputs: ["y", "mask"], name: "forget" });
    build.output("y", "FP32");
    build.output("mask", "FP32");
    const model = build.model({ name: "old", opset: 9 });
    await expect(simplified(model, runtime, call)).rejects.toMatchObject({
      reason: "unsupported",
      message: expect.stringContaining('"forget"') as string,
    });
    await expect(simplified(build.model({ name: "older", opset: 6 }), runtime, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
  });
});
