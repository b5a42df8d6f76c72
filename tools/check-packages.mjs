/** publint over every published package: what is built must be importable as its package.json says. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
let failed = 0;
for (const name of readdirSync(join(root, "packages"))) {
  const folder = join(root, "packages", name);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  if (manifest.private) continue;
  const { messages } = await publint({ pkgDir: folder, strict: true, pack: false });
  for (const message of messages) console.error(`${manifest.name}: ${formatMessage(message, manifest)}`);
  failed += messages.length;
}
if (failed > 0) process.exit(1);
console.error("packages: as their package.json says");
