import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  endCut,
  float32Tensor,
  float32View,
  type LongshoreEvent,
  seededRandom,
  startCut,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { goldenText, housekeepingCall } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { openModel } from "../engine/open-model.ts";
import { type EngineOptions, type OpenedEngine, openEngine } from "../engine/open-engine.ts";

const width = 64;
const random = seededRandom(23);
const values = (count: number, size = 1): Float32Array =>
  Float32Array.from({ length: count }, () => (random.next() * 2 - 1) * size);

type Builder = ReturnType<typeof graphBuilder>;
const network = (name: string, layers: (build: Builder, x: string) => string): Uint8Array => {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", width]);
  build.output(layers(build, x), "FP32", ["batch", width]);
  return writeModel(build.model({ name }));
};
const axes = { axes: { ints: [0, 1] }, keepdims: { int: 1 } };
const weights = (build: Builder): string =>
  build.weights("w", "FP32", [width, width], values(width ** 2, 0.1));

const dense = network("dense", (build, x) =>
  build.node("Relu", [build.node("MatMul", [x, weights(build)])], { outputs: ["y"] }),
);
/** Weights in whole numbers, activations quantised as they come, by one scale for the whole batch. */
const quantised = network("quantised", (build, x) => {
  const whole = Int8Array.from(values(width ** 2, 127));
  const w = build.weights("w", "INT8", [width, width], whole);
  build.node("DynamicQuantizeLinear", [x], { outputs: ["q", "scale", "zero"] });
  const product = build.node("MatMulInteger", ["q", w, "zero"]);
  const back = build.node("Cast", [product], { attributes: { to: { int: 1 } } });
  return build.node("Mul", [back, "scale"], { outputs: ["y"] });
});
/** One scale for the whole batch, put together from operators that tell nothing of it. */
const hidden = network("hidden", (build, x) => {
  const most = build.node("ReduceMax", [build.node("Abs", [x])], { attributes: axes });
  const steps = build.weights("steps", "FP32", [], Float32Array.of(127));
  const scale = build.node("Div", [most, steps]);
  const rounded = build.node("Floor", [build.node("Div", [x, scale])]);
  return build.node("MatMul", [build.node("Mul", [rounded, scale]), weights(build)], { outputs: ["y"] });
});

