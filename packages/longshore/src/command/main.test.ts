import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const main = fileURLToPath(new URL("../../dist/command/main.js", import.meta.url));

it.skipIf(process.platform !== "linux")("goes on when nothing can be written to its log", () => {
  const command = `exec "${process.execPath}" "${main}" plan there-is-no-such-model nothing 2>/dev/full`;
  expect(spawnSync("sh", ["-c", command]).status).toBe(2);
});
