import { setMaxListeners } from "node:events";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type Call,
  type EndpointInfo,
  float32Tensor,
  float32View,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LongshoreEvent,
  type Segment,
  type Tensor,
  type Tensors,
  tensorsOf,
  type TensorSpec,
} from "@longshore/core";
import { childCall, housekeepingCall, joinElements, splitElements } from "@longshore/core/internal";
import {
  manualClock,
  type ManualClock,
  memoryFile,
  type MemoryModel,
  type MemoryModels,
  memoryRuntime,
  type MemoryRuntime,
  memorySource,
  type MemoryStore,
  memoryStore,
  oneStage,
  settle,
  memoryEngineParts,
} from "@longshore/testkit";
import { defineTransform, pureTransforms, transformSet } from "../transform/index.ts";
import { createEngine, type Engine } from "./engine.ts";
import type { EngineParts } from "./engine-parts.ts";
import { inlineLane } from "../lane/inline-lane.ts";

const base = housekeepingCall("test");
setMaxListeners(0, base.abort);
const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const row = (name: string, ...values: number[]): Tensor =>
  float32Tensor(name, [1, values.length], Float32Array.from(values));
const numbers = (tensors: Tensors, name: string): number[] => {
  const tensor = tensors.get(name);
  return tensor ? [...float32View(tensor)] : [];
};
const map = (tensor: Tensor, name: string, change: (value: number) => number): Tensor =>
  float32Tensor(name, tensor.spec.shape, float32View({ spec: tensor.spec, bytes: tensor.bytes }).map(change));
const need = (feeds: Tensors, name: string): Tensor => {
  const tensor = feeds.get(name);
  if (!tensor) throw new Error(`the model got no ${name}`);
  return tensor;
};

/**
 * Three stages with everything that makes cuts hard: the input is needed again at the end (`skip`), an output is made
 * early (`early`), and one tensor has two consumers.
 */
const layered: MemoryModel = {
  inputs: [fp32("x", -1, 2)],
  outputs: ["early", "y"],
  stages: [
    {
      takes: ["x"],
      gives: [fp32("a/1", -1, 2), fp32("early", -1, 2)],
      runMs: 10,
      run: (feeds) =>
        new Map([
          ["a/1", map(need(feeds, "x"), "a/1", (v) => v + 1)],
          ["early", map(need(feeds, "x"), "early", (v) => v * 100)],
        ]),
    },
    {
      takes: ["a/1"],
      gives: [fp32("b", -1, 2)],
      runMs: 20,
      run: (feeds) => tensorsOf(map(need(feeds, "a/1"), "b", (v) => v * 3)),
    },
    {
      takes: ["a/1", "b", "x"],
      gives: [fp32("y", -1, 2)],
      runMs: 30,
      run: (feeds) => {
        const [a, b, x] = ["a/1", "b", "x"].map((name) => float32View(need(feeds, name)));
        return tensorsOf(
          float32Tensor(
            "y",
            need(feeds, "x").spec.shape,
            (a ?? new Float32Array()).map((v, i) => v + (b?.[i] ?? 0) - (x?.[i] ?? 0)),
          ),
        );
      },
    },
  ],
};

/** Adds its input to the state: `sum = state + x`. */
const adder = oneStage(
  [fp32("x", 1, 1), fp32("state", 1, 1)],
  [fp32("sum", 1, 1), fp32("next", 1, 1)],
  5,
  (feeds) => {
    const total = (float32View(need(feeds, "x"))[0] ?? 0) + (float32View(need(feeds, "state"))[0] ?? 0);
    return tensorsOf(row("sum", total), row("next", total));
  },
);

const models: MemoryModels = {
  layered,
  adder,
  score: oneStage([fp32("x", 1, 2)], [fp32("s", 1, 2)], 10, (feeds) =>
    tensorsOf(map(need(feeds, "x"), "s", (v) => v + 0.5)),
  ),
  other: oneStage([fp32("x", 1, 2)], [fp32("s", 1, 2)], 10, (feeds) =>
    tensorsOf(map(need(feeds, "x"), "s", (v) => v + 7)),
  ),
  detect: oneStage([fp32("x", -1, 2)], [fp32("found", -1, 2)], 40, (feeds) =>
    tensorsOf(map(need(feeds, "x"), "found", (v) => v * 2)),
  ),
};

/** `rows` [n, 2] -> `parts` ragged [n, 1, 2]: a fan-out. */
const takeApart = defineTransform<unknown>({
  name: "take-apart",
  inputs: ["rows", "like"],
  outputs: ["parts"],
  parse: (parameters) => parameters,
  specs: () => [{ name: "parts", datatype: "FP32", shape: [-1, 1, 2], ragged: true }],
  run: (inputs) => {
    const parts = splitElements(need(inputs, "rows")).map((one) => ({
      ...one,
      spec: { ...one.spec, shape: [1, 2] },
    }));
    return new Map([["parts", joinElements("parts", parts, fp32("parts", 1, 2))]]);
  },
});
const total = defineTransform<unknown>({
  name: "total",
  inputs: ["parts"],
  outputs: ["sum"],
  parse: (parameters) => parameters,
  specs: () => [fp32("sum", 1)],
  run: (inputs) =>
    tensorsOf(
      float32Tensor(
        "sum",
        [1],
        Float32Array.of(float32View(need(inputs, "parts")).reduce((a, b) => a + b, 0)),
      ),
    ),
});
const plus = defineTransform<{ readonly by: number }>({
  name: "plus",
  inputs: ["tensor"],
  outputs: ["tensor"],
  parse: (parameters) => ({ by: (parameters as { by?: number }).by ?? 1 }),
  specs: (inputs) => [{ ...(inputs.get("tensor") ?? fp32("tensor")), name: "tensor" }],
  run: (inputs, { by }) => tensorsOf(map(need(inputs, "tensor"), "tensor", (v) => v + by)),
});

