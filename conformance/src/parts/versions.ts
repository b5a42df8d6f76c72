import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  float32Tensor,
  float32View,
  type Inputs,
  LongshoreError,
  type Offloader,
  openOffloader,
} from "longshore";
import { denseModel } from "../dense-models.ts";
import {
  type RunningPeer,
  type ServedModel,
  type ServerSetup,
  startGateway,
  startMlserver,
  startTriton,
} from "../servers/index.ts";
import { eachSelected, type Part, type PartContext } from "./part.ts";

const kinds = [
  { name: "triton", wire: "oip", start: (setup: ServerSetup) => startTriton(setup) },
  { name: "mlserver", wire: "json", start: startMlserver },
] as const;

const model = "two";
const values = Array.from({ length: 16 }, (_, index) => index / 16);
const input = (): Inputs => ({ x: float32Tensor("x", [1, 16], Float32Array.from(values)) });

interface Answer {
  readonly status: number;
  readonly said: string;
  readonly values: readonly number[];
}

async function infer(address: string, version?: string): Promise<Answer> {
  const path = version === undefined ? "" : `/versions/${version}`;
  const reply = await fetch(`http://${address}/v2/models/${model}${path}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 16], data: values }] }),
    signal: AbortSignal.timeout(120_000),
  });
  const said = await reply.text();
  const { outputs } = JSON.parse(said) as { outputs?: { data: number[] }[] };
  return { status: reply.status, said: said.slice(0, 200), values: outputs?.[0]?.data ?? [] };
}

async function ready(address: string, path: string): Promise<number> {
  return (await fetch(`http://${address}/v2/${path}`, { signal: AbortSignal.timeout(120_000) })).status;
}

function same(one: readonly number[], other: readonly number[]): boolean {
  return one.length === 16 && one.every((value, index) => Math.abs(value - (other[index] ?? NaN)) < 1e-4);
}

/** The answer of the offloader, or its error. */
async function answered(offloader: Offloader, version?: string): Promise<readonly number[] | LongshoreError> {
  try {
    const { outputs } = await offloader.infer(model, input(), version === undefined ? {} : { version });
    const y = outputs.get("y");
    return y ? [...float32View(y)] : [];
  } catch (thrown) {
    if (LongshoreError.is(thrown)) return thrown;
    throw thrown;
  }
}

const told = (answer: readonly number[] | LongshoreError): string =>
  answer instanceof LongshoreError ? `${answer.reason}: ${answer.message}` : `${answer.length} numbers`;

async function check(
  context: PartContext,
  { name: kind, wire, start }: (typeof kinds)[number],
  models: readonly ServedModel[],
): Promise<void> {
  const open: { close(): Promise<void> }[] = [];
  const folder = await mkdtemp(join(tmpdir(), `longshore-${kind}-`));
  const say = (name: string, good: boolean, detail: string): void =>
    context.told({ name: `${kind}: ${name}`, outcome: good ? "passed" : "failed", detail });
  const offloader = async ({ http }: RunningPeer): Promise<Offloader> => {
    const server = { address: `http://${http}`, kind: wire, trust: "operated", metrics: "none" } as const;
    const opened = await openOffloader({ servers: [server], defaults: { dataClass: "internal" } });
    open.push(opened);
    return opened;
  };
  try {
    const spread = { copies: 1, threads: 1 };
    const peer = await start({ models, cores: [0, 1], spread, folder });
    open.push(peer);
    const before = await startGateway({ servers: [peer.http], args: ["--at-kind", wire] });
    open.push(before);
    const app = await offloader(peer);
    const own = { 1: await infer(peer.http, "1"), 2: await infer(peer.http, "2") };
    say("has two versions that differ", !same(own[1].values, own[2].values), `${own[1].said} ${own[2].said}`);
    for (const version of ["1", "2"] as const) {
      const through = await infer(before.http, version);
      say(`version ${version} through a gateway`, same(through.values, own[version].values), through.said);
      const given = await answered(app, version);
      const right = !(given instanceof LongshoreError) && same(given, own[version].values);
      say(`version ${version} for an offloader`, right, told(given));
      const status = await ready(before.http, `models/${model}/versions/${version}/ready`);
      say(`version ${version} is ready through a gateway`, status === 200, `status ${status}`);
    }
    const newest = await answered(app);
    const right = !(newest instanceof LongshoreError) && same(newest, own[2].values);
    say("no version means the newest", right, told(newest));
    const there = await infer(peer.http, "9");
    const unknown = await infer(before.http, "9");
    say(
      "an unknown version is none through a gateway",
      unknown.status === 404,
      `${unknown.status} ${unknown.said}; itself ${there.status}`,
    );
    const unready = await ready(before.http, `models/${model}/versions/9/ready`);
    say("an unknown version is not ready", unready !== 200, `status ${unready}`);
    const none = await answered(app, "9");
    const named = none instanceof LongshoreError && /^unknown-(model|version)$/.test(none.reason);
    say("an unknown version is none for an offloader", named, told(none));
    await peer.close();
    const stopped = await answered(app);
    const gone = (one: typeof stopped): boolean =>
      one instanceof LongshoreError && /^(unreachable|no-answer|no-endpoint)$/.test(one.reason);
    say("an offloader that used it says that it is gone", gone(stopped), told(stopped));
    const fresh = await answered(await offloader(peer));
    say("an offloader that never saw it says that nobody is there", gone(fresh), told(fresh));
    const failed = await infer(before.http);
    say(
      "a gateway answers that no server is left then",
      failed.status === 502 || failed.status === 503,
      `${failed.status} ${failed.said}`,
    );
    let status = 200;
    const untilMs = performance.now() + 120_000;
    while (status === 200 && performance.now() < untilMs) {
      status = await ready(before.http, `models/${model}/ready`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    say("the model is not ready through a gateway once it is stopped", status !== 200, `status ${status}`);
  } finally {
    for (const one of open.reverse()) await one.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Two versions of a model at servers of other makes, one that no server has, and a server that is stopped. */
export const versionsPart: Part = {
  name: "versions",
  async run(context) {
    const folder = await mkdtemp(join(tmpdir(), "longshore-versions-"));
    try {
      const models: ServedModel[] = [];
      for (const version of ["1", "2"]) {
        const file = join(folder, `${version}.onnx`);
        const seed = Number(version);
        await writeFile(file, denseModel({ input: { name: "x", shape: [1, 16] }, output: "y", seed }));
        const tensor = (name: string) => ({ name, datatype: "FP32" as const, shape: [1, 16] });
        models.push({ name: model, version, file, input: tensor("x"), output: tensor("y"), batch: 1 });
      }
      await eachSelected(context, kinds, (kind) => check(context, kind, models));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