const folder = await mkdtemp(join(tmpdir(), "longshore-unasked-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function place(name: string, file: Uint8Array, beside: Record<string, string> = {}): Promise<void> {
  await mkdir(join(folder, "models", name, "1"), { recursive: true });
  await writeFile(join(folder, "models", name, "1", "model.onnx"), file);
  for (const [path, text] of Object.entries(beside))
    await writeFile(join(folder, "models", name, path), text);
}
await place("dense", dense);
await place("quantised", quantised);
await place("hidden", hidden);
await place("insisted", quantised, { "model.yaml": "batching: { maxBatchSize: 4 }\n" });
await place("zero", dense, { "config.pbtxt": "max_batch_size: 0\n" });
await place("eight", dense, { "config.pbtxt": "max_batch_size: 8\n" });
await place("never", dense, { "model.yaml": "batching: { maxBatchSize: 0 }\n" });

interface Opened extends OpenedEngine {
  readonly events: LongshoreEvent[];
  ask(model: string, input: Float32Array, tenant?: string): Promise<Float32Array>;
  /** So many requests, of several callers at a time. */
  load(model: string, count: number, tenants?: readonly string[]): Promise<void>;
  verdict(model: string): Extract<LongshoreEvent, { kind: "batching-decided" }> | undefined;
  decided(model: string): Promise<void>;
  /** Members of each run that began. */
  runs(model: string): readonly (readonly string[])[];
}

async function open(options: Partial<EngineOptions> = {}): Promise<Opened> {
  const events: LongshoreEvent[] = [];
  const { store } = await openModel(join(folder, "models"));
  const observer = { record: (event: LongshoreEvent) => void events.push(event) };
  const opened = openEngine({ store, observer, batching: "auto", maxQueued: 1000, ...options });
  let calls = 0;
  const call = housekeepingCall("test");
  const ask: Opened["ask"] = async (model, input, tenant = "t") => {
    const inputs: Tensors = tensorsOf(float32Tensor("x", [1, width], input));
    const segment = { model, version: "", digest: "", variant: "", from: startCut, to: endCut };
    const { outputs } = await opened.engine.infer(
      { segment, inputs, codecs: {} },
      { ...call, tenant, id: `${tenant}/${++calls}` },
    );
    return float32View(outputs.get("y")!);
  };
  const load: Opened["load"] = async (model, count, tenants = ["t"]) => {
    let left = count;
    const client = async (_: unknown, index: number): Promise<void> => {
      while (left-- > 0) await ask(model, values(width), tenants[index % tenants.length]);
    };
    await Promise.all(Array.from({ length: 16 }, client));
  };
  const verdict: Opened["verdict"] = (model) =>
    events.flatMap((one) => (one.kind === "batching-decided" && one.model === model ? [one] : []))[0];
  return {
    ...opened,
    events,
    ask,
    load,
    verdict,
    decided: (model) => expect.poll(() => verdict(model)).toBeDefined(),
    runs: (model) =>
      events.flatMap((one) =>
        one.kind === "batch-started" && one.model === model ? [one.callIds ?? []] : [],
      ),
  };
}

const largest = (runs: readonly (readonly string[])[]): number =>
  runs.reduce((most, { length }) => Math.max(most, length), 0);

describe("batching that the configuration does not enable", () => {
  it("joins requests of a tenant for a plain network, and 10,000 answers are those of each request alone", async () => {
    const inputs = Array.from({ length: 97 }, (_, index) => values(width, index % 7 === 0 ? 1000 : 1));
    const single = await open({ batching: "off" });
    const alone: Float32Array[] = [];
    for (const input of inputs) alone.push(await single.ask("dense", input));
    await single.close();
    const auto = await open();
    await auto.load("dense", 100, ["a", "b"]);
    await auto.decided("dense");
    expect(auto.verdict("dense")).toMatchObject({ because: "equal answers, and it pays", kept: false });
    let next = 0;
    let wrong = 0;
    const client = async (_: unknown, index: number): Promise<void> => {
      for (let asked = next++; asked < 10_000; asked = next++) {
        const which = asked % inputs.length;
        const answer = await auto.ask("dense", inputs[which]!, index % 2 === 0 ? "a" : "b");
        if (
          !Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength).equals(
            Buffer.from(alone[which]!.buffer),
          )
        )
          wrong++;
      }
    };
    await Promise.all(Array.from({ length: 24 }, client));
    await auto.close();
    expect(wrong).toBe(0);
    expect(largest(auto.runs("dense"))).toBeGreaterThan(4);
    for (const members of auto.runs("dense"))
      expect(new Set(members.map((id) => id.split("/")[0])).size).toBe(1);
  });

  it("joins none where one scale is taken from the whole batch, unless the operator says so", async () => {
    const auto = await open();
    await auto.load("hidden", 200);
    await auto.decided("hidden");
    expect(auto.verdict("hidden")).toMatchObject({
      maxRows: 1,
      because: "answers depend on the rows beside them",
    });
    for (const model of ["quantised", "hidden", "insisted"]) await auto.load(model, 300);
    await auto.close();
    expect(largest(auto.runs("quantised"))).toBe(1);
    expect(largest(auto.runs("hidden"))).toBe(1);
    expect(largest(auto.runs("insisted"))).toBe(4);
  });

  it("joins none where it is forbidden, and no more than the configuration allows", async () => {
    const auto = await open();
    await auto.load("eight", 200);
    await auto.decided("eight");
    for (const model of ["zero", "never", "eight"]) await auto.load(model, 300);
    await auto.close();
    expect(largest(auto.runs("zero"))).toBe(1);
    expect(largest(auto.runs("never"))).toBe(1);
    expect(largest(auto.runs("eight"))).toBeGreaterThan(1);
    expect(largest(auto.runs("eight"))).toBeLessThanOrEqual(8);
    const off = await open({ batching: "off" });
    await off.load("dense", 300);
    await off.close();
    expect(largest(off.runs("dense"))).toBe(1);
  });

  it("keeps the verdict for the next start", async () => {
    const cacheFolder = join(folder, "cache");
    const first = await open({ cacheFolder });
    await first.load("dense", 100);
    await first.decided("dense");
    await expect.poll(() => readdir(join(cacheFolder, "batching"))).toHaveLength(1);
    await first.close();
    const second = await open({ cacheFolder });
    await second.ask("dense", values(width));
    await second.decided("dense");
    await second.close();
    expect(second.verdict("dense")).toMatchObject({ maxRows: first.verdict("dense")?.maxRows, kept: true });
  });

  it("needs no requests where golden inputs lie beside the model", async () => {
    const pairs = Array.from({ length: 4 }, (_, index) => ({
      name: String(index),
      inputs: tensorsOf(float32Tensor("x", [1, width], values(width))),
      outputs: tensorsOf(float32Tensor("y", [1, width], values(width))),
    }));
    await place("golden", dense, { "1/golden.json": goldenText({ dataClass: "public", pairs }) });
    const auto = await open();
    await auto.engine.load("golden", undefined, housekeepingCall("test"));
    await auto.decided("golden");
    await auto.close();
    expect(auto.verdict("golden")).toMatchObject({ because: "equal answers, and it pays" });
    expect(auto.runs("golden")).toHaveLength(0);
  });
});
