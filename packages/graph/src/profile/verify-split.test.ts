import { endCut, float32Tensor, float32View, seededRandom, startCut, tensorsOf } from "@longshore/core";
import type { Runtime } from "@longshore/engine";
import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { hasLight, light, realFiles } from "../../test/files.ts";
import { opened, smallModels } from "../../test/models.ts";
import { artifactOf, call, ortRuntime } from "../../test/ort.ts";
import { type OpenGraph, segmentOf } from "../extract/index.ts";
import { graphBuilder, writeModel } from "../onnx/index.ts";
import {
  artifactOfModel,
  type CutCheck,
  findInputs,
  findRowInputs,
  guessInputs,
  promising,
  singleTolerance,
  sketchCuts,
  splitsRight,
  toleranceOf,
  toleranceText,
  verifySplit,
  withSeededWeights,
  worstDifference,
} from "./index.ts";

const seeds = [1, 2, 3, 4, 5];

async function promisingCuts(graph: OpenGraph, limit: number): Promise<readonly string[]> {
  const [inputs] = await findInputs(graph, ortRuntime(), [1], call);
  const specs = [...present(inputs).values()].map((tensor) => tensor.spec);
  return promising(sketchCuts(graph.split, graph.table, specs), limit).map(({ cut }) => cut.id);
}

describe("head then tail equals the whole", () => {
  it.each(Object.entries(smallModels))("on every cut of a small model: %s", async (_name, read) => {
    const graph = opened(read());
    const runtime = ortRuntime();
    const inputs = await findInputs(graph, runtime, seeds, call);
    const cuts = graph.table.cuts.map((cut) => cut.id);
    const check = await verifySplit({ graph, runtime, cuts, inputs }, call);
    expect(check.cuts.map((one) => one.failure).filter(Boolean)).toEqual([]);
    expect(check.cuts.length).toBeGreaterThan(0);
    expect(check.worst).toBeLessThanOrEqual(1);
    expect(check.tolerance).toEqual(singleTolerance);
  });

  it.each(["ocr orient", "silero", "silero 16k", "silero half", "silero without if"])(
    "on promising cuts of a real file: %s",
    async (name) => {
      const graph = opened(present(realFiles[name])());
      const runtime = ortRuntime();
      const inputs = await findInputs(graph, runtime, seeds, call);
      const cuts = await promisingCuts(graph, 6);
      const check = await verifySplit({ graph, runtime, cuts, inputs }, call);
      expect(check.cuts.map((one) => one.failure).filter(Boolean)).toEqual([]);
      expect(check.worst).toBeLessThanOrEqual(1);
    },
  );

  it.runIf(hasLight).each(["squeezenet", "shufflenet"])(
    "on promising cuts of light %s with seeded weights",
    async (name) => {
      const graph = opened(withSeededWeights(light(name), 7));
      const runtime = ortRuntime();
      const inputs = seeds.map((seed) => guessInputs(graph.split, seed));
      const check = await verifySplit({ graph, runtime, cuts: await promisingCuts(graph, 5), inputs }, call);
      expect(check.worst).toBeLessThanOrEqual(1);
    },
  );

  it("through a middle segment between two cuts", async () => {
    const graph = opened(present(smallModels["LSTM with state"])());
    const runtime = ortRuntime();
    const [inputs] = await findInputs(graph, runtime, [5], call);
    const run = async (from: string, to: string, feeds: typeof inputs) => {
      const session = await runtime.load(
        artifactOfModel(segmentOf(graph.split, graph.table, from, to)),
        {},
        call,
      );
      return session.run(
        present(feeds),
        session.outputs.map((one) => one.name),
        call,
      );
    };
    const whole = await run(startCut, endCut, inputs);
    const ids = graph.table.cuts.map((cut) => cut.id);
    for (const [first, second] of ids.map((id, index) => [id, ids[index + 1]] as const)) {
      if (second === undefined) continue;
      let middle;
      try {
        middle = segmentOf(graph.split, graph.table, first, second);
      } catch {
        // Two sets beside each other have nothing between them.
        continue;
      }
      expect(middle.graph!.node.length).toBeGreaterThan(0);
      const answer = await run(second, endCut, await run(first, second, await run(startCut, first, inputs)));
      expect(worstDifference(answer, whole)).toBeLessThanOrEqual(1);
    }
  });
});

