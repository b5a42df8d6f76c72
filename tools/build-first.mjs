/**
 * Builds what has changed before tests run, for they run what is built. Type errors are printed, and tests run nevertheless.
 */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export default function build() {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  spawnSync(process.execPath, [tsc, "-b"], { cwd: root, stdio: "inherit" });
}