const pipeline = `
inputs: [{ name: rows, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps:
    - { id: up, transform: plus, with: { by: 10 }, inputs: { tensor: rows } }
    - { id: more, transform: plus, with: { by: 100 }, inputs: { tensor: up.tensor } }
    - { id: net, model: layered, inputs: { x: more.tensor } }
    - { id: apart, transform: take-apart, inputs: { rows: rows, like: net.y } }
    - { id: each, model: score, forEach: apart.parts, inputs: { x: apart.parts } }
    - { id: all, transform: total, inputs: { parts: each.s } }
  outputs: { sum: all.sum, y: net.y, early: net.early }
variants:
  - { name: plain }
  - { name: big, tiers: [cloud], with: { up: { by: 20 } }, accuracy: 0.9, agreement: 0.8 }
  - { name: swapped, models: { each: other } }
`;
const stateful =
  "sequence: { maxIdleMs: 1000, states: [{ input: state, output: next, datatype: FP32, shape: [1, 1] }] }";
const files = (): Record<string, string | Uint8Array> => ({
  "layered/1/model.onnx": memoryFile("layered"),
  "score/1/model.onnx": memoryFile("score"),
  "other/1/model.onnx": memoryFile("other"),
  "detect/1/model.onnx": memoryFile("detect"),
  "adder/model.yaml": stateful,
  "adder/1/model.onnx": memoryFile("adder"),
  "pipe/model.yaml": pipeline,
});

const device: EndpointInfo = {
  id: "here",
  tier: "device",
  zone: "device",
  trust: "operated",
  codecs: ["raw"],
  state: "movable",
  offers: true,
  rates: { microsPerSecond: 1000, microsPerMegabyte: 0, activeWatts: 5 },
};

let clock: ManualClock;
let store: MemoryStore;
let runtime: MemoryRuntime;
let events: LongshoreEvent[];
let source: ReturnType<typeof memorySource>;

function engineWith(change: Partial<EngineParts> = {}): Engine {
  const transforms = transformSet(...pureTransforms(), takeApart, total, plus);
  return createEngine({
    ...memoryEngineParts({ clock, models, store, runtime }),
    info: device,
    source,
    transforms,
    lane: inlineLane(transforms, clock),
    observer: { record: (event) => void events.push(event) },
    ...change,
  });
}

beforeEach(() => {
  clock = manualClock();
  store = memoryStore(files());
  runtime = memoryRuntime({ models, clock, loadMs: 3 });
  events = [];
  source = memorySource(models);
});

const whole = (model: string, change: Partial<Segment> = {}): Segment => ({
  model,
  version: "",
  digest: "",
  variant: "",
  from: "start",
  to: "end",
  ...change,
});
const request = (
  segment: Segment,
  inputs: InferenceRequest["inputs"],
  more: Partial<InferenceRequest> = {},
): InferenceRequest => ({
  segment,
  inputs,
  codecs: {},
  ...more,
});
const infer = (engine: Engine, ask: InferenceRequest, call: Call = base): Promise<InferenceResponse> =>
  clock.finish(engine.infer(ask, call));
const until = (inMs: number): Call => ({ ...base, deadlineMs: clock.nowMs() + inMs });
const twoRows = (name = "x"): Tensors => tensorsOf(float32Tensor(name, [2, 2], Float32Array.of(1, 2, 3, 4)));
const wholeOf = (tensors: Tensors): Record<string, number[]> =>
  Object.fromEntries([...tensors.keys()].map((name) => [name, numbers(tensors, name)]));

