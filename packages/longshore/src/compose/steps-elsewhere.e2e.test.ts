import { afterEach, expect, it } from "vitest";
import {
  type CutProfile,
  float32View,
  type Inputs,
  isInfeasible,
  type Limits,
  type Offloader,
  type Policy,
  type Profile,
  type SegmentPattern,
  type Tensor,
  tensorOf,
  textElements,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { systemClock } from "@longshore/nodejs";
import { memoryStore, type MemoryStore } from "@longshore/testkit";
import { untilKnown } from "@longshore/testkit/until-known";
import { forwardingTo } from "./forwarding.ts";
import { type LocalOptions, openLocal } from "./open-offloader.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { portsAt } from "../connect/described-at.ts";
import { measureModel } from "../profile/measure.ts";
import { openEngine } from "../engine/open-engine.ts";
import { type RunningServer, serve } from "./serve.ts";

const open: { close(graceMs?: number): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});

/** The mean of each channel of an image as the score of its colour; the two inputs and outputs have unusual names. */
function colours(): Uint8Array {
  const build = graphBuilder();
  const pixels = build.input("data:0", "FP32", ["rows", 3, 8, 8]);
  build.node("ReduceMean", [pixels], {
    outputs: ["colour.scores"],
    attributes: { axes: { ints: [2, 3] }, keepdims: { int: 0 } },
  });
  build.output("colour.scores", "FP32", ["rows", 3]);
  build.node("ReduceMean", [pixels], {
    outputs: ["mean"],
    attributes: { axes: { ints: [1, 2, 3] }, keepdims: { int: 0 } },
  });
  build.output("mean", "FP32", ["rows"]);
  return writeModel(build.model({ name: "colours", opset: 13 }));
}

/** Turns scores around, so that the least is the largest. */
function inverse(): Uint8Array {
  const build = graphBuilder();
  build.node("Neg", [build.input("in", "FP32", [-1, 3])], { outputs: ["out"] });
  build.output("out", "FP32", [-1, 3]);
  return writeModel(build.model({ name: "inverse", opset: 13 }));
}

const coloursPorts = `{
        inputs: [{ name: "data:0", datatype: FP32, shape: [-1, 3, 8, 8] }],
        outputs: [{ name: colour.scores, datatype: FP32, shape: [-1, 3] }],
      }`;
const inversePorts = `{
        inputs: [{ name: in, datatype: FP32, shape: [-1, 3] }],
        outputs: [{ name: out, datatype: FP32, shape: [-1, 3] }],
      }`;

/** Resized and normalised here, scored elsewhere (twice where `also` says so), ranked here; the small image comes along. */
function pipeline({
  elsewhere = coloursPorts,
  also = "",
  scores = "look.colour.scores",
  version = "",
} = {}): string {
  return `inputs: [{ name: image, datatype: UINT8, shape: [-1, -1, 3] }]
pipeline:
  steps:
    - { id: fit, transform: resize-image, with: { height: 8, width: 8 }, inputs: { image: image } }
    - { id: level, transform: normalise-image, inputs: { image: fit.image } }
    - id: look
      model: colours
      ${version}
      inputs: { "data:0": level.tensor }
      ${elsewhere === "" ? "" : `elsewhere: ${elsewhere}`}
    ${also}
    - { id: rank, transform: top-k, with: { k: 1, labels: [red, green, blue] }, inputs: { scores: ${scores} } }
  outputs: { label: rank.labels, score: rank.scores, small: fit.image }
`;
}

const turned = `- { id: turn, model: inverse, inputs: { in: look.colour.scores }, elsewhere: ${inversePorts} }`;

function repository(yaml: string): MemoryStore {
  return memoryStore({ "find/model.yaml": yaml, "find/1/pipeline.txt": "in model.yaml" });
}

async function server(
  models: Readonly<Record<string, Uint8Array | string>> = { "colours/1/model.onnx": colours() },
  id?: string,
): Promise<RunningServer> {
  const running = await serve({ store: memoryStore(models), port: 0, ...(id === undefined ? {} : { id }) });
  open.push(running);
  return running;
}

function device(
  /** Of the pipeline, where there is no store yet. */
  yaml: string,
  servers: readonly ServerOptions[],
  change: Partial<LocalOptions> = {},
): Offloader {
  const opened = openLocal({
    store: repository(yaml),
    servers,
    defaults: { dataClass: "internal" },
    ...change,
  });
  open.push(opened);
  return opened.offloader;
}

const plain = ({ address }: RunningServer, change: Partial<ServerOptions> = {}): ServerOptions => ({
  address,
  id: new URL(address).port,
  kind: "oip",
  trust: "operated",
  metrics: "none",
  ...change,
});

