import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { command } from "../../test/command.ts";
import { installedSamples } from "../engine/samples.ts";

let folder: string;
let model: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-providers-"));
  model = join(folder, "language-scores");
  await cp(join((await installedSamples()) ?? "", "language-scores"), model, { recursive: true });
  await rm(join(model, "1", "golden.json"), { force: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Report {
  readonly providers: readonly {
    readonly provider: string;
    readonly works: boolean;
    readonly problem: string | null;
    readonly inputs: string;
  }[];
}

const each = (...more: readonly string[]) =>
  command("profile", model, "--each-provider", "--runs", "2", ...more);

it("measures a model on each provider, and says why one does not work", async () => {
  // No build for Linux has this one.
  const { code, out } = await each("--providers", "cpu,coreml", "--json");
  expect(code).toBe(1);
  expect((JSON.parse(out) as Report).providers).toEqual([
    expect.objectContaining({
      provider: "cpu",
      works: true,
      inputs: "random",
      agreementRatio: null,
      runs: expect.any(Number) as number,
      p50Ms: expect.any(Number) as number,
      memoryBytes: expect.any(Number) as number,
      energy: {
        millijoules: expect.any(Number) as number,
        label: expect.stringMatching(/measured|estimated/) as string,
      },
    }),
    { provider: "coreml", works: false, problem: expect.stringContaining("coreml") as string },
  ]);
});

it("compares answers with golden ones, and finds a provider that computes others", async () => {
  expect(await command("golden", model, "--pairs", "2")).toMatchObject({ code: 0 });
  const right = await each("--providers", "cpu");
  expect(right).toMatchObject({ code: 0, notes: expect.stringContaining("golden answers") as string });
  expect(right.out).toMatch(/^cpu +yes +1\.0000 /m);
  const file = join(model, "1", "golden.json");
  const golden = JSON.parse(await readFile(file, "utf8")) as { pairs: { outputs: unknown }[] };
  const [first, second] = golden.pairs;
  [first!.outputs, second!.outputs] = [second!.outputs, first!.outputs];
  await writeFile(file, JSON.stringify(golden));
  const wrong = await each("--providers", "cpu");
  expect(wrong.out).toMatch(/^cpu +WRONG /m);
  expect(wrong).toMatchObject({
    code: 1,
    notes: expect.stringContaining("wrong answers to golden inputs") as string,
  });
  await rm(file);
});

it("says so where model.yaml names other providers, and measures a model that wants a GPU on the processor", async () => {
  const file = join(model, "model.yaml");
  const before = await readFile(file, "utf8").catch(() => undefined);
  await writeFile(file, "providers: [cpu]\ninstances: [{ count: 1, kind: gpu }]\n");
  const gpu = await each("--providers", "cpu");
  expect(gpu.out).toMatch(/^cpu +yes /m);
  await writeFile(file, "providers: [cpu]\n");
  const other = await each("--providers", "coreml");
  expect(other.notes).toContain("coreml: the model runs on cpu as its configuration says");
  await (before === undefined ? rm(file) : writeFile(file, before));
});

it("refuses options that it has no use for", async () => {
  const { code, notes } = await each("--write");
  expect([code, notes]).toEqual([2, expect.stringContaining("leave out --write")]);
});
