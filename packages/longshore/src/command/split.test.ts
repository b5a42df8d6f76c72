import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { graphBuilder, writeModel } from "@longshore/graph";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runCommand } from "./run-command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-split-"));
  for (const nodes of [1, 3]) {
    const build = graphBuilder();
    let value = build.input("x", "FP32", [4]);
    for (let node = 0; node < nodes; node++) value = build.node("Relu", [value]);
    build.output(value, "FP32", [4]);
    await writeFile(join(folder, `${nodes}.onnx`), writeModel(build.model({ name: "relu" })));
  }
});
afterAll(() => rm(folder, { recursive: true }));

it.each([
  ["1.onnx", "c1", "the model has no cut c1 inside; it runs whole or not at all"],
  ["3.onnx", "end", "the model has no cut end inside; it has c1 to c2 (those"],
])("split reports for %s the present cuts instead of %s", async (file, cut, told) => {
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  const stop = new AbortController().signal;
  const io = { out: say, note: say, progress: () => undefined, environment: {}, stop };
  expect(await runCommand(["split", join(folder, file), "--cut", cut, "--verify"], io)).toBe(2);
  expect(said.join("\n")).toContain(told);
});
