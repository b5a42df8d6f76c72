import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { identityModel } from "@longshore/testkit";
import { expect, it } from "vitest";

const main = fileURLToPath(new URL("../../dist/command/main.js", import.meta.url));

it.skipIf(process.platform !== "linux")("goes on when nothing can be written to its log", () => {
  const command = `exec "${process.execPath}" "${main}" plan there-is-no-such-model nothing 2>/dev/full`;
  expect(spawnSync("sh", ["-c", command]).status).toBe(2);
});

it("prints all of a long answer into a pipe", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-long-"));
  const model = join(folder, "same.onnx");
  await writeFile(model, identityModel("FP32", [1, 200_000]));
  const { stdout } = spawnSync(process.execPath, [main, "infer", model, "--random", "--json"], {
    maxBuffer: 2 ** 26,
  });
  expect(JSON.parse(String(stdout))).toMatchObject({ outputs: { y: { shape: [1, 200_000] } } });
  await rm(folder, { recursive: true });
});
