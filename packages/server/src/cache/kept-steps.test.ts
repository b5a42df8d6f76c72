import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  type Call,
  codecSet,
  emptyBody,
  float32Tensor,
  float32View,
  type InferenceRequest,
  rawCodec,
  readBody,
  seededRandom,
  tensorsOf,
  type TensorSpec,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { createEngine } from "@longshore/engine";
import {
  manualClock,
  memoryEngineParts,
  memoryFile,
  memoryRuntime,
  memoryStore,
  oneStage,
  settle,
} from "@longshore/testkit";
import { createHandler } from "../api/index.ts";
import { createTelemetry, createTracing } from "../telemetry/index.ts";
import { answerCache, cachedEndpoint } from "./cached-endpoint.ts";

const hash = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });

const port = (kind: string, name: string): string =>
  `${kind} { name: "${name}" data_type: TYPE_FP32 dims: [ 2 ] }`;
const step = (model: string, from: string, to: string): string =>
  `step { model_name: "${model}" model_version: -1
     input_map { key: "x" value: "${from}" } output_map { key: "y" value: "${to}" } }`;
const ensemble = (...steps: readonly string[]): string =>
  `platform: "ensemble" ${port("input", "x")} ${port("output", "y")} ensemble_scheduling { ${steps.join(" ")} }`;

/** A server over pipelines of models that double their input in 10 ms, of which `first` and `second` keep their answers. */
function world() {
  const clock = manualClock();
  const telemetry = createTelemetry({
    clock,
    random: seededRandom(1),
    tracing: createTracing(seededRandom(1), {}),
  });
  const twice = oneStage([fp32("x", 2)], [fp32("y", 2)], 10, (feeds) =>
    tensorsOf(
      float32Tensor(
        "y",
        [2],
        float32View(feeds.get("x")!).map((value) => value * 2),
      ),
    ),
  );
  const models = { first: twice, second: twice, plain: twice };
  const runtime = memoryRuntime({ models, clock });
  const kept = "response_cache { enable: true }";
  const store = memoryStore({
    "first/1/model.onnx": memoryFile("first"),
    "first/config.pbtxt": kept,
    "second/1/model.onnx": memoryFile("second"),
    "second/config.pbtxt": kept,
    "plain/1/model.onnx": memoryFile("plain"),
    "both/config.pbtxt": ensemble(step("first", "x", "middle"), step("second", "middle", "y")),
    "half/config.pbtxt": ensemble(step("first", "x", "middle"), step("plain", "middle", "y")),
    "nested/config.pbtxt": ensemble(step("half", "x", "y")),
    "each/model.yaml": `
inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps: [{ id: row, model: first, forEach: x, inputs: { x: x } }]
  outputs: { y: row.y }
`,
  });
  const { observer } = telemetry;
  const answers = answerCache({ clock, observer, hash, maxBytes: 1_000_000 });
  const engine = createEngine({ ...memoryEngineParts({ clock, models, store, runtime }), observer, answers });
  const endpoint = cachedEndpoint(engine, answers);
  const handler = createHandler({
    endpoint,
    codecs: codecSet(rawCodec),
    clock,
    observer,
    telemetry,
    load: () => engine.loadReport(),
  });
  let calls = 0;
  const send = async (path: string, data?: readonly number[]): Promise<unknown> => {
    const json = { inputs: [{ name: "x", datatype: "FP32", shape: [2], data }] };
    const reply = await handler(
      {
        method: data ? "POST" : "GET",
        path,
        headers: {},
        body: data ? { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(json))] } : emptyBody,
        peer: { address: "127.0.0.1", loopback: true },
      },
      housekeepingCall(`call-${++calls}`),
    );
    return JSON.parse(new TextDecoder().decode(await readBody(reply.body, { maxBytes: 1e6 })));
  };
  /** The outputs of a model, and the stages of its account. */
  const infer = async (
    model: string,
    values: readonly number[],
    call: Partial<Call> = {},
    more: Partial<InferenceRequest> = {},
  ): Promise<{ readonly y: Float32Array; readonly stages: readonly string[]; readonly waitedMs: number }> => {
    const shape = model === "each" ? [values.length / 2, 2] : [2];
    const segment = { model, version: "", digest: "", variant: "", from: "start", to: "end" };
    const inputs = tensorsOf(float32Tensor("x", shape, Float32Array.from(values)));
    const { outputs, account } = await engine.infer(
      { segment, inputs, codecs: {}, ...more },
      { ...housekeepingCall(`call-${++calls}`), ...call },
    );
    const stages = account.stages.map(({ stage, name }) => `${stage} ${name}`);
    return {
      y: float32View(outputs.get("y")!),
      stages: stages.filter((one) => !one.startsWith("load")),
      waitedMs: account.stages.reduce((sum, { stage, tookMs }) => sum + (stage === "queue" ? tookMs : 0), 0),
    };
  };
  return { clock, engine, runs: runtime.runs, send, infer };
}

/** The counts of a model in Triton's statistics. */
interface Counted {
  readonly model_stats: readonly [
    {
      readonly inference_count: number;
      readonly execution_count: number;
      readonly inference_stats: Readonly<Record<string, { readonly count: number }>>;
    },
  ];
}