describe("a bare graph", () => {
  it("runs, and accounts for where, which segment and how long", async () => {
    const engine = engineWith();
    const response = await infer(engine, request(whole("layered"), twoRows()));
    expect(wholeOf(response.outputs)).toEqual({ early: [100, 200, 300, 400], y: [7, 10, 13, 16] });
    const { digest } = (await engine.describe("layered", undefined, base))!.description;
    expect(response.account).toEqual({
      endpoint: "here",
      zone: "device",
      segment: { model: "layered", version: "1", digest, variant: "default", from: "start", to: "end" },
      stages: [
        { stage: "load", name: "layered", tookMs: 3 },
        { stage: "queue", name: "layered", tookMs: 0 },
        { stage: "run", name: "layered", tookMs: 60 },
      ],
      sentBytes: 0,
      receivedBytes: 0,
      energy: { millijoules: 300, label: "estimated" },
      costMicros: 60,
      forwarded: [],
    });
    expect(response.load).toMatchObject({ atMs: 63, inFlight: 0, queueMs: 0 });
    expect(events.map(({ kind }) => kind)).toEqual([
      "graph-memory",
      "batch-started",
      "batch-run",
      "stage-ended",
      "stage-ended",
    ]);
  });

  it("has the cuts of its graph, and head then tail gives the same as the whole at each of them", async () => {
    const engine = engineWith();
    const cuts = await engine.cuts("layered", undefined, undefined, base);
    expect(cuts.map(({ id, reveals }) => [id, reveals])).toEqual([
      ["start", "input"],
      ["c1", "input"],
      ["c2", "input"],
      ["end", "answer"],
    ]);
    expect(cuts[1]?.crossing.map(({ name }) => name).sort()).toEqual(["a/1", "early", "x"]);
    const all = wholeOf((await infer(engine, request(whole("layered"), twoRows()))).outputs);
    for (const { id, crossing } of cuts.slice(1, -1)) {
      const head = await infer(engine, request(whole("layered", { to: id }), twoRows()));
      expect([...head.outputs.keys()].sort()).toEqual(crossing.map(({ name }) => name).sort());
      const tail = await infer(engine, request(whole("layered", { from: id }), head.outputs));
      expect(wholeOf(tail.outputs)).toEqual(all);
    }
    const middle = await infer(
      engine,
      request(
        whole("layered", { from: "c1", to: "c2" }),
        (await infer(engine, request(whole("layered", { to: "c1" }), twoRows()))).outputs,
      ),
    );
    const tail = await infer(engine, request(whole("layered", { from: "c2" }), middle.outputs));
    expect(wholeOf(tail.outputs)).toEqual(all);
  });

  it("gives the file of a part, and of no pipeline", async () => {
    const engine = engineWith();
    const part = await engine.artifact(whole("layered", { to: "c1" }), base);
    expect(new TextDecoder().decode(await part.bytes(base))).toContain('"to":1');
    await expect(engine.artifact(whole("pipe"), base)).rejects.toMatchObject({ reason: "unsupported" });
    await expect(engine.artifact(whole("layered", { from: "c2", to: "c1" }), base)).rejects.toMatchObject({
      reason: "unknown-cut",
    });
  });

  it("never hands out or takes memory of another owner", async () => {
    const engine = engineWith();
    const inputs = twoRows();
    const head = await infer(engine, request(whole("layered", { to: "c1" }), inputs));
    const buffers = new Set([...head.outputs.values()].map(({ bytes }) => bytes.buffer));
    expect(buffers.size).toBe(head.outputs.size);
    expect(buffers.has(inputs.get("x")!.bytes.buffer)).toBe(false);
    expect(numbers(inputs, "x")).toEqual([1, 2, 3, 4]);
  });
});

