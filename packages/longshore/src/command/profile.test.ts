import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Profile } from "@longshore/core";
import { parseProfile } from "@longshore/core/internal";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { CommandIo } from "../options/io.ts";
import { profile, type ProfileCommandOptions } from "./profile.ts";

const ports = (name: string): string => `[{ name: ${name}, datatype: FP32, shape: [-1, 2] }]`;
const pipeline = (also: string): string => `
inputs: [{ name: pairs, datatype: FP32, shape: [1, 2] }]
${also}
pipeline:
  steps:
    - { id: soft, transform: softmax, inputs: { tensor: pairs } }
    - { id: turn, model: negated, inputs: { x: soft.tensor }, elsewhere: { inputs: ${ports("x")}, outputs: ${ports("y")} } }
  outputs: { all: turn.y }
`;

const variants = `
inputs: [{ name: pairs, datatype: FP32, shape: [1, 2] }]
pipeline:
  steps: [{ id: soft, transform: softmax, inputs: { tensor: pairs } }]
  outputs: { all: soft.tensor }
variants: [{ name: plain }, { name: small }, { name: large }]
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-profile-"));
  for (const [name, text] of [
    ["plain", pipeline("")],
    ["sequences", pipeline("sequence: { maxIdleMs: 60000 }")],
    ["variants", variants],
    ["parted", `${pipeline("")}variants: [{ name: plain }, { name: small }, { name: large }]\n`],
  ] as const) {
    await mkdir(join(folder, "models", name, "1"), { recursive: true });
    await writeFile(join(folder, "models", name, "model.yaml"), text);
    await writeFile(join(folder, "models", name, "1", "pipeline.txt"), "");
  }
  await mkdir(join(folder, "inputs"));
  await writeFile(join(folder, "inputs", "one.json"), "[[1, 2]]");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function profiled(model: string, change: Partial<ProfileCommandOptions>): Promise<readonly string[]> {
  const noted: string[] = [];
  const io: CommandIo = {
    out: () => undefined,
    note: (text) => void noted.push(text),
    progress: () => undefined,
    environment: {},
    stop: new AbortController().signal,
  };
  const options: ProfileCommandOptions = {
    at: [],
    samples: join(folder, "inputs"),
    runs: 1,
    processorTime: false,
    write: false,
    runtime: "onnxruntime",
    json: true,
    ...change,
  };
  expect(await profile(join(folder, "models", model), options, io)).toBe(0);
  return noted;
}

it("reports the parts that it left out, and the remedy", async () => {
  const left = "left out negated (step turn), which only other endpoints have, and the rest:";
  const alone = await profiled("plain", {});
  expect(alone).toContain(`${left} name servers that have them (--at) to measure all of it`);
  // No server listens there, and none is called.
  const named = await profiled("sequences", { at: ["http://127.0.0.1:1"] });
  expect(named).toContain(`${left} pipelines in sequences are measured up to there`);
});

it("keeps the knowledge of other variants when it writes some, and measures the first one without any", async () => {
  const written = async (variant: string, model = "variants"): Promise<Profile> => {
    await profiled(model, { variant: [variant], write: true });
    const path = join(folder, "models", model, "1", "profile.json");
    return parseProfile(JSON.parse(await readFile(path, "utf8")));
  };
  const names = ({ variants: all }: Profile): readonly string[] => all.map(({ variant }) => variant);
  expect(names(await written("small"))).toEqual(["plain", "small"]);
  expect(names(await written("large"))).toEqual(["plain", "small", "large"]);
  expect(names(await written("small"))).toEqual(["plain", "small", "large"]);
  // Times that are only assumed, because they were not measured, do not count as known.
  expect(names(await written("small", "parted"))).toEqual(["plain", "small"]);
});

it("refuses to count processor time where servers are measured", async () => {
  const asked = profiled("plain", { at: ["http://127.0.0.1:1"], processorTime: true });
  await expect(asked).rejects.toMatchObject({
    reason: "invalid-input",
    message: expect.stringContaining("--processor-time") as string,
  });
});

it("keeps the profile of one provider in one file", async () => {
  await expect(profiled("variants", { providers: ["cuda", "cpu"], write: true })).rejects.toMatchObject({
    reason: "invalid-input",
    message: expect.stringContaining(
      "--write keeps a profile for each provider: name one (--providers cuda)",
    ) as string,
  });
});
