import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loopModel } from "@longshore/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
let server: RunningServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-scalars-"));
  for (const name of ["plain", "declared"]) {
    await mkdir(join(folder, name, "1"), { recursive: true });
    await writeFile(join(folder, name, "1", "model.onnx"), loopModel());
  }
  await writeFile(
    join(folder, "declared", "config.pbtxt"),
    `backend: "onnxruntime"
     input { name: "trips" data_type: TYPE_INT64 dims: [ 1 ] }
     output { name: "total" data_type: TYPE_FP32 dims: [ 1 ] }`,
  );
  server = await serve({ store: (await openModel(folder)).store, port: 0 });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function total(model: string, shape: readonly number[]): Promise<unknown> {
  const body = JSON.stringify({ inputs: [{ name: "trips", datatype: "INT64", shape, data: [3] }] });
  const reply = await fetch(`${server.address}/v2/models/${model}/infer`, { method: "POST", body });
  const told = (await reply.json()) as { outputs?: { shape: number[]; data: number[] }[]; error?: string };
  return told.outputs?.[0] ? { shape: told.outputs[0].shape, status: reply.status } : told.error;
}

it("takes one element in any number of axes where the model takes a scalar", async () => {
  expect(await total("plain", [])).toEqual({ shape: [], status: 200 });
  expect(await total("plain", [1])).toEqual({ shape: [], status: 200 });
  expect(await total("plain", [1, 1])).toEqual({ shape: [], status: 200 });
});

it("serves a scalar that config.pbtxt declares as [1], as Triton does", async () => {
  expect(await total("declared", [1])).toEqual({ shape: [1], status: 200 });
});

it("refuses another number of elements for a scalar", async () => {
  const body = JSON.stringify({ inputs: [{ name: "trips", datatype: "INT64", shape: [2], data: [1, 2] }] });
  const reply = await fetch(`${server.address}/v2/models/plain/infer`, { method: "POST", body });
  expect(reply.status).toBe(400);
});