describe("a pipeline", () => {
  const answer = { sum: [10 + 4 * 0.5], y: [447, 450, 453, 456].map((v) => v - 0), early: [] as number[] };

  it("runs transforms in one hop, the model, and one run for each element", async () => {
    const chains: string[][] = [];
    const transforms = transformSet(...pureTransforms(), takeApart, total, plus);
    const inner = inlineLane(transforms, clock);
    const engine = engineWith({
      lane: {
        ...inner,
        run: (chain, ...rest) => (chains.push(chain.map(({ id }) => id)), inner.run(chain, ...rest)),
      },
    });
    const { outputs, account } = await infer(engine, request(whole("pipe"), twoRows("rows")));
    expect(numbers(outputs, "sum")).toEqual(answer.sum);
    expect(numbers(outputs, "y")).toEqual([111, 112, 113, 114].map((x) => x + 1 + (x + 1) * 3 - x));
    expect(chains).toEqual([["up", "more"], ["apart"], ["all"]]);
    expect(account.stages.map(({ stage, name, tookMs }) => `${stage} ${name} ${tookMs}`)).toEqual([
      "load pipe 3",
      "transform up 0",
      "transform more 0",
      "queue net 0",
      "run net 60",
      "transform apart 0",
      "queue each 0",
      "run each 20",
      "transform all 0",
    ]);
    expect(runtime.runs).toEqual(["layered 2", "score 1", "score 1"]);
  });

  it("prepares its lane when it is read, and a model without transforms does not", async () => {
    let prepared = 0;
    const lane = inlineLane(transformSet(...pureTransforms(), takeApart, total, plus), clock);
    const engine = engineWith({ lane: { ...lane, prepare: () => void prepared++ } });
    await engine.describe("layered", undefined, base);
    expect(prepared).toBe(0);
    await engine.describe("pipe", undefined, base);
    expect(prepared).toBe(1);
  });

  it("can be stopped and continued at every cut with the same answer and the declared crossings", async () => {
    const engine = engineWith();
    const all = wholeOf((await infer(engine, request(whole("pipe"), twoRows("rows")))).outputs);
    const cuts = await engine.cuts("pipe", undefined, "plain", base);
    expect(cuts.map(({ id }) => id)).toEqual([
      "start",
      "up",
      "more",
      "net.c1",
      "net.c2",
      "net",
      "apart",
      "each",
      "all",
      "end",
    ]);
    for (const { id, crossing } of cuts.slice(1, -1)) {
      const head = await infer(engine, request(whole("pipe", { to: id }), twoRows("rows")));
      expect([...head.outputs.keys()], id).toEqual(crossing.map(({ name }) => name));
      for (const { name, datatype, shape } of crossing) {
        const spec = head.outputs.get(name)!.spec;
        expect(spec).toMatchObject({ name, datatype });
        expect(spec.shape.map((size, axis) => (shape[axis] === -1 ? -1 : size))).toEqual(shape);
      }
      const tail = await infer(engine, request(whole("pipe", { from: id }), head.outputs));
      expect(wholeOf(tail.outputs), id).toEqual(all);
    }
    for (const [at, from] of cuts.entries()) {
      for (const to of cuts.slice(at + 1)) {
        const start =
          from.id === "start"
            ? twoRows("rows")
            : (await infer(engine, request(whole("pipe", { to: from.id }), twoRows("rows")))).outputs;
        const middle = await infer(engine, request(whole("pipe", { from: from.id, to: to.id }), start));
        const end =
          to.id === "end"
            ? middle
            : await infer(engine, request(whole("pipe", { from: to.id }), middle.outputs));
        expect(wholeOf(end.outputs), `${from.id}..${to.id}`).toEqual(all);
      }
    }
  });

  it("names the crossing inside a step's graph by step and tensor, and once", async () => {
    const cuts = await engineWith().cuts("pipe", undefined, "plain", base);
    const names = (id: string): readonly string[] | undefined =>
      cuts.find((cut) => cut.id === id)?.crossing.map(({ name }) => name);
    expect(names("net.c1")).toEqual(["rows", "more.tensor", "net:a/1", "net.early"]);
    expect(names("more")).toEqual(["rows", "more.tensor"]);
    expect(names("net")).toEqual(["rows", "net.early", "net.y"]);
    expect(names("end")).toEqual(["sum", "y", "early"]);
  });

  it("states what each crossing reveals: the input, also as crops, until only features are left", async () => {
    const cuts = await engineWith().cuts("pipe", undefined, "plain", base);
    expect(Object.fromEntries(cuts.map(({ id, reveals }) => [id, reveals]))).toEqual({
      start: "input",
      up: "input",
      more: "input",
      "net.c1": "input",
      "net.c2": "input",
      net: "input",
      apart: "input",
      each: "features",
      all: "features",
      end: "answer",
    });
    store.put(
      "pipe/model.yaml",
      pipeline
        .replace("id: all,", "id: all, declassifiesTo: public,")
        .replace(", y: net.y, early: net.early", ""),
    );
    const declassified = await engineWith().cuts("pipe", undefined, "plain", base);
    expect(declassified.find(({ id }) => id === "all")?.reveals).toBe("answer");
  });

  it("makes only the wanted outputs", async () => {
    const engine = engineWith();
    const { outputs } = await infer(engine, request(whole("pipe"), twoRows("rows"), { outputs: ["early"] }));
    expect([...outputs.keys()]).toEqual(["early"]);
    expect(runtime.runs).toEqual(["layered 2"]);
    await expect(
      infer(engine, request(whole("pipe"), twoRows("rows"), { outputs: ["sums"] })),
    ).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("sum, y, early") as string,
    });
  });

  it("runs over no elements at all", async () => {
    const engine = engineWith();
    const none = tensorsOf(float32Tensor("rows", [0, 2], new Float32Array(0)));
    expect(numbers((await infer(engine, request(whole("pipe"), none))).outputs, "sum")).toEqual([0]);
  });

  it("runs elements at the same time on as many instances as there are", async () => {
    store.put("score/model.yaml", "instances: [{ count: 3 }]");
    const { account } = await infer(
      engineWith(),
      request(
        whole("pipe", { from: "net" }),
        (
          await infer(
            engineWith(),
            request(
              whole("pipe", { to: "net" }),
              tensorsOf(float32Tensor("rows", [6, 2], new Float32Array(12))),
            ),
          )
        ).outputs,
      ),
    );
    expect(account.stages.find(({ name, stage }) => name === "each" && stage === "run")?.tookMs).toBe(20);
    expect(account.energy.millijoules).toBe(6 * 10 * 5);
  });

  it("passes each value's memory on after its last reader, and never a caller's", async () => {
    const given: string[] = [];
    const transforms = transformSet(...pureTransforms(), takeApart, total, plus);
    const inner = inlineLane(transforms, clock);
    const engine = engineWith({
      runtimes: [
        {
          ...runtime,
          async load(artifact, options, call) {
            const session = await runtime.load(artifact, options, call);
            return {
              ...session,
              run(feeds, fetches, runCall) {
                for (const [name, tensor] of feeds) if (tensor.given) given.push(name);
                return session.run(feeds, fetches, runCall);
              },
            };
          },
        },
      ],
      lane: {
        ...inner,
        run: (chain, values, ...rest) => {
          for (const [name, tensor] of values) if (tensor.given) given.push(name);
          return inner.run(chain, values, ...rest);
        },
      },
    });
    await infer(engine, request(whole("pipe"), twoRows("rows")));
    expect(given).toEqual(["x", "each.s"]);
  });
});

