import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tensors, TensorSpec } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  memoryFile,
  type MemoryModels,
  manualClock,
  memorySource,
  memoryStore,
  oneStage,
  sha256Of,
} from "@longshore/testkit";
import { pureTransforms, transformSet } from "../transform/index.ts";
import type { RepositoryParts } from "./repository-parts.ts";
import { type ModelRepository, modelRepository } from "./repository.ts";

const call = housekeepingCall("test");
const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const nothing = (): Tensors => new Map();

const models: MemoryModels = {
  detect: oneStage([fp32("x", -1, 4)], [fp32("scores", -1, 3)], 1, nothing),
  image: oneStage([fp32("x", -1, 3, -1, -1)], [fp32("map", -1, 1, -1, -1)], 1, nothing),
  vad: oneStage(
    [fp32("input", -1, 8), fp32("state", 2, -1, 4)],
    [fp32("output", -1, 1), fp32("stateN", 2, -1, 4)],
    1,
    nothing,
  ),
  plain: oneStage([fp32("input", -1, 8)], [fp32("output", -1, 1)], 1, nothing),
  told: oneStage([fp32("input", -1, 8), fp32("begins", -1, 1)], [fp32("output", -1, 1)], 1, nothing),
  fixed: oneStage([fp32("x", 1, 4)], [fp32("y", 1, 4)], 1, nothing),
};

function repository(
  files: Readonly<Record<string, string | Uint8Array>>,
  clock = manualClock(),
  parts: Pick<RepositoryParts, "accelerators" | "firstProvider" | "classes"> = {},
): ModelRepository {
  return modelRepository({
    store: memoryStore(files),
    source: memorySource(models),
    transforms: transformSet(...pureTransforms()),
    sha256: sha256Of,
    clock,
    ...parts,
  });
}

const graph = (name: string, config?: string, file = "model.yaml"): Record<string, string | Uint8Array> => ({
  [`${name}/1/model.onnx`]: memoryFile(name),
  ...(config === undefined ? {} : { [`${name}/${file}`]: config }),
});

const classify = `
inputs: [{ name: values, datatype: FP32, shape: [-1, 4] }]
pipeline:
  steps:
    - { id: top, transform: top-k, with: { k: 2, labelsFile: labels.txt }, inputs: { scores: soft.tensor } }
    - { id: soft, transform: softmax, inputs: { tensor: net.scores } }
    - { id: net, model: detect, inputs: { x: values } }
  outputs: { best: top.labels }
`;