/** An image of one colour that leans to green. */
const image: Inputs = {
  image: tensorOf(
    "image",
    "UINT8",
    [16, 24, 3],
    Uint8Array.from({ length: 16 * 24 * 3 }, (_, at) => [51, 204, 102][at % 3] ?? 0),
  ),
};

async function labelled(offloader: Offloader, limits: Limits = {}) {
  const result = await offloader.infer("find", image, limits);
  const [label, score, small] = ["label", "score", "small"].map((name) => result.outputs.get(name)!);
  return {
    label: textElements(label!)[0],
    score: float32View(score!)[0],
    small: small!.spec.shape,
    result,
  };
}

async function runs({ address }: RunningServer, model: string): Promise<number> {
  const reply = await fetch(`${address}/v2/models/${model}/stats`);
  const { model_stats: stats } = (await reply.json()) as { model_stats: { inference_count: number }[] };
  return stats[0]?.inference_count ?? 0;
}

it("runs our transforms around a model that only a server of others has, under its names there", async () => {
  const there = await server();
  const offloader = device(pipeline(), [plain(there)]);
  const { label, score, small, result } = await labelled(offloader);
  expect([label, small]).toEqual(["green", [8, 8, 3]]);
  expect(score).toBeCloseTo(204 / 255, 5);
  const id = new URL(there.address).port;
  const legs = result.plans.flatMap((plan) =>
    plan.legs.map(({ segment: { from, to }, endpoint }) => `${from}..${to} ${endpoint}`),
  );
  expect(legs).toContain(`level..look ${id}`);
  expect(await runs(there, "colours")).toBe(1);
  // The activation is sent, not the image, nor values that the model does not read.
  expect(result.accounts.find(({ endpoint }) => endpoint === id)?.sentBytes).toBeLessThan(
    4 * 8 * 8 * 3 + 1000,
  );
  const plan = await offloader.explain("find", image);
  expect(isInfeasible(plan) ? plan.because : plan.because).toContain(id);
  expect(JSON.stringify(plan.lost)).toContain("only other endpoints have colours (step look)");
});

it.each(["json", "longshore"] as const)("uses a server of kind %s for the model of a step", async (kind) => {
  const offloader = device(pipeline(), [plain(await server(), { kind })]);
  expect(await labelled(offloader)).toMatchObject({ label: "green", small: [8, 8, 3] });
});

it("reads the inputs and outputs of the model from the servers if the pipeline does not state them", async () => {
  const there = await server();
  const yaml = pipeline({ elsewhere: "true" });
  expect((await labelled(device(yaml, [plain(there)]))).label).toBe("green");
  await expect(device(yaml, [plain(await server({}))]).infer("find", image)).rejects.toMatchObject({
    reason: "no-endpoint",
    message: expect.stringContaining(
      "no other endpoint states the inputs and outputs of colours (step look)",
    ) as string,
  });
});

it("runs steps at several endpoints, planning again between them", async () => {
  const [one, two] = [await server(), await server({ "inverse/1/model.onnx": inverse() })];
  const offloader = device(pipeline({ also: turned, scores: "turn.out" }), [plain(one), plain(two)]);
  const { label, small, result } = await labelled(offloader);
  expect([label, small]).toEqual(["red", [8, 8, 3]]);
  expect(await Promise.all([runs(one, "colours"), runs(two, "inverse")])).toEqual([1, 1]);
  expect(result.plans.length).toBeGreaterThan(1);
});

it("chooses among servers that have the model, and goes on with another one when one is gone", async () => {
  const servers = [await server(), await server()];
  const offloader = device(
    pipeline(),
    servers.map((one) => plain(one)),
  );
  for (let round = 0; round < 3; round++) expect((await labelled(offloader)).label).toBe("green");
  const counts = await Promise.all(servers.map((one) => runs(one, "colours")));
  // More if one was late and the other got the request, too.
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(3);
  expect(await offloader.availability("find")).toBe("available");
  const used = servers[counts.indexOf(Math.max(...counts))]!;
  await used.close(0);
  expect((await labelled(offloader)).label).toBe("green");
  await Promise.all(servers.map((one) => one.close(0)));
  // Or, if it was polled meanwhile, that no endpoint is left.
  await expect(labelled(offloader)).rejects.toMatchObject({
    reason: expect.stringMatching(/^(unreachable|no-endpoint)$/) as string,
  });
  // Each is paused briefly after it could not be reached.
  const availability = async (): Promise<unknown> => {
    await labelled(offloader).catch(() => undefined);
    return offloader.availability("find");
  };
  await expect.poll(availability, { timeout: 60_000 }).toBe("unavailable");
});

