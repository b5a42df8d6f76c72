import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { graphBuilder, writeModel } from "@longshore/graph";
import { float32Tensor, float32View, type Inputs, type Offloader, openOffloader } from "longshore";
import {
  type RunningPeer,
  type ServedModel,
  type ServerSetup,
  startGateway,
  startKserve,
  startLongshore,
  startMlserver,
  startTriton,
} from "../servers/index.ts";
import { eachSelected, type Part, type PartContext } from "./part.ts";

/** A kind of server that is not ours. */
interface Kind {
  readonly name: string;
  readonly wire: "oip" | "json";
  start(setup: ServerSetup): Promise<RunningPeer>;
}

const kinds: readonly Kind[] = [
  { name: "triton", wire: "oip", start: (setup) => startTriton(setup, { metrics: true }) },
  { name: "kserve", wire: "oip", start: startKserve },
  { name: "mlserver", wire: "json", start: startMlserver },
];

const width = 512;

/** Some tens of milliseconds of dense layers between a few numbers and a few numbers, so that queues come about. */
function slowModel(): Uint8Array {
  const random = seededRandom(1);
  const weights = (rows: number, columns: number): Float32Array =>
    Float32Array.from({ length: rows * columns }, () => (random.next() - 0.5) * Math.sqrt(12 / rows));
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 16]);
  const wide = build.node("MatMul", [x, build.weights("first", "FP32", [16, width], weights(16, width))]);
  const square = build.weights("square", "INT64", [2], BigInt64Array.of(BigInt(width), BigInt(width)));
  let value = build.node("Expand", [wide, square]);
  const layer = build.weights("layer", "FP32", [width, width], weights(width, width));
  for (let count = 0; count < 12; count++) value = build.node("Tanh", [build.node("MatMul", [value, layer])]);
  const mean = build.node("ReduceMean", [value], {
    attributes: { axes: { ints: [0] }, keepdims: { int: 1 } },
  });
  const last = build.weights("last", "FP32", [width, 16], weights(width, 16));
  build.output(build.node("MatMul", [mean, last], { outputs: ["y"] }), "FP32", [1, 16]);
  return writeModel(build.model({ name: "slow", opset: 13 }));
}

const values = Array.from({ length: 16 }, (_, index) => index / 16);

const input = (): Inputs => ({ x: float32Tensor("x", [1, 16], Float32Array.from(values)) });

interface Answer {
  readonly status: number;
  readonly values: readonly number[];
  readonly error: string;
}

