import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { float32Tensor, float32View, type Tensor } from "@longshore/core";
import { entryJson, sign } from "@longshore/core/internal";
import { newOperatorKey, operatorSigner } from "@longshore/nodejs";
import { testEntry } from "@longshore/testkit";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { gateway } from "../compose/forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { serve } from "../compose/serve.ts";

const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const empty = { list: async () => [], read: async () => undefined };
const x: Tensor = float32Tensor("x", [1, 4], Float32Array.of(1, 2, 3, 4));
let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-packages-"));
  await writeDouble(file("models"));
  await writeFile(file("models/double/labels.txt"), "one\ntwo\n");
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
});
afterAll(() => rmSync(folder, { recursive: true }));

it("a model is signed, fetched over HTTP from where it broke off, checked, and served as configured", async () => {
  const signed = await command("package", "sign", file("models/double"), "--key", file("operator.pem"));
  expect(signed.out).toMatch(/^sha256:[0-9a-f]{64}$/);
  const digest = signed.out;
  const keys = ["--operator-keys", file("operator.pub")];
  expect((await command("package", "check", file("models/double"), ...keys)).code).toBe(0);
  const origin = await serve({ store: (await openModel(file("models"))).store, port: 0 });

  const into = ["--from", origin.address, "--into", file("cache")];
  const cached = await command("package", "fetch", "double", ...into, ...keys);
  expect([cached.code, cached.out]).toEqual([0, digest]);
  expect(readdirSync(file("cache/blobs"))).toHaveLength(2);
  const again = await command("package", "fetch", digest, ...into);
  expect(again.out).toBe(digest);
  expect((await command("package", "fetch", "double", ...into)).notes).toContain("not-permitted");
  const part = await fetch(`${origin.address}/v2/models/double/package`);
  const { body } = (await part.json()) as {
    body: { files: { path: string; digest: string; bytes: number }[] };
  };
  const labels = body.files.find(({ path }) => path === "labels.txt")!;
  const files = `${origin.address}/v2/packages/${digest}/files`;
  const ranged = await fetch(`${files}/${labels.digest}`, { headers: { range: "bytes=4-" } });
  expect([ranged.status, ranged.headers.get("content-range"), await ranged.text()]).toEqual([
    206,
    "bytes 4-7/8",
    "two\n",
  ]);
  const beyond = await fetch(`${files}/${labels.digest}`, { headers: { range: "bytes=8-" } });
  expect([beyond.status, beyond.headers.get("content-range"), await beyond.json()]).toEqual([
    416,
    "bytes */8",
    { error: "the file has 8 bytes, and 8 were left out", reason: "invalid-input", stage: "admission" },
  ]);
  const missing = await fetch(`${files}/sha256:${"0".repeat(64)}`);
  expect([missing.status, await missing.json()]).toMatchObject([
    404,
    { error: `package ${digest} has no file 'sha256:${"0".repeat(64)}'` },
  ]);
  expect((await fetch(`${origin.address}/v2/packages/${"x".repeat(20)}`)).status).toBe(404);

  // A gateway knows the operator's entry; a server that joins as that endpoint gets the models that it names, also if it was
  // started for that, and is not ready without.
  const gate = await gateway({
    port: 0,
    id: "gate",
    dataClass: "public",
    joins: { operatorKeys: key.publicLine },
  });
  const { address: _joins, ...unplaced } = testEntry({ id: "till", packages: [digest] });
  const entry = { ...(await sign("directory entry", entryJson(unplaced), operator)), body: unplaced };
  const reports: string[] = [];
  const till = await serve({
    store: empty,
    port: 0,
    id: "till",
    zone: "eu/de",
    loadModels: ["double"],
    exitOnError: false,
    join: { address: gate.address, entry },
    pull: { from: origin.address, into: file("till"), operatorKeys: key.publicLine },
    report: (text) => reports.push(text),
  });
  const app = await openOffloader({ directory: gate.address });
  await vi.waitFor(
    async () => {
      const { outputs, where } = await app.infer("double", { x }, { dataClass: "public" });
      expect([where, ...float32View(outputs.get("y") as Tensor)]).toEqual(["till", 2, 4, 6, 8]);
    },
    { timeout: 60_000, interval: 100 },
  );
  expect(reports).toEqual([
    expect.stringContaining("failed to load 'double'"),
    `package ${digest}: double is here and loaded`,
  ]);
  const ready = async (): Promise<number> => (await fetch(`${till.address}/v2/health/ready`)).status;
  await vi.waitFor(async () => expect(await ready()).toBe(200), 60_000);
  // It passes on the packages that it fetched.
  const passed = await command("package", "fetch", digest, "--from", till.address, "--into", file("third"));
  expect(passed.out).toBe(digest);
  await app.close();
  await Promise.all([till.close(0), gate.close(0), origin.close(0)]);

  writeFileSync(file("models/double/labels.txt"), "changed");
  const checked = await command("package", "check", file("models/double"), ...keys);
  expect([checked.code, checked.notes]).toEqual([1, "labels.txt has another content"]);
});

