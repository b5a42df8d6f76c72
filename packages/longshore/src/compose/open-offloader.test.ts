import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { graphBuilder, writeModel } from "@longshore/graph";
import { deviceMonitor, systemClock } from "@longshore/nodejs";
import { memoryStore, untyped } from "@longshore/testkit";
import { expect, it } from "vitest";
import { openLocal, openOffloader } from "./open-offloader.ts";
import type { OpenOptions } from "./open-options.ts";

it("refuses an option that does not exist, and names those that do", async () => {
  const misspelt: OpenOptions = untyped({ servers: [], defaultz: {} });
  await expect(openOffloader(misspelt)).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringMatching(/no option 'defaultz'; it has repository, .*defaults/),
  });
  await expect(openOffloader(untyped("./models"))).rejects.toMatchObject({ reason: "invalid-configuration" });
});

it.each<[string, Record<string, unknown>]>([
  ["repository must be a text", { repository: 5 }],
  ['servers must be a list, such as ["http://127.0.0.1:8000"]', { servers: "http://127.0.0.1:1" }],
  ["servers[1] must be an object with address, id, tier", { servers: ["http://127.0.0.1:1", 5] }],
  ["servers[0] needs address", { servers: [{}] }],
  [
    "servers[0] has no 'zon'; it has address, id, tier, zone",
    { servers: [{ address: "http://a", zon: "eu" }] },
  ],
  ["servers[0].tier must be device, edge or cloud", { servers: [{ address: "http://a", tier: "fog" }] }],
  ["observer must be an object with a method record", { observer: () => undefined }],
  ["policy must be an object with a method decide", { policy: {} }],
  ["runtime must be onnxruntime or wasm", { runtime: "gpu" }],
  ["providers must be a list", { providers: "cuda" }],
  ["device has no 'bateri'", { device: { bateri: 1 } }],
  ["checks.sampleRatio must be a number from 0 to 1", { checks: { sampleRatio: 7 } }],
  ["retry has no 'rounds'", { retry: { rounds: 1 } }],
  ["packages needs into", { packages: { from: "http://a" } }],
  ["directory must be an object with from", { directory: 5 }],
  ["dialling must be a function", { dialling: {} }],
  ["beliefs must be a file name, or false for none", { beliefs: 5 }],
])("says that option %s", async (words, options) => {
  await expect(openOffloader(options as OpenOptions)).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining(`openOffloader option ${words}`),
  });
});

it("knows how hot this device is at the first decision", async () => {
  const root = await mkdtemp(join(tmpdir(), "longshore-heat-"));
  const zone = join(root, "thermal", "thermal_zone0");
  await mkdir(zone, { recursive: true });
  await writeFile(join(zone, "temp"), "95000\n");
  const build = graphBuilder();
  build.output(build.node("Neg", [build.input("x", "FP32", [2])], { outputs: ["y"] }), "FP32", [2]);
  const store = memoryStore({ "minus/1/model.onnx": writeModel(build.model({ name: "minus" })) });
  const monitor = deviceMonitor({ clock: systemClock(), sysClass: root, proc: root });
  const { offloader, ready, close } = openLocal({ store, monitor });
  try {
    await ready;
    const plan = await offloader.explain("minus", { x: Float32Array.of(1, 2) });
    expect(plan).toMatchObject({ because: expect.stringContaining("95 °C") });
  } finally {
    await close();
    await rm(root, { recursive: true });
  }
});