describe("variants", () => {
  it("change parameters and models, and are served where their tier allows", async () => {
    const engine = engineWith();
    const sum = async (variant: string, on = engine): Promise<number[]> =>
      numbers((await infer(on, request(whole("pipe", { variant }), twoRows("rows")))).outputs, "sum");
    expect(await sum("")).toEqual([12]);
    expect(await sum("swapped")).toEqual([10 + 4 * 7]);
    await expect(sum("big")).rejects.toMatchObject({
      reason: "unknown-variant",
      message: expect.stringContaining("plain, swapped") as string,
    });
    const cloud = engineWith({ info: { ...device, id: "cloud", tier: "cloud" } });
    expect(await sum("big", cloud)).toEqual([12]);
  });
});

describe("callers' mistakes", () => {
  const wrong: readonly [string, InferenceRequest, string, string][] = [
    ["an unknown model", request(whole("nobody"), twoRows()), "unknown-model", "adder, detect, layered"],
    [
      "a name that is a path",
      request(whole("../layered"), twoRows()),
      "unknown-model",
      "is not a model name",
    ],
    [
      "an unknown version",
      request(whole("layered", { version: "7" }), twoRows()),
      "unknown-version",
      "served here: 1",
    ],
    [
      "another content",
      request(whole("layered", { digest: "sha256:other" }), twoRows()),
      "unknown-version",
      "different contents",
    ],
    [
      "an unknown variant",
      request(whole("layered", { variant: "int8" }), twoRows()),
      "unknown-variant",
      "served here: default",
    ],
    [
      "an unknown cut",
      request(whole("layered", { to: "c9" }), twoRows()),
      "unknown-cut",
      "start, c1, c2, end",
    ],
    [
      "a cut of another kind",
      request(whole("pipe", { to: "net.c7" }), twoRows()),
      "unknown-cut",
      "net.c1, net.c2, net",
    ],
    [
      "cuts in the wrong order",
      request(whole("layered", { from: "c2", to: "c1" }), twoRows()),
      "unknown-cut",
      "does not come after",
    ],
    [
      "a missing input",
      request(whole("layered"), new Map()),
      "invalid-input",
      "input x (FP32 [-1, 2]) is missing",
    ],
    [
      "an unknown input",
      request(whole("layered"), new Map([...twoRows(), ...twoRows("z")])),
      "invalid-input",
      'no input "z"; it takes x',
    ],
    [
      "a wrong shape",
      request(whole("layered"), tensorsOf(row("x", 1, 2, 3))),
      "invalid-input",
      "is FP32 [1, 3]; FP32 [-1, 2] is expected",
    ],
    [
      "a ragged input where none is",
      request(whole("layered"), tensorsOf(joinElements("x", [row("x", 1, 2)], row("x").spec))),
      "invalid-input",
      "is ragged",
    ],
  ];
  it.each(wrong)("%s is refused with the known names", async (_what, ask, reason, message) => {
    await expect(infer(engineWith(), ask)).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(message) as string,
    });
    expect(events).toMatchObject([{ kind: "failure", reason }]);
  });

  it("a deadline in the past is refused before anything is loaded", async () => {
    const engine = engineWith();
    await clock.advance(10);
    await expect(infer(engine, request(whole("layered"), twoRows()), until(-1))).rejects.toMatchObject({
      reason: "deadline-past",
    });
    expect(runtime.loads).toEqual([]);
  });

  it("a body is read only after specs and admission have let the request in", async () => {
    const engine = engineWith();
    let read = 0;
    const incoming = (spec: TensorSpec): InferenceRequest["inputs"] =>
      new Map([["x", { spec, byteLength: 16, read: () => (read++, Promise.resolve(need(twoRows(), "x"))) }]]);
    await expect(infer(engine, request(whole("layered"), incoming(fp32("x", 2, 3))))).rejects.toMatchObject({
      reason: "invalid-input",
    });
    expect(read).toBe(0);
    await infer(engine, request(whole("layered"), incoming(fp32("x", 2, 2))));
    expect(read).toBe(1);
  });
});

