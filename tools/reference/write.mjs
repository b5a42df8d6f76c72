/** Writes the generated pages of docs/reference (`npm run reference`). With `--check` it names those that are not current and fails. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { referencePages } from "./pages.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const checks = process.argv.includes("--check");
for (const [path, text] of Object.entries(await referencePages())) {
  const file = join(root, path);
  if (existsSync(file) && readFileSync(file, "utf8") === text) continue;
  if (checks) {
    console.error(`${path} is not current; \`npm run reference\` writes it`);
    process.exitCode = 1;
  } else writeFileSync(file, text);
}