describe("a step of a pipeline whose model's answers are kept", () => {
  it("runs once for equal inputs, and is counted as Triton 2.51 counts it", async () => {
    const { clock, send, runs } = world();
    const counts = async (model: string): Promise<readonly (number | undefined)[]> => {
      const [{ inference_count, execution_count, inference_stats: of }] = (
        (await send(`/v2/models/${model}/stats`)) as Counted
      ).model_stats;
      const kinds = ["success", "queue", "compute_infer", "cache_hit", "cache_miss"];
      return [inference_count, execution_count, ...kinds.map((kind) => of[kind]?.count)];
    };
    for (let time = 0; time < 3; time++) {
      const answer = await clock.finish(send("/v2/models/both/infer", [1, 2]));
      expect(answer).toMatchObject({ outputs: [{ name: "y", data: [4, 8] }] });
    }
    expect(runs).toHaveLength(2);
    expect(await counts("both")).toEqual([3, 3, 3, 3, 3, 0, 0]);
    expect(await counts("first")).toEqual([1, 1, 3, 3, 1, 2, 1]);
    expect(await counts("second")).toEqual([1, 1, 3, 3, 1, 2, 1]);
    // Also in a request to the model itself.
    await clock.finish(send("/v2/models/first/infer", [1, 2]));
    expect(await counts("first")).toEqual([1, 1, 4, 4, 1, 3, 1]);
  });

  it("shares its answers with other pipelines and with requests to the model itself", async () => {
    const { clock, send, runs } = world();
    await clock.finish(send("/v2/models/both/infer", [1, 2]));
    const answer = await clock.finish(send("/v2/models/first/infer", [1, 2]));
    expect(answer).toMatchObject({ model_name: "first", outputs: [{ data: [2, 4] }] });
    expect(runs).toHaveLength(2);
    await clock.finish(send("/v2/models/second/infer", [6, 6]));
    expect(await clock.finish(send("/v2/models/both/infer", [3, 3]))).toMatchObject({
      outputs: [{ data: [12, 12] }],
    });
    expect(runs.slice(2)).toEqual(["second 2", "first 2"]);
  });

  it("says so in the account, and models beside it that keep nothing run each time", async () => {
    const { clock, infer, runs } = world();
    const first = await clock.finish(infer("half", [1, 2]));
    expect(first.stages).toEqual(["queue first", "run first", "queue plain", "run plain"]);
    first.y.fill(0);
    const second = await clock.finish(infer("nested", [1, 2]));
    expect([...second.y]).toEqual([4, 8]);
    expect(second.stages).toEqual(["cache first", "queue half-plain", "run half-plain"]);
    expect(runs).toEqual(["first 2", "plain 2", "plain 2"]);
  });

  it("runs once for equal requests at the same time, also when the one that began it leaves", async () => {
    const { clock, engine, infer, runs } = world();
    await clock.finish(engine.load("both", undefined, housekeepingCall("load")));
    const leaving = new AbortController();
    const gone = infer("both", [1, 2], { abort: leaving.signal });
    const left = expect(gone).rejects.toMatchObject({ reason: "cancelled" });
    await settle();
    const others = Promise.all([infer("both", [1, 2]), infer("both", [1, 2])]);
    await settle();
    leaving.abort();
    await left;
    expect((await clock.finish(others)).map(({ y }) => [...y])).toEqual([
      [4, 8],
      [4, 8],
    ]);
    expect(runs).toEqual(["first 2", "second 2"]);
  });

  it("runs once for equal elements", async () => {
    const { clock, infer, runs } = world();
    const { y } = await clock.finish(infer("each", [1, 2, 3, 4, 1, 2]));
    expect([...y]).toEqual([2, 4, 6, 8, 2, 4]);
    expect(runs).toHaveLength(2);
    expect((await infer("each", [3, 4, 1, 2])).stages).toEqual(["cache first"]);
  });

  it("waits as long as those of its elements that run", async () => {
    const { clock, infer } = world();
    await clock.finish(infer("each", [1, 2]));
    await clock.finish(infer("first", [5, 6]));
    const before = infer("first", [5, 6]);
    await settle();
    const each = infer("each", [1, 2, 3, 4]);
    const { stages, waitedMs } = await clock.finish(each);
    expect(stages).toEqual(["cache first", "queue row", "run row"]);
    expect(waitedMs).toBe(10);
    await before;
  });

  it("runs again for another tenant, under other rules, and in a sequence", async () => {
    const { clock, infer, runs } = world();
    const sequence = { id: "s", step: 0, end: true, wantState: false };
    await clock.finish(infer("both", [1, 2]));
    await clock.finish(infer("both", [1, 2], { tenant: "other" }));
    await clock.finish(infer("both", [1, 2], { rules: { dataClass: "secret", leastTrust: "none" } }));
    for (let time = 0; time < 2; time++) await clock.finish(infer("both", [1, 2], {}, { sequence }));
    expect(runs).toHaveLength(10);
  });

  it("teaches nothing of how long runs take by answers from memory", async () => {
    const { clock, engine, infer } = world();
    for (let time = 0; time < 40; time++) await clock.finish(infer("both", [1, 2]));
    const query = { model: "both", version: "1", features: { bytes: 8 } };
    const offers = await clock.finish(engine.offers(query, housekeepingCall("offers")));
    const whole = offers.find(({ segment }) => segment.from === "start");
    expect(Math.min(...(whole?.completionMs.values ?? [0]))).toBeGreaterThanOrEqual(10);
  });
});