describe("time", () => {
  it("refuses at admission a request that would miss its deadline, and says when to come again", async () => {
    const engine = engineWith();
    await infer(engine, request(whole("layered"), twoRows()));
    const running = engine.infer(request(whole("layered"), twoRows()), base);
    await settle();
    const error = await infer(engine, request(whole("layered"), twoRows()), until(100)).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ reason: "rejected", retryable: true });
    expect((error as LongshoreError).retryAfterMs).toBeGreaterThanOrEqual(20);
    await infer(engine, request(whole("layered"), twoRows()), until(130));
    await clock.finish(running);
  });

  it("ends a request at its deadline while it runs, keeps the instance busy, and drops the result", async () => {
    const engine = engineWith();
    const outcome = engine
      .infer(request(whole("layered"), twoRows()), until(30))
      .catch((thrown: LongshoreError) => thrown.reason);
    await clock.advance(31);
    expect(await outcome).toBe("deadline-exceeded");
    expect(engine.loadReport()).toMatchObject({ cpuRatio: 1, inFlight: 0 });
    const next = await infer(engine, request(whole("layered"), twoRows()));
    expect(next.account.stages[0]).toEqual({ stage: "queue", name: "layered", tookMs: 63 - 31 });
    expect(clock.armed()).toBe(0);
  });

  it("ends a request that is cancelled while a lane works, and while a model loads", async () => {
    const engine = engineWith();
    const loading = childCall(base);
    const first = engine.infer(request(whole("layered"), twoRows()), loading.call);
    loading.cancel(new LongshoreError("cancelled", "execute", "gone"));
    await expect(first).rejects.toMatchObject({ reason: "cancelled" });
    const lane = inlineLane(new Map(), clock);
    const stuck = engineWith({ lane: { ...lane, run: () => new Promise(() => undefined) } });
    const { call, cancel } = childCall(base);
    const second = stuck.infer(request(whole("pipe"), twoRows("rows")), call);
    await clock.advance(10);
    cancel(new LongshoreError("cancelled", "execute", "gone"));
    await expect(second).rejects.toMatchObject({ reason: "cancelled" });
    expect(stuck.loadReport().inFlight).toBe(0);
  });

  it("refuses requests above its limits", async () => {
    const narrow = engineWith({ limits: { maxQueued: 0 } });
    await infer(narrow, request(whole("layered"), twoRows()));
    const running = narrow.infer(request(whole("layered"), twoRows()), base);
    await settle();
    await expect(infer(narrow, request(whole("layered"), twoRows()))).rejects.toMatchObject({
      reason: "queue-full",
    });
    await clock.finish(running);
    const small = engineWith({ limits: { maxInFlight: 0 } });
    await expect(infer(small, request(whole("layered"), twoRows()))).rejects.toMatchObject({
      reason: "queue-full",
    });
  });

  it("one failing element fails the request and stops the others", async () => {
    let runs = 0;
    const failing = memoryRuntime({
      models,
      clock,
      beforeRun: (model) => {
        if (model === "score" && ++runs === 2) throw new LongshoreError("run-failed", "execute", "planted");
      },
    });
    const engine = engineWith({ runtimes: [failing] });
    const many = tensorsOf(float32Tensor("rows", [8, 2], new Float32Array(16)));
    await expect(infer(engine, request(whole("pipe"), many))).rejects.toMatchObject({ reason: "run-failed" });
    await clock.advance(200);
    expect(runs).toBe(2);
    expect(engine.loadReport()).toMatchObject({ inFlight: 0, queueMs: 0 });
  });
});

describe("sequences", () => {
  const step = (
    at: number,
    value: number,
    more: Partial<NonNullable<InferenceRequest["sequence"]>> = {},
  ): InferenceRequest =>
    request(whole("adder"), tensorsOf(row("x", value)), {
      sequence: { id: "s", step: at, end: false, wantState: false, ...more },
    });

  it("keep their state here, and a request without a sequence starts from zeros", async () => {
    const engine = engineWith();
    const sums: number[] = [];
    for (const [at, value] of [5, 6, 7].entries())
      sums.push(...numbers((await infer(engine, step(at, value))).outputs, "sum"));
    expect(sums).toEqual([5, 11, 18]);
    expect(
      numbers((await infer(engine, request(whole("adder"), tensorsOf(row("x", 1))))).outputs, "sum"),
    ).toEqual([1]);
    await expect(infer(engine, step(7, 0))).rejects.toMatchObject({ reason: "sequence-step" });
    await expect(
      infer(engine, { ...step(3, 0), sequence: { id: "new", step: 3, end: false, wantState: false } }),
    ).rejects.toMatchObject({
      reason: "sequence-unknown",
    });
  });

  it("answer a retry without running again", async () => {
    const engine = engineWith();
    await infer(engine, step(0, 5));
    await infer(engine, step(1, 6));
    const again = await infer(engine, step(1, 6, { wantState: true }));
    expect(numbers(again.outputs, "sum")).toEqual([11]);
    expect(again.account.stages).toEqual([]);
    expect(numbers(again.state ?? new Map(), "state")).toEqual([11]);
    expect(runtime.runs).toHaveLength(2);
  });

  it("move to another endpoint with their state and give the same answers", async () => {
    const one = engineWith();
    const two = engineWith({ info: { ...device, id: "there" } });
    const first = await infer(one, step(0, 5, { wantState: true }));
    const second = await infer(two, step(1, 6, { state: first.state ?? new Map(), wantState: true }));
    const third = await infer(one, step(2, 7, { state: second.state ?? new Map() }));
    expect(numbers(third.outputs, "sum")).toEqual([18]);
    expect(numbers((await infer(one, step(3, 1))).outputs, "sum")).toEqual([19]);
  });

  it("a step that was abandoned can be taken again", async () => {
    const engine = engineWith();
    await infer(engine, step(0, 5));
    const { call, cancel } = childCall(base);
    const late = engine.infer(step(1, 6), call);
    await clock.advance(2);
    cancel(new LongshoreError("cancelled", "execute", "gone"));
    await expect(late).rejects.toMatchObject({ reason: "cancelled" });
    expect(numbers((await infer(engine, step(1, 6))).outputs, "sum")).toEqual([11]);
  });

  it("go through pipelines, under the names of their steps", async () => {
    store.put(
      "listen/model.yaml",
      `
inputs: [{ name: v, datatype: FP32, shape: [1, 1] }]
pipeline:
  steps:
    - { id: more, transform: plus, with: { by: 1 }, inputs: { tensor: v } }
    - { id: add, model: adder, inputs: { x: more.tensor } }
  outputs: { sum: add.sum }
`,
    );
    const engine = engineWith();
    const ask = (at: number, change: Partial<Segment>, inputs: Tensors): InferenceRequest =>
      request(whole("listen", change), inputs, {
        sequence: { id: "s", step: at, end: false, wantState: true },
      });
    await infer(engine, ask(0, {}, tensorsOf(row("v", 1))));
    const head = await infer(engine, ask(1, { to: "more" }, tensorsOf(row("v", 1))));
    const tail = await infer(engine, ask(1, { from: "more" }, head.outputs));
    expect(numbers(tail.outputs, "sum")).toEqual([4]);
    expect([...(tail.state ?? new Map()).keys()]).toEqual(["add:state"]);
    expect((await engine.cuts("listen", undefined, undefined, base)).map(({ id }) => id)).toEqual([
      "start",
      "more",
      "add",
      "end",
    ]);
  });
});

