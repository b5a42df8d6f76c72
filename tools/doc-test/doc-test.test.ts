import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("each function for apps has an example that compiles, runs and prints the shown output", async () => {
  const script = join(dirname(fileURLToPath(import.meta.url)), "run.mjs");
  const { stderr } = await promisify(execFile)(process.execPath, [script]).catch(
    (error: { readonly stderr: string }) => error,
  );
  expect(stderr).toBe("");
});
