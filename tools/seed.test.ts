import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const file = fileURLToPath(new URL("seed.mjs", import.meta.url));

it.each([
  ["12", 0],
  ["-3", 0],
  ["abc", 1],
  ["", 1],
  ["1.5", 1],
])("a seed of property tests is an integer: %j", (seed, code) => {
  const env = { ...process.env, LONGSHORE_SEED: seed };
  const { status, stderr } = spawnSync(process.execPath, [file], { env, encoding: "utf8" });
  expect(status).toBe(code);
  if (code !== 0) expect(stderr).toContain(`LONGSHORE_SEED is "${seed}"`);
});