describe("coming and going", () => {
  it("loads a graph once for all callers at the same time", async () => {
    const engine = engineWith();
    const both = Promise.all([1, 2, 3].map(() => engine.infer(request(whole("layered"), twoRows()), base)));
    await clock.finish(both);
    expect(runtime.loads).toEqual(["layered:0..3"]);
    expect(clock.nowMs()).toBe(3 + 3 * 60);
  });

  it("serves a new version after load, while requests under way finish on the old one", async () => {
    const engine = engineWith();
    await infer(engine, request(whole("score"), tensorsOf(row("x", 1, 1))));
    store.put("score/2/model.onnx", memoryFile("other"));
    const old = engine.infer(request(whole("score"), tensorsOf(row("x", 1, 1))), base);
    await settle();
    const loading = engine.load("score", undefined, base);
    const answered = await clock.finish(old);
    await clock.finish(loading);
    expect(answered.account.segment.version).toBe("1");
    expect(numbers(answered.outputs, "s")).toEqual([1.5, 1.5]);
    const fresh = await infer(engine, request(whole("score"), tensorsOf(row("x", 1, 1))));
    expect(fresh.account.segment.version).toBe("2");
    expect(numbers(fresh.outputs, "s")).toEqual([8, 8]);
    await settle();
    expect(runtime.open()).toBe(1);
    expect(events.filter(({ kind }) => kind === "model-state")).toMatchObject([
      { state: "loading" },
      { version: "1", state: "unloading" },
      { version: "2", state: "ready" },
      { version: "1", state: "unloaded" },
    ]);
    expect(
      (await infer(engine, request(whole("score", { version: "1" }), tensorsOf(row("x", 1, 1))))).account
        .segment.version,
    ).toBe("1");
  });

  it("lets pipelines follow a new version of their models", async () => {
    const engine = engineWith();
    const before = await engine.describe("pipe", undefined, base);
    expect(numbers((await infer(engine, request(whole("pipe"), twoRows("rows")))).outputs, "sum")).toEqual([
      12,
    ]);
    store.put("score/2/model.onnx", memoryFile("other"));
    await clock.finish(engine.load("score", undefined, base));
    expect(numbers((await infer(engine, request(whole("pipe"), twoRows("rows")))).outputs, "sum")).toEqual([
      38,
    ]);
    expect((await engine.describe("pipe", undefined, base))?.description.digest).not.toBe(
      before?.description.digest,
    );
  });

  it("describes one model in the index without reading any other", async () => {
    const engine = engineWith();
    const all = await engine.index();
    const listed: string[] = [];
    const listing = {
      ...store,
      list: (path: string) => {
        listed.push(path);
        return store.list(path);
      },
    };
    expect(await engineWith({ store: listing }).index("score")).toEqual(
      all.filter(({ name }) => name === "score"),
    );
    expect(listed.length).toBeGreaterThan(0);
    expect(new Set(listed.map((path) => path.split("/")[0]))).toEqual(new Set(["score"]));
  });

  it("unloads after requests under way, refuses until the next load, and says so in the index", async () => {
    const engine = engineWith();
    const running = engine.infer(request(whole("score"), tensorsOf(row("x", 1, 1))), base);
    await clock.advance(4);
    let unloaded = false;
    const unloading = engine.unload("score", base).then(() => (unloaded = true));
    await settle();
    expect(unloaded).toBe(false);
    expect((await engine.index()).find(({ name }) => name === "score")).toEqual({
      name: "score",
      version: "1",
      state: "unloading",
    });
    await expect(infer(engine, request(whole("score"), tensorsOf(row("x", 1, 1))))).rejects.toMatchObject({
      reason: "unknown-model",
      message: expect.stringContaining("load it first") as string,
    });
    await clock.finish(running);
    await unloading;
    expect(runtime.open()).toBe(0);
    expect((await engine.index()).find(({ name }) => name === "score")?.state).toBe("unloaded");
    await clock.finish(engine.load("score", undefined, base));
    expect((await engine.index()).find(({ name }) => name === "score")?.state).toBe("ready");
    await expect(engine.unload("nobody", base)).resolves.toBeUndefined();
  });

  it("keeps serving the old content when the new one cannot be loaded", async () => {
    const engine = engineWith();
    await infer(engine, request(whole("score"), tensorsOf(row("x", 1, 1))));
    store.put("score/1/model.onnx", "not a model");
    await expect(engine.load("score", undefined, base)).rejects.toMatchObject({ reason: "invalid-model" });
    expect(
      numbers((await infer(engine, request(whole("score"), tensorsOf(row("x", 1, 1))))).outputs, "s"),
    ).toEqual([1.5, 1.5]);
    const other = engineWith();
    await expect(infer(other, request(whole("score"), tensorsOf(row("x", 1, 1))))).rejects.toMatchObject({
      reason: "invalid-model",
    });
    expect((await other.index()).find(({ name }) => name === "score")).toMatchObject({
      state: "unavailable",
    });
    store.put("score/1/model.onnx", memoryFile("score"));
    await infer(other, request(whole("score"), tensorsOf(row("x", 1, 1))));
  });

  it("notices a file that was changed under it", async () => {
    const engine = engineWith();
    await engine.describe("score", undefined, base);
    store.put("score/1/model.onnx", memoryFile("other"));
    await expect(infer(engine, request(whole("score"), tensorsOf(row("x", 1, 1))))).rejects.toMatchObject({
      reason: "invalid-model",
      message: expect.stringContaining("load the model again") as string,
    });
  });

  it("has a part loaded before the first request for it", async () => {
    const engine = engineWith();
    await clock.finish(engine.capabilities.prepare(whole("layered", { to: "c1" }), base));
    expect(runtime.loads).toEqual(["layered:0..1"]);
    const response = await infer(engine, request(whole("layered", { to: "c1" }), twoRows()));
    expect(response.account.stages.map(({ stage }) => stage)).not.toContain("load");
    expect(runtime.loads).toHaveLength(1);
    await expect(engine.capabilities.prepare(whole("layered", { to: "c99" }), base)).rejects.toMatchObject({
      reason: "unknown-cut",
    });
    await expect(
      engine.capabilities.prepare({ ...whole("layered"), digest: `sha256:${"9".repeat(64)}` }, base),
    ).rejects.toMatchObject({ reason: "unknown-version" });
  });

  it("evicts the least used part when there are too many", async () => {
    const engine = engineWith({ limits: { maxParts: 1 } });
    await infer(engine, request(whole("layered", { to: "c1" }), twoRows()));
    await infer(engine, request(whole("layered", { to: "c2" }), twoRows()));
    await infer(engine, request(whole("layered", { to: "c2" }), twoRows()));
    await settle();
    expect(runtime.loads).toEqual(["layered:0..1", "layered:0..2"]);
    expect(runtime.open()).toBe(1);
  });

  it("drains, closes, and refuses afterwards", async () => {
    const engine = engineWith();
    const running = engine.infer(request(whole("layered"), twoRows()), base);
    await settle();
    const closing = engine.close();
    await expect(engine.infer(request(whole("layered"), twoRows()), base)).rejects.toMatchObject({
      reason: "shutting-down",
    });
    await clock.finish(running);
    await closing;
    await engine.close();
    expect(runtime.open()).toBe(0);
  });
});