async function infer(address: string, path: string, shape: readonly number[] = [1, 16]): Promise<Answer> {
  const data = values.slice(
    0,
    shape.reduce((product, size) => product * size, 1),
  );
  const reply = await fetch(`http://${address}/v2/models/${path}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape, data }] }),
    signal: AbortSignal.timeout(120_000),
  });
  const json = (await reply.json()) as { outputs?: { data: number[] }[]; error?: string };
  return { status: reply.status, values: json.outputs?.[0]?.data ?? [], error: json.error ?? "" };
}

function same(one: readonly number[], other: readonly number[]): boolean {
  return one.length === 16 && one.every((value, index) => Math.abs(value - (other[index] ?? NaN)) < 1e-4);
}

/** Keeps this many requests under way at a server until it is stopped. */
function crowd(address: string, count: number): () => Promise<void> {
  const stop = new AbortController();
  const one = async (): Promise<void> => {
    while (!stop.signal.aborted) await infer(address, "slow").catch(() => undefined);
  };
  const all = Promise.all(Array.from({ length: count }, one));
  return async () => {
    stop.abort();
    await all;
  };
}

/** Which share of an offloader's requests went past the server that others crowd. */
async function pastCrowd(offloader: Offloader, crowded: string, count: number): Promise<number> {
  let past = 0;
  for (let round = 0; round < count; round++) {
    const { where } = await offloader.infer("slow", input());
    if (where !== crowded) past++;
  }
  return past / count;
}

/** An operator's trial with two servers of one kind and a gateway. */
async function check(
  context: PartContext,
  kind: Kind,
  model: ServedModel,
  right: readonly number[],
): Promise<void> {
  const open: { close(): Promise<void> }[] = [];
  const folders: string[] = [];
  const start = async (): Promise<RunningPeer> => {
    const folder = await mkdtemp(join(tmpdir(), `longshore-${kind.name}-`));
    folders.push(folder);
    const spread = { copies: 1, threads: 1 };
    const peer = await kind.start({ models: [model], cores: [0, 1], spread, folder });
    open.push(peer);
    return peer;
  };
  const told = (name: string, good: boolean, detail: string): void =>
    context.told({ name: `${kind.name}: ${name}`, outcome: good ? "passed" : "failed", detail });
  try {
    const [one, two] = [await start(), await start()];
    const alone = await startGateway({ servers: [one.http], args: ["--at-kind", kind.wire] });
    open.push(alone);
    const ready = await fetch(`http://${alone.http}/v2/models/slow/ready`);
    told("is ready through the gateway", ready.status === 200, `status ${ready.status}`);
    const answer = await infer(alone.http, "slow");
    told(
      "answers as our own server does",
      same(answer.values, right),
      `status ${answer.status} ${answer.error}`,
    );
    const unknown = await infer(alone.http, "nobody");
    told("has no other model", unknown.status === 404, `status ${unknown.status}: ${unknown.error}`);
    const wrong = await infer(alone.http, "slow", [1, 3]);
    told("refuses another shape", wrong.status >= 400, `status ${wrong.status}: ${wrong.error}`);
    const over = async (reads: boolean): Promise<Offloader> => {
      const servers = [one, two].map(({ http, metrics }) => ({
        address: `http://${http}`,
        id: http,
        kind: kind.wire,
        trust: "operated" as const,
        ...(reads && metrics !== undefined ? { metrics: `http://${metrics}/metrics` } : { metrics: "none" }),
      }));
      const offloader = await openOffloader({ servers, defaults: { dataClass: "internal" } });
      open.push(offloader);
      return offloader;
    };
    const [reading, blind] = [await over(true), await over(false)];
    const outputs = (await reading.infer("slow", input())).outputs.get("y");
    told("answers an offloader", outputs !== undefined && same([...float32View(outputs)], right), "");
    const leave = crowd(one.http, 12);
    // The belief from before the crowd came is corrected after a while.
    let share = 0;
    for (let round = 0; share <= 0.5 && round < 10; round++) share = await pastCrowd(reading, one.http, 30);
    const without = await pastCrowd(blind, one.http, 30);
    await leave();
    // Both servers share two cores, so the other one is slowed, too: more than half is the most that can be demanded, and both
    // shares are printed.
    told(
      "most requests go past a server that others crowd",
      share > 0.5,
      `${Math.round(share * 100)} % of 30; ${Math.round(without * 100)} % where no metrics are read`,
    );
  } finally {
    for (const one of open.reverse()) await one.close();
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  }
}

/** Other servers with a gateway and an offloader: right answers, errors, and load that is read from their metrics. */
export const otherServersPart: Part = {
  name: "other-servers",
  async run(context) {
    const folder = await mkdtemp(join(tmpdir(), "longshore-slow-"));
    try {
      const file = join(folder, "slow.onnx");
      await writeFile(file, slowModel());
      const tensor = (name: string) => ({ name, datatype: "FP32" as const, shape: [1, 16] });
      const model: ServedModel = { name: "slow", file, input: tensor("x"), output: tensor("y"), batch: 1 };
      const repository = join(folder, "repository");
      await mkdir(repository);
      const spread = { copies: 1, threads: 1 };
      const own = await startLongshore({ models: [model], cores: [0, 1], spread, folder: repository });
      const right = (await infer(own.http, "slow")).values;
      await own.close();
      await eachSelected(context, kinds, (kind) => check(context, kind, model, right));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
