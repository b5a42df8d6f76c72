import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseProfile } from "@longshore/core/internal";
import { sampleRepository } from "@longshore/samples";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { wholeMs } from "../profile/merge-profile.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { platformTransforms } from "../engine/transforms.ts";
import { readInputFiles } from "../inputs/read-inputs.ts";
import { runCommand } from "./run-command.ts";

const samples = join(import.meta.dirname, "..", "..", "..", "..", "samples", "inputs", "sensor");
const said: string[] = [];
const io = {
  out: (text: string): void => void said.push(text),
  note: (text: string): void => void said.push(text),
  progress: (): void => undefined,
  environment: {},
  stop: new AbortController().signal,
};
let repository: string;

beforeAll(async () => {
  repository = await mkdtemp(join(tmpdir(), "longshore-quantize-"));
  await cp(join(sampleRepository(), "anomaly"), join(repository, "anomaly"), { recursive: true });
});
afterAll(() => rm(repository, { recursive: true }));

it("quantize adds a measured variant that requests get only when their least agreement allows it", async () => {
  const model = join(repository, "anomaly");
  const code = await runCommand(
    ["quantize", model, "--samples", samples, "--agreement", "0.8", "--json"],
    io,
  );
  expect(code, said.join("\n")).toBe(0);
  const summary = JSON.parse(said.at(-1) ?? "") as { agreementRatio: number };
  expect(summary.agreementRatio).toBeGreaterThanOrEqual(0.8);
  expect(await readFile(join(model, "model.yaml"), "utf8")).toContain("{ name: int8, graph: model.int8.onnx");
  const profile = parseProfile(JSON.parse(await readFile(join(model, "1", "profile.json"), "utf8")));
  const [standard, int8] = ["default", "int8"].map((name) =>
    profile.variants.find((one) => one.variant === name),
  );
  const faster = (wholeMs(int8) ?? Infinity) < (wholeMs(standard) ?? 0);

  const ports = [{ name: "readings", datatype: "FP32", shape: [-1, 32, 4096] }] as const;
  const inputs = await readInputFiles([join(samples, "healthy-1.npy")], ports, platformTransforms());
  const offloader = await openOffloader({ repository });
  try {
    const exact = await offloader.infer("anomaly", inputs, {
      minAgreementRatio: 0.9999,
      dataClass: "internal",
    });
    expect(exact.plans[0]?.legs[0]?.segment.variant).toBe("default");
    // The variant that is loaded answers while the faster one loads. Whether 8 bits are faster is a measured fact of this machine.
    await vi.waitFor(
      async () => {
        const loose = { minAgreementRatio: 0.8, dataClass: "internal" };
        const cheap = await offloader.infer("anomaly", inputs, loose);
        expect(cheap.outputs.size).toBe(exact.outputs.size);
        expect(cheap.plans[0]?.legs[0]?.segment.variant).toBe(faster ? "int8" : "default");
      },
      { timeout: 30_000, interval: 50 },
    );
  } finally {
    await offloader.close();
  }
}, 120_000);

it("quantize refuses an agreement that no variant reaches, and writes nothing", async () => {
  const model = join(repository, "anomaly");
  const before = await readFile(join(model, "model.yaml"), "utf8");
  const options = ["--format", "fp16", "--name", "half", "--agreement", "1.1"];
  expect(await runCommand(["quantize", model, "--samples", samples, ...options], io)).toBe(1);
  expect(await readFile(join(model, "model.yaml"), "utf8")).toBe(before);
});

it("quantize makes the folder of the file that it is to write", async () => {
  const output = join(repository, "made", "half.onnx");
  const options = ["--format", "fp16", "--samples", samples, "--agreement", "0", "--output", output];
  expect(await runCommand(["quantize", join(repository, "anomaly"), ...options], io)).toBe(0);
  expect((await readFile(output)).byteLength).toBeGreaterThan(1000);
}, 120_000);
