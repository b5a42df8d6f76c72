import { describe, expect, it } from "vitest";
import { parseModelYaml } from "./model-yaml.ts";
import { usedModels, withVariant } from "./edit-yaml.ts";

const int8 = { name: "int8", graph: "model.int8.onnx", agreement: 0.99689 };

describe("withVariant", () => {
  it("adds a variant after the present ones and keeps comments", () => {
    const text = "# Reads.\nname: a\nvariants:\n  - { name: small } # for tills\n";
    const edited = withVariant("a", text, int8);
    expect(edited).toContain("# Reads.");
    expect(edited).toContain("# for tills");
    expect(parseModelYaml("a", edited).variants).toMatchObject([
      { name: "small" },
      { name: "int8", graph: "model.int8.onnx", agreementRatio: 0.9968 },
    ]);
  });

  it("writes the default variant first where none was written, or where there was no file at all", () => {
    for (const text of ["name: a\n", undefined]) {
      const names = parseModelYaml("a", withVariant("a", text, int8)).variants.map(({ name }) => name);
      expect(names).toEqual(["default", "int8"]);
    }
  });

  it("writes into a variant of the same name, and keeps its other fields", () => {
    const once = withVariant("a", "name: a\n", int8).replace("name: int8,", "name: int8, tiers: [cloud],");
    const twice = withVariant("a", once, { ...int8, agreement: 0.5 });
    expect(parseModelYaml("a", twice).variants).toMatchObject([
      { name: "default" },
      { name: "int8", tiers: ["cloud"], agreementRatio: 0.5 },
    ]);
  });

  it("does not write over the first variant, whether it is written or not", () => {
    for (const [text, name] of [
      ["name: a\n", "default"],
      [undefined, "default"],
      ["variants: [{ name: small }]\n", "small"],
    ] as const) {
      expect(() => withVariant("a", text, { ...int8, name })).toThrow("give the new one another name");
    }
  });

  it("refuses a text that is no configuration", () => {
    expect(() => withVariant("a", "nonsense: 1\n", int8)).toThrow("nonsense");
  });
});

it("usedModels names the models of steps and of variants", () => {
  const text = `inputs: [{ name: x, datatype: FP32, shape: [1] }]
pipeline:
  steps: [{ id: one, model: detect, inputs: { x: x } }]
  outputs: { y: one.y }
variants: [{ name: plain }, { name: large, models: { one: detect-large } }]
`;
  expect(usedModels("a", text)).toEqual(["detect", "detect-large"]);
  expect(usedModels("a", "name: a\n")).toEqual([]);
});