describe("reading a repository", () => {
  it("lets others have their turn while it reads many labels", async () => {
    const labels = Array.from({ length: 20_000 }, (_, at) => `label ${at}`);
    const clock = manualClock();
    const files = {
      ...graph("detect"),
      "classify/model.yaml": classify,
      "classify/labels.txt": labels.join("\n"),
    };
    const { programs } = await clock.finish(repository(files, clock).load("classify", undefined, call));
    expect(clock.timersSet()).toBe(Math.floor(files["classify/labels.txt"].length / 2 ** 16));
    const last = programs.get("default")?.steps.at(-1);
    expect(last).toMatchObject({ chain: { parameters: { labels } } });
  });

  it("takes a bare folder and completes everything from the model file", async () => {
    const { description, programs } = await repository(graph("detect")).load("detect", undefined, call);
    expect(description).toMatchObject({
      name: "detect",
      version: "1",
      inputs: [fp32("x", -1, 4)],
      outputs: [fp32("scores", -1, 3)],
      batching: { maxBatchSize: 0 },
      instances: [{ count: 1 }],
      trusted: true,
      labels: {},
    });
    expect(description.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(programs.get("default")).toMatchObject({
      bare: true,
      steps: [{ kind: "model", inputs: { x: "x" } }],
    });
  });

  it("takes the highest version by number and lists the present ones when another is requested", async () => {
    const files = {
      ...graph("detect"),
      "detect/2/model.onnx": memoryFile("detect"),
      "detect/10/model.onnx": memoryFile("detect"),
    };
    const one = repository(files);
    expect(await one.versions("detect")).toEqual(["1", "2", "10"]);
    expect((await one.load("detect", undefined, call)).description.version).toBe("10");
    await expect(one.load("detect", "3", call)).rejects.toMatchObject({
      reason: "unknown-version",
      message: expect.stringContaining("1, 2, 10") as string,
    });
    await expect(one.load("other", undefined, call)).rejects.toMatchObject({
      reason: "unknown-model",
      message: expect.stringContaining("detect") as string,
    });
  });

  it("refuses names that are paths", async () => {
    for (const name of ["../secret", "a/b", ".hidden", "", "a\\b", "x".repeat(200)]) {
      await expect(repository(graph("detect")).load(name, undefined, call)).rejects.toMatchObject({
        reason: "unknown-model",
      });
    }
  });

  it("sorts steps, resolves file parameters to their content and derives specs of values and outputs", async () => {
    const files = {
      ...graph("detect"),
      "classify/model.yaml": classify,
      "classify/labels.txt": "cat\ndog\nowl\n",
    };
    const { description, programs, uses } = await repository(files).load("classify", undefined, call);
    const program = programs.get("default");
    expect(program?.steps.map(({ id }) => id)).toEqual(["net", "soft", "top"]);
    expect(program?.steps[2]).toMatchObject({
      chain: { parameters: { k: 2, labels: ["cat", "dog", "owl"] } },
    });
    expect(description.outputs).toEqual([{ name: "best", datatype: "BYTES", shape: [-1, 2] }]);
    expect(program?.values.get("values")?.reveals).toBe("input");
    expect(program?.values.get("soft.tensor")?.reveals).toBe("features");
    expect(uses).toEqual(["detect"]);
    expect(JSON.stringify(description.variants)).toContain("labelsFile");
  });

  it("gives a pipeline a digest that changes with the models and files that it uses, and not with its instances", async () => {
    const digestWith = async (files: Readonly<Record<string, string | Uint8Array>>): Promise<string> =>
      (await repository(files).load("classify", undefined, call)).description.digest;
    const files = {
      ...graph("detect"),
      "classify/model.yaml": classify,
      "classify/labels.txt": "cat\ndog\nowl",
    };
    const base = await digestWith(files);
    expect(await digestWith(files)).toBe(base);
    expect(
      await digestWith({ ...files, "classify/model.yaml": `${classify}instances: [{ count: 4 }]\n` }),
    ).toBe(base);
    expect(await digestWith({ ...files, "classify/labels.txt": "cat\ndog\nemu" })).not.toBe(base);
    expect(await digestWith({ ...files, "detect/1/more.bin": "x" })).not.toBe(base);
    expect(await digestWith({ ...files, "classify/model.yaml": classify.replace("k: 2", "k: 1") })).not.toBe(
      base,
    );
  });

  it("inlines nested pipelines, and runs steps that touch elements for each of them", async () => {
    const inner = classify;
    const outer = `
inputs: [{ name: rows, datatype: FP32, shape: [-1, -1, 4] }]
pipeline:
  steps:
    - { id: each, model: classify, forEach: rows, inputs: { values: rows } }
    - { id: join, transform: join-text, inputs: { texts: each.best } }
  outputs: { text: join.text }
`;
    const files = {
      ...graph("detect"),
      "classify/model.yaml": inner,
      "classify/labels.txt": "a\nb\nc",
      "outer/model.yaml": outer,
    };
    const { programs, uses } = await repository(files).load("outer", undefined, call);
    const program = programs.get("default");
    expect(program?.steps.map(({ id, forEach }) => [id, forEach])).toEqual([
      ["each-net", "rows"],
      ["each-soft", "each-net.scores"],
      ["each-top", "each-soft.tensor"],
      ["join", undefined],
    ]);
    expect(program?.steps[3]?.inputs).toEqual({ texts: "each-top.labels" });
    expect(uses).toEqual(["classify", "detect"]);
  });

  it("expands variants: parameters, models, files, tiers, accuracy", async () => {
    const yaml = `${classify}variants:
  - { name: two }
  - { name: one, tiers: [cloud], with: { top: { k: 1 } }, agreement: 0.9, accuracy: 0.8 }
`;
    const files = { ...graph("detect"), "classify/model.yaml": yaml, "classify/labels.txt": "a\nb\nc" };
    const { description, programs } = await repository(files).load("classify", undefined, call);
    expect(description.variants).toMatchObject([
      { name: "two", agreementRatio: 1 },
      { name: "one", agreementRatio: 0.9, accuracyRatio: 0.8, tiers: ["cloud"] },
    ]);
    expect(programs.get("one")?.values.get("top.labels")?.spec.shape).toEqual([-1, 1]);
    const int8 = await repository({
      ...graph(
        "detect",
        "variants: [{ name: fp32 }, { name: int8, graph: model.int8.onnx, agreement: 0.997 }]",
      ),
      "detect/1/model.int8.onnx": memoryFile("detect", 0, 1),
    }).load("detect", undefined, call);
    expect(int8.description.variants.map(({ body }) => body)).toEqual([
      { kind: "graph", file: "model.onnx" },
      { kind: "graph", file: "model.int8.onnx" },
    ]);
  });

  it("hides state from inputs and outputs and describes it", async () => {
    const yaml = `sequence: { maxIdleMs: 5000, states: [{ input: state, output: stateN, datatype: FP32, shape: [2, 1, 4] }] }`;
    const { description } = await repository(graph("vad", yaml)).load("vad", undefined, call);
    expect(description.inputs.map(({ name }) => name)).toEqual(["input"]);
    expect(description.outputs.map(({ name }) => name)).toEqual(["output"]);
    expect(description.sequence).toEqual({
      maxIdleMs: 5000,
      states: [{ input: "state", output: "stateN", datatype: "FP32", shape: [2, 1, 4] }],
    });
    const pipe = `
inputs: [{ name: samples, datatype: FP32, shape: [1, 8] }]
pipeline: { steps: [{ id: vad, model: vad, inputs: { input: samples } }], outputs: { speech: vad.output } }
`;
    const outer = await repository({ ...graph("vad", yaml), "listen/model.yaml": pipe }).load(
      "listen",
      undefined,
      call,
    );
    expect(outer.description.sequence).toMatchObject({
      maxIdleMs: 5000,
      states: [{ input: "vad:state", output: "vad:stateN" }],
    });
  });

  it("lets a pipeline's sequences idle as long as its models allow, also those in pipelines and those without state", async () => {
    const files = {
      ...graph(
        "vad",
        "sequence: { maxIdleMs: 5000, states: [{ input: state, output: stateN, datatype: FP32, shape: [2, 1, 4] }] }",
      ),
      ...graph(
        "told",
        "sequence: { maxIdleMs: 700, controls: [{ input: begins, kind: start, datatype: FP32 }] }",
      ),
      ...graph("plain"),
    };
    const pipe = (model: string, input: string, output: string): string => `
inputs: [{ name: ${input}, datatype: FP32, shape: [1, 8] }]
pipeline: { steps: [{ id: hear, model: ${model}, inputs: { ${input}: ${input} } }], outputs: { ${output}: hear.output } }
`;
    const idle = async (model: string): Promise<number | undefined> => {
      const all = {
        ...files,
        "p/model.yaml": pipe(model, "input", "output"),
        "outer/model.yaml": pipe("p", "input", "output"),
      };
      const of = async (name: string): Promise<number | undefined> =>
        (await repository(all).load(name, undefined, call)).description.sequence?.maxIdleMs;
      expect(await of("outer")).toBe(await of("p"));
      return of("p");
    };
    expect([await idle("vad"), await idle("told"), await idle("plain")]).toEqual([5000, 700, undefined]);
  });

  it("refuses a variant that keeps state where the first does not, and the other way round", async () => {
    const yaml = `sequence: { states: [{ input: state, output: stateN, datatype: FP32, shape: [2, 1, 4] }] }`;
    const pipe = (first: string, second: string): string => `
inputs: [{ name: samples, datatype: FP32, shape: [1, 8] }]
pipeline: { steps: [{ id: hear, model: ${first}, inputs: { input: samples } }], outputs: { speech: hear.output } }
variants: [{ name: full }, { name: lesser, models: { hear: ${second} }, agreement: 0.9 }]
`;
    const both = (first: string, second: string): Promise<unknown> =>
      repository({
        ...graph("vad", yaml),
        ...graph("plain"),
        "p/model.yaml": pipe(first, second),
        "p/1/p.txt": "",
      }).load("p", undefined, call);
    await expect(both("vad", "plain")).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("variant lesser keeps no state between requests") as string,
    });
    await expect(both("plain", "vad")).rejects.toMatchObject({
      message: expect.stringContaining("variant lesser keeps state between requests") as string,
    });
    await both("vad", "vad");
  });

  it("uses a profile only when it was measured on this content", async () => {
    const first = await repository(graph("detect")).load("detect", undefined, call);
    const profile = {
      schemaVersion: 1,
      model: "detect",
      version: "1",
      digest: first.description.digest,
      measuredOn: { runtime: "memory", threads: 1, description: "test" },
      variants: [],
    };
    const load = async (text: string): ReturnType<ModelRepository["load"]> =>
      repository({ ...graph("detect"), "detect/1/profile.json": text }).load("detect", undefined, call);
    expect((await load(JSON.stringify(profile))).profile?.digest).toBe(first.description.digest);
    expect((await load(JSON.stringify({ ...profile, digest: "sha256:0" }))).profileIgnored).toContain(
      "another content",
    );
    expect((await load("{")).profileIgnored).toContain("not readable");
  });

  it("uses the profile of the accelerator that a model runs on, else that of the processor", async () => {
    const { description } = await repository(graph("detect")).load("detect", undefined, call);
    const profile = (runtime: string, digest = description.digest): string =>
      JSON.stringify({
        schemaVersion: 1,
        model: "detect",
        version: "1",
        digest,
        measuredOn: { runtime, threads: 1, description: "test" },
        variants: [],
      });
    const measured = {
      "detect/1/profile.json": profile("cpu"),
      "detect/1/profile.cuda.json": profile("cuda"),
    };
    const measuredOn = async (
      providers: readonly string[],
      config?: string,
      files: Readonly<Record<string, string>> = measured,
    ): Promise<string | undefined> => {
      const parts = {
        accelerators: providers.filter((one) => one !== "cpu"),
        firstProvider: (listed = providers) => listed[0],
      };
      const loaded = await repository({ ...graph("detect", config), ...files }, manualClock(), parts).load(
        "detect",
        undefined,
        call,
      );
      expect(loaded.description.digest).toBe(description.digest);
      return loaded.profile?.measuredOn.runtime ?? loaded.profileIgnored;
    };
    expect(await measuredOn(["cuda", "cpu"])).toBe("cuda");
    expect(await measuredOn(["cpu"])).toBe("cpu");
    expect(await measuredOn(["webgpu"])).toBe("cpu");
    expect(await measuredOn(["cuda"], "providers: [cpu]")).toBe("cpu");
    expect(await measuredOn(["cpu", "cuda"], "instances: [{ count: 1, kind: gpu }]")).toBe("cuda");
    expect(await measuredOn(["cuda"], "instances: [{ count: 1, kind: cpu }]")).toBe("cpu");
    expect(
      await measuredOn(["cuda"], undefined, { "detect/1/profile.cuda.json": profile("cuda", "sha256:0") }),
    ).toContain("profile.cuda.json was measured on another content");
  });

  it("refuses a step that declassifies to a class which no policy has, and knows it before the load", async () => {
    const with_ = (dataClass: string, classes?: () => readonly string[]): ModelRepository =>
      repository(
        {
          ...graph("detect"),
          "classify/labels.txt": "a\nb\nc",
          "classify/model.yaml": classify.replace("{ id: soft,", `{ id: soft, declassifiesTo: ${dataClass},`),
        },
        manualClock(),
        classes ? { classes } : {},
      );
    const known = (): readonly string[] => ["public", "crops"];
    const misspelt = with_("pulic", known);
    const why =
      "model classify, model.yaml: pipeline step soft declassifiesTo names the data class 'pulic', which no policy here has; known: public, crops";
    expect(await misspelt.unreadable("classify", "1")).toContain(why);
    await expect(misspelt.load("classify", undefined, call)).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining(why) as string,
    });
    expect(await with_("crops", known).unreadable("classify", "1")).toBeUndefined();
    await with_("crops", known).load("classify", undefined, call);
    await with_("pulic").load("classify", undefined, call);
  });

  it("reads a model again after it was forgotten, and those that use it", async () => {
    const store = memoryStore({
      ...graph("detect"),
      "classify/model.yaml": classify,
      "classify/labels.txt": "a\nb\nc",
    });
    const one = modelRepository({
      store,
      source: memorySource(models),
      transforms: transformSet(...pureTransforms()),
      sha256: sha256Of,
      clock: manualClock(),
    });
    const before = await one.load("classify", undefined, call);
    store.put("detect/2/model.onnx", memoryFile("detect"));
    expect((await one.load("classify", undefined, call)).description.digest).toBe(before.description.digest);
    one.forget("detect");
    expect((await one.load("classify", undefined, call)).description.digest).not.toBe(
      before.description.digest,
    );
  });
});