/** A classifier that averages the labels of the three nearest of 20 points, as converters of k-nearest-neighbour classifiers write it. */
function nearestNeighbours(): Uint8Array {
  const build = graphBuilder();
  const random = seededRandom(7);
  const x = build.input("x", "FP32", ["rows", 4]);
  const points = build.weights(
    "points",
    "FP32",
    [20, 4],
    Float32Array.from({ length: 80 }, () => random.next()),
  );
  const labels = build.weights(
    "labels",
    "INT64",
    [20],
    BigInt64Array.from({ length: 20 }, (_, at) => BigInt(at % 3)),
  );
  const k = build.weights("k", "INT64", [1], BigInt64Array.of(3n));
  const second = build.weights("second", "INT64", [1], BigInt64Array.of(1n));
  const shape = build.weights("shape", "INT64", [2], BigInt64Array.of(-1n, 3n));
  const apart = build.node("Sub", [build.node("Unsqueeze", [x, second]), points]);
  const distances = build.node("ReduceSumSquare", [apart], {
    attributes: { axes: { ints: [2] }, keepdims: { int: 0 } },
  });
  build.node("TopK", [distances, k], { attributes: { largest: { int: 0 } }, outputs: ["near", "indices"] });
  const of = build.node("ArrayFeatureExtractor", [labels, "indices"], {
    domain: "ai.onnx.ml",
    outputs: ["found"],
  });
  const votes = build.node("Cast", [build.node("Reshape", [of, shape])], { attributes: { to: { int: 1 } } });
  const y = build.node("ReduceMean", [votes], {
    attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
    outputs: ["y"],
  });
  build.output(y, "FP32", ["rows"]);
  return writeModel(build.model({ name: "nearest", domains: { "ai.onnx.ml": 1 } }));
}

describe("any number of rows", () => {
  it("splits nearest neighbours right, at every cut", async () => {
    const graph = opened(nearestNeighbours());
    const runtime = ortRuntime();
    const several = await findRowInputs(graph, runtime, [1, 2, 3, 7], call);
    expect(several.map(({ rows }) => rows)).toEqual([1, 2, 3, 7]);
    const cuts = graph.table.cuts.map((cut) => cut.id);
    const inputs = several.map((one) => one.inputs);
    const check = await verifySplit({ graph, runtime, cuts, inputs }, call);
    expect(check.cuts.filter(({ failure }) => failure !== undefined)).toEqual([]);
    expect(check.cuts.length).toBeGreaterThan(5);
    expect(check.worst).toBeLessThanOrEqual(1);
  });

  it("is tried only where it varies", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 4]);
    build.output(build.node("Neg", [build.node("Relu", [x])], { outputs: ["y"] }), "FP32", [1, 4]);
    const graph = opened(writeModel(build.model({ name: "one" })));
    expect(await findRowInputs(graph, ortRuntime(), [2, 3], call)).toEqual([]);
  });
});

