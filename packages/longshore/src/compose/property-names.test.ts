import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { float32Tensor } from "@longshore/core";
import { onnxFile } from "@longshore/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openOffloader } from "./open-offloader.ts";
import { type RunningServer, serve } from "./serve.ts";

const names = ["__proto__", "constructor", "toString"];
let folder: string;
let server: RunningServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-names-"));
  await mkdir(join(folder, "names", "1"), { recursive: true });
  const file = onnxFile({
    inputs: names.map((name) => ({ name, datatype: "FP32", shape: [1] })),
    outputs: names.map((name) => ({ name: `${name}.`, datatype: "FP32" })),
    nodes: names.map((name) => ({ op: "Identity", inputs: [name], outputs: [`${name}.`] })),
  });
  await writeFile(join(folder, "names", "1", "model.onnx"), file);
  server = await serve({ repository: folder, port: 0 });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function ask(model: string, inputs: readonly string[]): Promise<unknown> {
  const body = JSON.stringify({
    inputs: inputs.map((name, at) => ({ name, datatype: "FP32", shape: [1], data: [at + 1] })),
  });
  const reply = await fetch(`${server.address}/v2/models/${model}/infer`, { method: "POST", body });
  const told = (await reply.json()) as { outputs?: { name: string; data: number[] }[] };
  expect(reply.status, JSON.stringify(told)).toBe(200);
  return told.outputs?.map(({ name, data }) => [name, ...data]);
}

it("runs models whose tensors have the names of properties of every object", async () => {
  expect(await ask("names", names)).toEqual(names.map((name, at) => [`${name}.`, at + 1]));
});

it("sends such tensors to a server", async () => {
  await using offloader = await openOffloader({ servers: [server.address], beliefs: false });
  const inputs = Object.fromEntries(
    names.map((name, at) => [name, float32Tensor(name, [1], Float32Array.of(at))]),
  );
  const { outputs } = await offloader.infer("names", inputs, { dataClass: "public" });
  expect([...outputs.keys()]).toEqual(names.map((name) => `${name}.`));
});
