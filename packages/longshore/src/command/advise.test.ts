import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { graphBuilder, writeModel } from "@longshore/graph";
import { systemClock } from "@longshore/nodejs";
import { command } from "../../test/command.ts";

const size = 2048;
/** Each is 17 thousand million operations: one run of all takes seconds. */
const products = 24;

it("gives up a model that takes longer to measure than the given time, and says how to go on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-advise-"));
  const build = graphBuilder();
  const x = build.input("x", "FP32", [size, size]);
  let y = x;
  for (let at = 0; at < products; at++) y = build.node("MatMul", [y, x], { outputs: [`y${at}`] });
  build.output(y, "FP32", [size, size]);
  await mkdir(join(folder, "slow", "1"), { recursive: true });
  await writeFile(join(folder, "slow", "1", "model.onnx"), writeModel(build.model({ name: "slow" })));
  const clock = systemClock();
  const startedMs = clock.nowMs();
  try {
    const advised = await command("advise", join(folder, "slow"), "--within", "1");
    expect(advised.code).not.toBe(0);
    expect(advised.notes).toMatch(
      /measuring .*slow took longer than 1 s: give more \(--within\), or measure it once/,
    );
    expect(clock.nowMs() - startedMs).toBeLessThan(20_000);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