describe("operators' mistakes", () => {
  const wrong: readonly [string, string, string][] = [
    ["an unknown key", "batchin: { maxBatchSize: 2 }", "batchin is an unknown key; known here: name"],
    ["an unknown nested key", "batching: { maxBatchSize: 2, size: 3 }", "batching.size is an unknown key"],
    ["a wrong type", "batching: { maxBatchSize: many }", 'batching.maxBatchSize is "many"; expected number'],
    [
      "a value out of range",
      "batching: { maxBatchSize: 5000 }",
      "batching.maxBatchSize is 5000; at most 4096 is allowed",
    ],
    ["another name", "name: other", 'name is "other"'],
    [
      "an unknown datatype",
      "inputs: [{ name: x, datatype: FLOAT, shape: [1] }]",
      'inputs[0].datatype is "FLOAT"; expected',
    ],
    [
      "an input that the graph lacks",
      "inputs: [{ name: z, datatype: FP32, shape: [1] }]",
      'input "z" is not in the graph; its inputs: x',
    ],
    [
      "another datatype than the graph's",
      "inputs: [{ name: x, datatype: INT64, shape: [-1, 4] }]",
      "is declared INT64; the graph has FP32",
    ],
    [
      "another shape than the graph's",
      "inputs: [{ name: x, datatype: FP32, shape: [-1, 5] }]",
      "is declared [-1, 5]; the graph has [-1, 4]",
    ],
    [
      "a state that the graph lacks",
      "sequence: { states: [{ input: s, output: t, datatype: FP32, shape: [1] }] }",
      'sequence state "s" is no input',
    ],
    ["a file outside the folder", "graph: ../../etc/passwd", "must be a file inside the model's folder"],
    ["text that is not YAML", "inputs: [", "is not readable as YAML"],
    ["no mapping", "just text", 'is "just text"; expected a mapping'],
  ];
  it.each(wrong)("%s is refused with its path", async (_what, yaml, message) => {
    await expect(repository(graph("detect", yaml)).load("detect", undefined, call)).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining(message) as string,
    });
  });

  const pipeline = (steps: string, outputs = "{ out: a.tensor }"): string =>
    `inputs: [{ name: values, datatype: FP32, shape: [-1, 4] }]\npipeline:\n  steps: [${steps}]\n  outputs: ${outputs}\n`;
  const wrongPipelines: readonly [string, string, string][] = [
    [
      "a ring of steps",
      pipeline(
        "{ id: a, transform: softmax, inputs: { tensor: b.tensor } }, { id: b, transform: softmax, inputs: { tensor: a.tensor } }",
      ),
      "pipeline is cyclic",
    ],
    [
      "an unknown transform",
      pipeline("{ id: a, transform: soft-max, inputs: { tensor: values } }"),
      'names the transform "soft-max"; there are',
    ],
    [
      "an unknown value",
      pipeline("{ id: a, transform: softmax, inputs: { tensor: other } }"),
      'takes "other" as tensor',
    ],
    [
      "an unknown port",
      pipeline("{ id: a, transform: softmax, inputs: { x: values } }"),
      'an input "x"; it takes tensor',
    ],
    [
      "duplicate ids",
      pipeline(
        "{ id: a, transform: softmax, inputs: { tensor: values } }, { id: a, transform: softmax, inputs: { tensor: values } }",
      ),
      "ids are unique",
    ],
    [
      "an output that nobody makes",
      pipeline("{ id: a, transform: softmax, inputs: { tensor: values } }", "{ out: b.tensor }"),
      'is "b.tensor"',
    ],
    [
      "a parameter out of range",
      pipeline("{ id: a, transform: top-k, with: { k: 0 }, inputs: { scores: values } }"),
      "pipeline step a cannot work",
    ],
    [
      "both a model and a transform",
      pipeline("{ id: a, model: detect, transform: softmax, inputs: { tensor: values } }"),
      "exactly one",
    ],
    ["an unknown model", pipeline("{ id: a, model: nobody, inputs: { x: values } }"), "uses model nobody"],
    [
      "a model that is fed the wrong shape",
      pipeline("{ id: a, model: image, inputs: { x: values } }"),
      "gives model image FP32 [-1, 4]",
    ],
    [
      "an id that names a cut",
      pipeline("{ id: end, transform: softmax, inputs: { tensor: values } }"),
      "which names a cut",
    ],
    [
      "a missing file",
      pipeline("{ id: a, transform: top-k, with: { labelsFile: no.txt }, inputs: { scores: values } }"),
      "names no.txt, which is not",
    ],
    [
      "a variant that changes no step",
      `${pipeline("{ id: a, transform: softmax, inputs: { tensor: values } }")}variants: [{ name: x, with: { b: {} } }]`,
      'changes step "b"',
    ],
  ];
  it.each(wrongPipelines)("%s is refused with its path", async (_what, yaml, message) => {
    const files = { ...graph("detect"), ...graph("image"), "pipe/model.yaml": yaml };
    await expect(repository(files).load("pipe", undefined, call)).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining(message) as string,
    });
  });

  it("models that use each other in a ring are refused, also when both are loaded at once", async () => {
    const use = (name: string): string =>
      `inputs: [{ name: v, datatype: FP32, shape: [1] }]\npipeline: { steps: [{ id: s, model: ${name}, inputs: { v: v } }], outputs: { v: s.v } }`;
    const one = repository({ "a/model.yaml": use("b"), "b/model.yaml": use("a") });
    const both = await Promise.allSettled([one.load("a", undefined, call), one.load("b", undefined, call)]);
    for (const outcome of both) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { reason: "invalid-configuration" } });
    }
  });

  it("aliases that unfold to gigabytes and nesting without end are refused", async () => {
    const bomb = ["a: &a [x, x, x, x, x, x, x, x, x]"];
    for (const [name, before] of ["ba", "cb", "dc", "ed", "fe", "gf", "hg", "ih"]) {
      bomb.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(", ")}]`);
    }
    for (const text of [bomb.join("\n"), "[".repeat(20_000), `graph: ${"x".repeat(1 << 20)}`]) {
      await expect(repository(graph("detect", text)).load("detect", undefined, call)).rejects.toMatchObject({
        reason: "invalid-configuration",
      });
    }
  });

  it("batching needs an axis that varies", async () => {
    const yaml = "batching: { maxBatchSize: 4 }";
    await expect(repository(graph("fixed", yaml)).load("fixed", undefined, call)).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
  });

  it("a missing model file is no configuration but an invalid model", async () => {
    await expect(
      repository({ "detect/1/other.bin": "x" }).load("detect", undefined, call),
    ).rejects.toMatchObject({ reason: "invalid-model" });
  });

  it("any text is read or refused as configuration, never anything else", async () => {
    const word = fc.constantFrom(
      "name",
      "inputs",
      "pipeline",
      "steps",
      ":",
      "-",
      "[",
      "]",
      "{",
      "}",
      "&a",
      "*a",
      "\n",
      "  ",
      "1",
      "<<",
      "!!map",
      "? ",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 40 }), async (words) => {
        const outcome = await repository(graph("detect", words.join(" ")))
          .load("detect", undefined, call)
          .catch((thrown: unknown) => thrown);
        expect(outcome instanceof Error ? (outcome as { reason?: string }).reason : "read").toMatch(
          /^(?:read|invalid-configuration)$/,
        );
      }),
      { numRuns: 300 },
    );
  });
});