describe("verifySplit", () => {
  it("distinguishes a model that draws random numbers from a wrong split", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 64]);
    const noise = build.node("RandomNormalLike", [build.node("Relu", [x])]);
    build.output(build.node("Add", [x, noise], { outputs: ["y"] }), "FP32", [1, 64]);
    const graph = opened(writeModel(build.model({ name: "drawing" })));
    const runtime = ortRuntime();
    const cuts = graph.table.cuts.map((cut) => cut.id);
    const check = await verifySplit({ graph, runtime, cuts, inputs: [guessInputs(graph.split, 1)] }, call);
    expect(check.ownDifference).toBeGreaterThan(1);
    const plain = opened(present(smallModels["LSTM with state"])());
    const none = await verifySplit(
      { graph: plain, runtime, cuts: [], inputs: [guessInputs(plain.split, 1)] },
      call,
    );
    expect(none.ownDifference).toBe(0);
  });

  it("reports a cut that does not give the whole's answers", async () => {
    const graph = opened(present(smallModels["loop that captures"])());
    const honest = ortRuntime();
    const runtime: Runtime = {
      ...honest,
      async load(...given) {
        const session = await honest.load(...given);
        const tail = session.inputs.some((spec) => spec.name === "step");
        return {
          ...session,
          async run(...feeds) {
            const outputs = await session.run(...feeds);
            const y = outputs.get("y");
            if (tail && y) float32View(y).fill(9);
            return outputs;
          },
        };
      },
    };
    const inputs = [guessInputs(graph.split, 1)];
    const cuts = graph.table.cuts.map((cut) => cut.id);
    const check = await verifySplit({ graph, runtime, cuts, inputs }, call);
    const wrong = check.cuts.filter((one) => one.worst > 1).map((one) => one.cut);
    const carrying = graph.table.cuts.filter((cut) => cut.crossing.some((spec) => spec.name === "step"));
    expect(wrong).toEqual(carrying.map((cut) => cut.id));
    expect(wrong.length).toBeGreaterThan(0);
    expect(check.worst).toBeGreaterThan(1);
  });

  it("distinguishes other rounding of joined operators from a wrong split", async () => {
    const graph = opened(present(smallModels["loop that captures"])());
    const honest = ortRuntime();
    const rounding = (fusedOnly: boolean): Runtime => ({
      ...honest,
      async load(artifact, options, at) {
        const session = await honest.load(artifact, options, at);
        const part = session.inputs.some((spec) => spec.name === "step");
        const { fusions = true } = options;
        return {
          ...session,
          async run(...feeds) {
            const outputs = await session.run(...feeds);
            const y = outputs.get("y");
            if (part && y && (fusions || !fusedOnly))
              float32View(y).forEach((value, at, all) => (all[at] = value * 1.001 + 0.01));
            return outputs;
          },
        };
      },
    });
    const inputs = [guessInputs(graph.split, 1)];
    const cuts = graph.table.cuts.map((cut) => cut.id);
    const check = async (fusedOnly: boolean): Promise<readonly CutCheck[]> => {
      const { cuts: checks, worst } = await verifySplit(
        { graph, runtime: rounding(fusedOnly), cuts, inputs },
        call,
      );
      expect(worst).toBeGreaterThan(1);
      return checks.filter((one) => one.worst > 1);
    };
    const rounded = await check(true);
    expect(rounded.map((one) => one.worstUnfused)).toEqual(rounded.map(() => 0));
    expect(rounded.map(splitsRight)).toEqual(rounded.map(() => true));
    const wrong = await check(false);
    expect(wrong.map((one) => one.worstUnfused)).toEqual(wrong.map((one) => one.worst));
    expect(wrong.map(splitsRight)).toEqual(wrong.map(() => false));
  });

  it("reports why a part does not run and goes on with the other cuts", async () => {
    const graph = opened(present(smallModels["names with any characters"])());
    const inputs = [guessInputs(graph.split, 1)];
    const check = await verifySplit({ graph, runtime: ortRuntime(), cuts: ["c99", "c1"], inputs }, call);
    expect(check.cuts[0]).toMatchObject({
      cut: "c99",
      worst: Infinity,
      failure: expect.stringContaining("c99"),
    });
    expect(present(check.cuts[1]).worst).toBeLessThanOrEqual(1);
  });
});