it.each([
  ["its tensors have other names", { "colours/1/model.onnx": inverse() }],
  ["there is no such model", { "inverse/1/model.onnx": inverse() }],
])("finds no endpoint at a server where %s", async (_why, models) => {
  const said: string[] = [];
  const observer = {
    record: (event: { kind: string; message?: string }) =>
      void (event.kind === "failure" && said.push(event.message ?? "")),
  };
  const there = await server(models);
  const offloader = device(pipeline(), [plain(there)], { observer });
  await expect(labelled(offloader)).rejects.toMatchObject({
    reason: "no-endpoint",
    message: expect.stringContaining("only other endpoints have colours (step look)") as string,
  });
  const differs = "colours/1/model.onnx" in models;
  expect(said.join()).toContain(differs ? "it takes in FP32 [-1, 3] and gives out FP32 [-1, 3]" : "");
  expect(await runs(there, differs ? "colours" : "inverse")).toBe(0);
});

const keeps: Policy = {
  decide: ({ zone, reveals }) =>
    zone === "device" || reveals !== "input" ? { allow: true } : { allow: false, rule: "pictures stay here" },
};

it.each([
  ["a policy that keeps what is like the input here", { policy: keeps }, {}, {}, "policy-denied"],
  ["the caller's zones", {}, { zone: "us" }, { zones: ["eu"] }, "policy-denied"],
  ["the trust that the caller demands", {}, { trust: "listed" }, { leastTrust: "operated" }, "policy-denied"],
  ["a class of data that no policy lets go", {}, {}, { dataClass: "unknown" }, "policy-denied"],
] as const)("sends nothing to a server of others against %s", async (_rule, change, at, limits, reason) => {
  const there = await server();
  const offloader = device(pipeline(), [plain(there, at)], change);
  await expect(labelled(offloader, limits)).rejects.toMatchObject({ reason });
  expect(await runs(there, "colours")).toBe(0);
});

it("lets declassified outputs of a step go where the picture may not", async () => {
  const yaml = pipeline().replace(
    "transform: normalise-image,",
    "transform: normalise-image, declassifiesTo: public,",
  );
  const limits: Limits = { dataClass: "restricted" };
  const there = await server();
  await expect(labelled(device(pipeline(), [plain(there)]), limits)).rejects.toMatchObject({
    reason: "policy-denied",
  });
  // A value that the model does not read is not sent, but crosses there, so the picture must not be among it.
  const alone = yaml.replace(", small: fit.image", "");
  const result = await device(alone, [plain(there)]).infer("find", image, limits);
  expect(textElements(result.outputs.get("label")!)).toEqual(["green"]);
});

it("uses the version that the step names, and the operator's other name for it", async () => {
  const versions = { "colours/1/model.onnx": inverse(), "colours/2/model.onnx": colours() };
  const both = await server({ ...versions, "colours/model.yaml": 'versions: { specific: ["1", "2"] }' });
  const second = device(pipeline({ version: 'version: "2"' }), [plain(both)]);
  expect((await labelled(second)).label).toBe("green");
  const first = device(pipeline({ version: 'version: "1"' }), [plain(both)]);
  await expect(labelled(first)).rejects.toMatchObject({ reason: "no-endpoint" });
  const other = await server({ "colours-v7/1/model.onnx": colours() });
  for (const segment of [{ model: "colours" }, { model: "find", from: "level", to: "look" }]) {
    const offloader = device(pipeline(), [plain(other, { serves: [{ segment, as: "colours-v7" }] })]);
    expect((await labelled(offloader)).label).toBe("green");
  }
  expect(await runs(other, "colours-v7")).toBe(2);
});

/** The same profile of a device on which the model takes a tenth of a second, and the other steps no time. */
function slowLook(profile: Profile): Profile {
  const heads: Readonly<Record<string, number>> = { start: 0, fit: 1, level: 2, look: 102 };
  const timed = (cut: CutProfile): CutProfile => {
    const headMs = heads[cut.cut.id] ?? 103;
    return { ...cut, headMs: [headMs], tailMs: [103 - headMs] };
  };
  const variants = profile.variants.map((variant) => ({
    ...variant,
    buckets: variant.buckets.map((bucket) => ({ ...bucket, cuts: bucket.cuts.map(timed) })),
  }));
  return { ...profile, variants };
}