describe("runtimes", () => {
  const unsupporting = {
    name: "small",
    load: () => Promise.reject(new LongshoreError("unsupported", "execute", "planted")),
    close: () => Promise.resolve(),
  };

  it("are tried in order when one cannot run a kind of model, and only then", async () => {
    await infer(engineWith({ runtimes: [unsupporting, runtime] }), request(whole("layered"), twoRows()));
    expect(runtime.loads).toHaveLength(1);
    const full = {
      ...unsupporting,
      load: () => Promise.reject(new LongshoreError("memory-limit", "execute", "planted")),
    };
    await expect(
      infer(engineWith({ runtimes: [full, runtime] }), request(whole("layered"), twoRows())),
    ).rejects.toMatchObject({ reason: "memory-limit" });
  });

  it("are chosen by name, and models that are not trusted run in the sandbox or not at all", async () => {
    store.put("layered/model.yaml", "instances: [{ count: 1, runtime: gpu }]");
    await expect(infer(engineWith(), request(whole("layered"), twoRows()))).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("there are memory") as string,
    });
    store.put("layered/model.yaml", "trusted: false");
    await expect(infer(engineWith(), request(whole("layered"), twoRows()))).rejects.toMatchObject({
      reason: "unsupported",
    });
    await infer(
      engineWith({ runtimes: [unsupporting], sandbox: runtime }),
      request(whole("layered"), twoRows()),
    );
  });
});
