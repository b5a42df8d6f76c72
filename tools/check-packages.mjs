/** publint over every published package: the built files must be importable as its package.json says. */
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { publishedPackages } from "./published.mjs";

let failed = 0;
for (const { folder, manifest } of publishedPackages()) {
  const { messages } = await publint({ pkgDir: folder, strict: true, pack: false });
  for (const message of messages) console.error(`${manifest.name}: ${formatMessage(message, manifest)}`);
  failed += messages.length;
}
if (failed > 0) process.exit(1);
console.error("packages: as their package.json says");