it("runs a step here or, where the operator listed its model, at a server of others, as is cheaper", async () => {
  const there = await server();
  const store = repository(pipeline({ elsewhere: "" }));
  store.put("colours/1/model.onnx", colours());
  const { engine, close } = openEngine({ store });
  const sample = new Map([["image", image["image"] as Tensor]]);
  const clock = systemClock();
  const about = {
    engine,
    clock,
    model: "find",
    runtime: "onnxruntime",
    samples: [sample],
    rounds: 1,
    codecs: [],
  };
  const profile = await measureModel(about, housekeepingCall("profile"));
  await close();
  store.put("find/1/profile.json", JSON.stringify(slowLook(profile)));
  const at = (segment: SegmentPattern) => [plain(there, { serves: [{ segment, as: "colours" }] })];
  const change = {
    store,
    device: { activeWatts: 100 },
    defaults: { dataClass: "internal", objective: "energy" },
  } as const;
  const here = await labelled(device("", [plain(there)], change));
  expect([here.label, here.result.where, await runs(there, "colours")]).toEqual(["green", "device", 0]);
  for (const segment of [{ model: "colours" }, { model: "find", from: "level", to: "look" }]) {
    const listed = device("", at(segment), change);
    await untilKnown(listed, "find", image, [new URL(there.address).port]);
    const before = await runs(there, "colours");
    // If a busy machine makes that endpoint late, this one is quicker.
    do expect((await labelled(listed)).label).toBe("green");
    while ((await runs(there, "colours")) === before);
  }
});

it("carries frames of a stream to a model of others", async () => {
  const there = await server();
  const frames = device(pipeline(), [plain(there, { kind: "longshore" })]).stream(
    "find",
    [image, image, image],
    {
      keep: "every",
    },
  );
  const labels: unknown[] = [];
  for await (const frame of frames) {
    labels.push(frame.kind === "answered" ? textElements(frame.result.outputs.get("label")!)[0] : frame);
  }
  expect(labels).toEqual(["green", "green", "green"]);
  expect(await runs(there, "colours")).toBe(3);
});

it("sends all rows of a batch in one request", async () => {
  const yaml = `inputs: [{ name: batch, datatype: FP32, shape: [-1, 3, 8, 8] }]
pipeline:
  steps:
    - id: look
      model: colours
      inputs: { "data:0": batch }
      elsewhere: ${coloursPorts}
    - { id: rank, transform: top-k, with: { k: 1 }, inputs: { scores: look.colour.scores } }
  outputs: { classes: rank.classes }
`;
  const there = await server();
  const data = Float32Array.from({ length: 5 * 3 * 64 }, (_, at) => Number(Math.floor(at / 64) % 3 === 2));
  const { outputs } = await device(yaml, [plain(there)]).infer("find", { batch: data });
  expect(outputs.get("classes")?.spec.shape).toEqual([5, 1]);
  expect(await runs(there, "colours")).toBe(1);
});

/** An edge server that has the pipeline, in front of a server that has the model. */
async function edge(there: RunningServer | undefined, elsewhere: string): Promise<RunningServer> {
  const servers = there ? [plain(there)] : [];
  const running = await serve({
    store: repository(pipeline({ elsewhere })),
    port: 0,
    id: "edge",
    elsewhere: portsAt({ servers }),
    unstatedRules: { dataClass: "internal", leastTrust: "none" },
    ...(there ? { wrap: forwardingTo({ servers }) } : {}),
  });
  open.push(running);
  return running;
}

const body = JSON.stringify({
  inputs: [{ name: "image", datatype: "UINT8", shape: [1, 1, 3], data: [0, 0, 255] }],
});

it.each([coloursPorts, "true"])(
  "is served by an edge server in front of the server that has the model",
  async (ports) => {
    const there = await server();
    const { address } = await edge(there, ports);
    const url = `${address}/v2/models/find`;
    const reply = await fetch(`${url}/infer`, { method: "POST", body });
    expect(await reply.json()).toMatchObject({
      outputs: [{ name: "label", data: ["blue"] }, { name: "score" }, { name: "small" }],
    });
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    // An app that has neither the pipeline nor the model takes the edge server's word for both.
    const opened = openLocal({
      servers: [{ address, id: "edge", trust: "operated" }],
      defaults: { dataClass: "internal" },
    });
    open.push(opened);
    const { label, result } = await labelled(opened.offloader);
    expect([label, result.where]).toEqual(["green", "edge"]);
    expect(await runs(there, "colours")).toBe(2);
    const path = result.plans[0]!.legs.find(({ endpoint }) => endpoint === "edge")!;
    expect(path.segment).toMatchObject({ from: "start", to: "end" });
    await there.close(0);
    await fetch(`${url}/infer`, { method: "POST", body });
    await expect.poll(async () => (await fetch(`${url}/ready`)).status, { timeout: 60_000 }).toBe(503);
  },
);

it("names the missing part if a server has the pipeline, and none the model", async () => {
  const { address } = await edge(undefined, coloursPorts);
  const reply = await fetch(`${address}/v2/models/find/infer`, { method: "POST", body });
  expect(reply.status).toBe(503);
  expect(await reply.text()).toContain("step look runs model colours, which only other endpoints have");
});
