import { expect, it } from "vitest";
import { type ModelDescription, endCut, float32Tensor, type Segment, startCut } from "@longshore/core";
import { housekeepingCall, modelTable, needsOthers, parseDescription } from "@longshore/core/internal";
import { manualClock, memoryEngineParts, memoryStore } from "@longshore/testkit";
import { inlineLane } from "../lane/index.ts";
import { pureTransforms, transformSet } from "../transform/index.ts";
import { createEngine, type Engine } from "./engine.ts";
import type { EngineParts } from "./engine-parts.ts";

const call = housekeepingCall("test");
const ports = `{ inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }], outputs: [{ name: y, datatype: FP32, shape: [-1, 2] }] }`;

/** Two models of other endpoints, each followed by a transform of ours. */
const steps = (also = "", elsewhere = ports): string => `inputs: [{ name: a, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps:
    - { id: one, model: m, version: "7", inputs: { x: a }, elsewhere: ${elsewhere} }
    - { id: soft, transform: softmax, inputs: { tensor: one.y } }
    - { id: two, model: n, inputs: { x: soft.tensor }, elsewhere: ${ports} }
    - { id: flat, transform: flatten, inputs: { tensor: two.y } }
  outputs: { b: flat.tensor, c: soft.tensor }
${also}`;

function engineOf(yaml: string, change: Partial<EngineParts> = {}): Engine {
  const clock = manualClock(0);
  const store = memoryStore({ "p/model.yaml": yaml, "p/1/pipeline.txt": "" });
  const transforms = transformSet(...pureTransforms());
  const lane = inlineLane(transforms, clock);
  return createEngine({ ...memoryEngineParts({ clock, models: {}, store }), transforms, lane, ...change });
}

const part = (from: string, to: string): Segment => ({
  model: "p",
  version: "1",
  digest: "",
  variant: "",
  from,
  to,
});

it("describes steps of other endpoints, and where the pipeline has to be cut for them", async () => {
  const knowledge = (await engineOf(steps()).describe("p", undefined, call))!;
  const { description, profile } = knowledge;
  expect(needsOthers(description)).toBe(true);
  // As it travels to others.
  expect(parseDescription(JSON.parse(JSON.stringify(description)))).toEqual(description);
  const [bucket] = profile!.variants[0]!.buckets;
  const cuts = bucket!.cuts.map(({ cut, codings }) => [
    cut.id,
    cut.crossing.map(({ name }) => name),
    codings[0]!.bytes,
  ]);
  expect(cuts).toEqual([
    ["start", ["a"], 1],
    ["one", ["one.y"], 8],
    // A value that the model does not read is not sent to it.
    ["soft", ["soft.tensor"], 8],
    ["two", ["soft.tensor", "two.y"], 16],
    ["end", ["b", "c"], expect.any(Number)],
  ]);
  const [variant] = modelTable(description, profile!).variants;
  expect([...variant!.buckets[0]!.reach]).toEqual([0, 2, 2, 4, 4]);
});

it("runs the steps between them, and nothing of them", async () => {
  const engine = engineOf(steps());
  const y = float32Tensor("one.y", [1, 2], Float32Array.of(0, 0));
  const request = { inputs: new Map([["one.y", y]]), codecs: {} };
  const { outputs } = await engine.infer({ segment: part("one", "soft"), ...request }, call);
  expect([...outputs.keys()]).toEqual(["soft.tensor"]);
  for (const [from, to] of [
    [startCut, endCut],
    ["one", endCut],
    ["soft", "two"],
  ] as const) {
    const asked = engine.infer({ segment: part(from, to), ...request }, call);
    await expect(asked).rejects.toMatchObject({ reason: "no-endpoint" });
  }
  expect(await engine.offers({ model: "p" }, call)).toEqual([]);
});

it("describes a step of other endpoints for each element, in sequences, and with several answers", async () => {
  const each = (yaml: string): Promise<ModelDescription> =>
    engineOf(yaml)
      .describe("p", undefined, call)
      .then((knowledge) => knowledge!.description);
  const several = steps("", ports.replace(" }] }", " }], decoupled: true }"));
  expect(await each(several)).toMatchObject({ decoupled: true });
  expect(await each(steps("sequence: { maxIdleMs: 1000 }"))).toMatchObject({
    sequence: { states: [], maxIdleMs: 1000 },
  });
  const one = steps()
    .replaceAll("shape: [-1, 2]", "shape: [2]")
    .replace("datatype: FP32, shape: [2] }]\npipeline", "datatype: FP32, shape: [-1, 2] }]\npipeline")
    .replace("inputs: { x: a }", "forEach: a, inputs: { x: a }")
    .replace("inputs: { tensor: one.y }", "forEach: one.y, inputs: { tensor: one.y }")
    .replace("inputs: { x: soft.tensor }", "forEach: soft.tensor, inputs: { x: soft.tensor }")
    .replace("inputs: { tensor: two.y }", "forEach: two.y, inputs: { tensor: two.y }");
  const description = await each(one);
  expect(needsOthers(description)).toBe(true);
  expect(description.outputs).toMatchObject([{ ragged: true }, { ragged: true, shape: [-1, 2] }]);
});

