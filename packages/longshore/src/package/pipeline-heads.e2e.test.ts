import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { float32View, numericTensor, type Result, seededRandom, type Tensor } from "@longshore/core";
import { readHeads } from "@longshore/core/internal";
import { constantTrace, linkProxy } from "@longshore/lab";
import { newOperatorKey } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { installedSamples } from "../engine/samples.ts";
import { serve } from "../compose/serve.ts";

/** The output of a 16-bit converter at a plant: volts first, then the network that says how unusual they are. */
const plant = `name: plant
dataClass: public
inputs: [{ name: raw, datatype: INT16, shape: [1, 32, 4096] }]
outputs: [{ name: score, datatype: FP32, shape: [-1, 1] }]
pipeline:
  steps:
    - { id: volts, transform: cast, with: { datatype: FP32, scale: 0.000244140625 }, inputs: { tensor: raw } }
    - { id: judge, model: anomaly, inputs: { readings: volts.tensor } }
  outputs: { score: judge.score }
`;
/**
 * 262 kB; the crossing at c3 of the judging step has 33 kB. The profile of the pipeline names more cuts of that step than the
 * package of its model lists heads to.
 */
const random = seededRandom(1);
const raw = numericTensor(
  "raw",
  "INT16",
  [1, 32, 4096],
  Int16Array.from({ length: 32 * 4096 }, () => 4096 * (random.next() - 0.5)),
);
const exact = { dataClass: "public", minAgreementRatio: 1 } as const;

const key = newOperatorKey();
let folder: string;
let score: number;
const file = (name: string): string => join(folder, name);
const scoreOf = ({ outputs }: Result): number => float32View(outputs.get("score") as Tensor)[0] ?? NaN;
const segments = ({ accounts }: Result): readonly string[] =>
  accounts.map(
    ({ endpoint, segment: { from, to } }) => `${from}..${to} ${endpoint === "device" ? "here" : "there"}`,
  );

async function longshore(...words: readonly string[]): Promise<void> {
  const { code, notes } = await command(...words);
  expect([code, code === 0 ? "" : notes]).toEqual([0, ""]);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-pipeline-heads-"));
  cpSync(join((await installedSamples())!, "anomaly"), file("models/anomaly"), { recursive: true });
  mkdirSync(file("models/plant/1"), { recursive: true });
  await writeFile(file("models/plant/model.yaml"), plant);
  mkdirSync(file("inputs"));
  await writeFile(file("inputs/raw.raw"), raw.bytes);
  await longshore("profile", file("models/plant"), "--samples", file("inputs"), "--runs", "2", "--write");
  await writeFile(file("operator.pem"), key.privatePem);
  for (const model of ["anomaly", "plant"])
    await longshore("package", "sign", file(`models/${model}`), "--key", file("operator.pem"), "--heads");
  await using whole = await openOffloader({ repository: file("models") });
  score = scoreOf(await whole.infer("plant", { raw }, exact));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The models of the steps first. */
const device = (from: string, into: string, servers: readonly string[]) =>
  openOffloader({
    servers,
    packages: {
      from,
      into: file(into),
      operatorKeys: key.publicLine,
      wanted: [{ model: "anomaly" }, { model: "plant" }],
    },
  });
const blobs = (cache: string): readonly string[] =>
  readdirSync(file(`${cache}/blobs`)).map((name) => `sha256:${name}`);
const graph = () => readHeads(readFileSync(file("models/anomaly/heads.json"))).graphs[0]!;

it("a device runs the first steps of a pipeline and a head of the next one that it fetched, before a tail elsewhere", async () => {
  const server = await serve({ store: (await openModel(file("models"))).store, port: 0 });
  await using link = await linkProxy({
    target: { port: Number(new URL(server.address).port) },
    up: constantTrace(20e6),
    down: constantTrace(100e6),
    delayMs: 2,
  });
  const app = await device(server.address, "splits", [`http://127.0.0.1:${link.port}`]);
  await vi.waitFor(
    async () => {
      const result = await app.infer("plant", { raw }, exact);
      expect(segments(result)).toEqual(["start..judge.c3 here", "judge.c3..end there"]);
      expect(scoreOf(result)).toBeCloseTo(score, 4);
    },
    { timeout: 60_000, interval: 50 },
  );
  expect(blobs("splits")).toContain(graph().heads.find(({ cut }) => cut.id === "c3")!.digest);
  expect(blobs("splits")).not.toContain(graph().digest);
  await app.close();
  await server.close(0);
});

it("a request that must not leave the device makes it fetch the models of all steps whole", async () => {
  const server = await serve({ store: (await openModel(file("models"))).store, port: 0 });
  const app = await device(server.address, "private", [server.address]);
  const result = await app.infer("plant", { raw }, { ...exact, dataClass: "restricted" });
  expect(segments(result)).toEqual(["start..end here"]);
  expect(scoreOf(result)).toBeCloseTo(score, 4);
  expect(blobs("private")).toContain(graph().digest);
  await app.close();
  await server.close(0);
});