describe("findInputs", () => {
  it("keeps to the shape that the operator states", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["n", 3, "h", "w"]);
    build.output(build.node("Relu", [x], { outputs: ["y"] }), "FP32");
    const graph = opened(writeModel(build.model({ name: "resized" })));
    const [inputs] = await findInputs(graph, ortRuntime(), [1], call, new Map([["x", [-1, 3, 48, 192]]]));
    expect(present(present(inputs).get("x")).spec.shape).toEqual([1, 3, 48, 192]);
  });

  it("names the missing inputs when no guess suits the model", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["n"]);
    const to = build.weights("to", "INT64", [1], BigInt64Array.of(99_991n));
    build.output(build.node("Reshape", [x, to], { outputs: ["y"] }), "FP32", [99_991]);
    const graph = opened(writeModel(build.model({ name: "picky" })));
    await expect(findInputs(graph, ortRuntime(), [1], call)).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });

  it("gives indices that lie inside the table that they index, and the same inputs for the same seed", async () => {
    const graph = opened(present(smallModels["two inputs, whole numbers, opset 13"])());
    const [one, two] = await findInputs(graph, ortRuntime(), [8, 8], call);
    const ids = new BigInt64Array(present(one).get("ids")!.bytes.buffer);
    expect([...ids].every((id) => id >= 0n && id < 20n)).toBe(true);
    expect(one).toEqual(two);
  });
});

describe("withSeededWeights", () => {
  it.runIf(hasLight)(
    "makes answers that depend on the input, stay finite and repeat for a seed",
    async () => {
      const bytes = withSeededWeights(light("squeezenet"), 3);
      const session = await ortRuntime().load(artifactOf(bytes), {}, call);
      const run = async (seed: number) => {
        const inputs = guessInputs(opened(bytes).split, seed);
        return float32View((await session.run(inputs, ["softmaxout_1"], call)).get("softmaxout_1")!);
      };
      const [a, b] = [await run(1), await run(2)];
      expect(a.every(Number.isFinite)).toBe(true);
      expect(Math.max(...a) - Math.min(...a)).toBeGreaterThan(1e-4);
      expect(Math.max(...a.map((value, index) => Math.abs(value - present(b[index]))))).toBeGreaterThan(1e-5);
      expect(Buffer.compare(bytes, withSeededWeights(light("squeezenet"), 3))).toBe(0);
    },
  );
});

describe("worstDifference", () => {
  const of = (...values: number[]) =>
    tensorsOf(float32Tensor("y", [values.length], Float32Array.from(values)));

  it("counts in units of 1e-5 + 1e-4 |b|", () => {
    expect(worstDifference(of(1, 100), of(1, 100))).toBe(0);
    expect(worstDifference(of(100.02), of(100))).toBeCloseTo(0.02 / 0.01001, 2);
    expect(worstDifference(of(NaN), of(NaN))).toBe(0);
    expect(worstDifference(of(NaN), of(1))).toBe(Infinity);
    expect(worstDifference(of(1, 2), of(1))).toBe(Infinity);
    expect(worstDifference(new Map(), of(1))).toBe(Infinity);
  });

  it("allows more where a model rounds to 16 bits, or to 8 at run time, and says so", () => {
    const graph = (operator: string, attributes = {}) => {
      const build = graphBuilder();
      const x = build.input("x", "FP32", [4]);
      const scale = operator === "QuantizeLinear" ? [build.weights("f", "FP32", [], Float32Array.of(1))] : [];
      const outputs = operator.startsWith("Dynamic") ? ["q", "s", "z"] : ["q"];
      build.node(operator, [x, ...scale], { attributes, outputs });
      build.output("q");
      return opened(writeModel(build.model({ name: operator }))).split;
    };
    expect(toleranceOf(graph("Cast", { to: { int: 10 } }))).toMatchObject({ relative: 1e-2 });
    expect(toleranceOf(graph("DynamicQuantizeLinear"))).toMatchObject({ ofLargest: 5 / 255 });
    expect(toleranceText(toleranceOf(graph("QuantizeLinear")))).toBe("1e-5 + 1e-4 |b| + 2 % of the largest");
    expect(toleranceText(singleTolerance)).toBe("1e-5 + 1e-4 |b|");
  });
});