it("a package that is not the operator's is not served, and said so", async () => {
  const stranger = newOperatorKey();
  await writeFile(file("stranger.pem"), stranger.privatePem);
  await command("package", "sign", file("models/double"), "--key", file("stranger.pem"));
  const origin = await serve({ store: (await openModel(file("models"))).store, port: 0 });
  const reports: string[] = [];
  const till = await serve({
    store: empty,
    port: 0,
    pull: {
      from: origin.address,
      into: file("refused"),
      operatorKeys: key.publicLine,
      wanted: [{ model: "double" }],
    },
    report: (text) => reports.push(text),
  });
  expect(reports).toEqual([expect.stringMatching(/not one of the operator's.*; tried again in 30 s/)]);
  expect((await fetch(`${till.address}/v2/health/ready`)).status).not.toBe(200);
  // The model is still wanted: its right package may come.
  expect((await fetch(`${till.address}/v2/models/double`)).status).toBe(503);
  await Promise.all([till.close(0), origin.close(0)]);
});

it("a server whose package cannot be had is not ready until it comes, and says that it tries", async () => {
  await command("package", "sign", file("models/double"), "--key", file("operator.pem"));
  const origin = await serve({ store: (await openModel(file("models"))).store, port: 0 });
  const { port } = new URL(origin.address);
  await origin.close(0);
  const reports: string[] = [];
  const till = await serve({
    store: empty,
    port: 0,
    pull: {
      from: origin.address,
      into: file("late"),
      operatorKeys: key.publicLine,
      wanted: [{ model: "double" }],
      againMs: 200,
    },
    report: (text) => reports.push(text),
  });
  const health = async (what: string): Promise<number> =>
    (await fetch(`${till.address}/v2/health/${what}`)).status;
  expect([await health("live"), await health("ready")]).toEqual([200, 503]);
  await vi.waitFor(() => expect(reports.length).toBeGreaterThan(2), 60_000);
  expect(await health("ready")).toBe(503);
  expect(reports[0]).toMatch(/^package double: .*127\.0\.0\.1.*; tried again in 1 s$/);
  const back = await serve({ store: (await openModel(file("models"))).store, port: Number(port) });
  await vi.waitFor(async () => expect(await health("ready")).toBe(200), 60_000);
  expect((await fetch(`${till.address}/v2/models/double/ready`)).status).toBe(200);
  await Promise.all([till.close(0), back.close(0)]);
});

it("a pipeline that is signed with heads has none, and it is said where they are", async () => {
  await mkdir(file("models/twice/1"), { recursive: true });
  await writeFile(
    file("models/twice/model.yaml"),
    `
inputs: [{ name: x, datatype: FP32, shape: [1, 4] }]
outputs: [{ name: y, datatype: FP32, shape: [1, 4] }]
pipeline:
  steps: [{ id: once, model: double, inputs: { x: x } }]
  outputs: { y: once.y }
`,
  );
  const signing = ["package", "sign", file("models/twice"), "--key", file("operator.pem"), "--heads"];
  const { code, notes } = await command(...signing);
  expect([code, notes]).toEqual([0, expect.stringContaining("no heads: twice is a pipeline")]);
});

it("signing warns of a model that no server can read", async () => {
  await mkdir(file("models/broken/1"), { recursive: true });
  await writeFile(file("models/broken/1/model.onnx"), "no model");
  const { code, notes } = await command(
    "package",
    "sign",
    file("models/broken"),
    "--key",
    file("operator.pem"),
  );
  expect(code).toBe(0);
  expect(notes).toMatch(/^warning: broken 1 cannot be served: .*ONNX/m);
  await rm(file("models/broken"), { recursive: true });
});
