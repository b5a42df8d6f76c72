import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "../compose/serve.ts";

const main = fileURLToPath(new URL("../../dist/command/main.js", import.meta.url));
const model = `
dataClass: public
inputs: [{ name: IN, datatype: INT32, shape: [-1] }]
pipeline:
  steps: [{ id: repeat, transform: repeat, inputs: { values: IN } }]
  outputs: { OUT: repeat.value }
`;

let folder: string;
let running: RunningServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-request-"));
  await mkdir(join(folder, "models", "only-there", "1"), { recursive: true });
  await writeFile(join(folder, "models", "only-there", "model.yaml"), model);
  await writeFile(join(folder, "in.json"), "[4, 5]");
  const { store } = await openModel(join(folder, "models"));
  running = await serve({ store, port: 0, grpcPort: 0, id: "there" });
});
afterAll(async () => {
  await running.close(0);
  await rm(folder, { recursive: true, force: true });
});

function command(...args: readonly string[]): Promise<{ code: unknown; out: string; error: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { cwd: folder }, (failure, out, error) =>
      resolve({ code: failure ? failure.code : 0, out, error }),
    );
  });
}

it("uses a server for a model that only the server has", async () => {
  const done = await command(
    "infer",
    "only-there",
    "in.json",
    "--at",
    running.address,
    "--several",
    "--json",
  );
  expect(done.error).not.toContain("error");
  const answers = done.out.trim().split("\n");
  expect(answers.map((line) => (JSON.parse(line) as { outputs: { OUT: unknown } }).outputs.OUT)).toEqual([
    { datatype: "INT32", shape: [1], data: [4] },
    { datatype: "INT32", shape: [1], data: [5] },
  ]);
});

it("says where it looked for an unknown model, and refuses absent files", async () => {
  const nowhere = await command("infer", "none", "in.json", "--at", running.address);
  expect(nowhere.code).toBe(2);
  expect(nowhere.error).toContain(`there is no model none here, nor at ${running.address}`);
  const file = await command("infer", "./none.onnx", "in.json", "--at", running.address);
  expect(file.error).toContain("./none.onnx is no .onnx file, model folder or repository");
  const guessed = await command("infer", "only-there", "--random", "--at", running.address);
  expect(guessed.error).toContain("give inputs");
});
