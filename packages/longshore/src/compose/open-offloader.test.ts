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