it("names the steps of a nested pipeline, those of other endpoints among them, by the step that runs it", async () => {
  const outer = `inputs: [{ name: a, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps: [{ id: in, model: p, inputs: { a: a } }]
  outputs: { b: in.b }
`;
  const store = memoryStore({
    "p/model.yaml": steps(),
    "p/1/pipeline.txt": "",
    "q/model.yaml": outer,
    "q/1/pipeline.txt": "",
  });
  const { description } = (await engineOf("", { store }).describe("q", undefined, call))!;
  const [{ body } = { body: undefined }] = description.variants;
  expect(
    body?.kind === "pipeline" && body.steps.map(({ id, inputs }) => [id, ...Object.values(inputs)]),
  ).toEqual([
    ["in-one", "a"],
    ["in-soft", "in-one.y"],
    ["in-two", "in-soft.tensor"],
    ["in-flat", "in-two.y"],
  ]);
});

it("has another digest where other endpoints say something else of the model", async () => {
  const said = (size: number): Partial<EngineParts> => ({
    elsewhere: async (model, version) => {
      expect([model, version]).toEqual(["m", "7"]);
      const tensor = { datatype: "FP32", shape: [size, 2] } as const;
      return { inputs: [{ name: "x", ...tensor }], outputs: [{ name: "y", ...tensor }] };
    },
  });
  const digest = async (size: number): Promise<string | undefined> =>
    (await engineOf(steps("", "true"), said(size)).describe("p", undefined, call))?.description.digest;
  expect(await digest(1)).toBe(await digest(1));
  expect(await digest(1)).not.toBe(await digest(-1));
  await expect(engineOf(steps("", "true")).describe("p", undefined, call)).rejects.toMatchObject({
    reason: "no-endpoint",
  });
});

it.each([
  [
    "keeps state, as another step of the same model does",
    steps("sequence: { maxIdleMs: 1000 }").replace("model: n", "model: m"),
    "steps one and two of one model of other endpoints",
  ],
  [
    "keeps state, as another step of the same model does in a further variant",
    steps(`sequence: { maxIdleMs: 1000 }
variants: [{ name: full }, { name: lesser, models: { two: m }, agreement: 0.9 }]
`),
    "steps one and two of one model of other endpoints",
  ],
  [
    "keeps state, behind one that gives several answers",
    steps("sequence: { maxIdleMs: 1000 }", ports.replace(" }] }", " }], decoupled: true }")),
    "runs the model of step two at another endpoint once for each answer of step one",
  ],
  [
    "is a transform",
    steps().replace("transform: flatten", `elsewhere: true, transform: flatten`),
    "runs here",
  ],
  ["is given another tensor", steps().replace("x: a", "z: a"), 'an input "z"'],
  [
    "gives several answers before another one does",
    steps("", ports.replace(" }] }", " }], decoupled: true }"))
      .replace(
        "transform: flatten, inputs: { tensor: two.y }",
        "transform: repeat, inputs: { values: two.y }",
      )
      .replace("flat.tensor", "flat.value"),
    "gives several answers, as step one does",
  ],
])("refuses a step of other endpoints that %s", async (_what, yaml, message) => {
  await expect(engineOf(yaml).describe("p", undefined, call)).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining(message) as string,
  });
});

it("refuses a variant whose model elsewhere gives several answers where that of the first gives one", async () => {
  const yaml = steps(
    "variants: [{ name: full }, { name: lesser, models: { one: many }, agreement: 0.9 }]\n",
    "true",
  );
  const tensor = { datatype: "FP32", shape: [-1, 2] } as const;
  const elsewhere: EngineParts["elsewhere"] = async (model) => ({
    inputs: [{ name: "x", ...tensor }],
    outputs: [{ name: "y", ...tensor }],
    ...(model === "many" ? { decoupled: true } : {}),
  });
  await expect(engineOf(yaml, { elsewhere }).describe("p", undefined, call)).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining("variant lesser gives several answers to a request") as string,
  });
});
