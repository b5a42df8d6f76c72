/** Assembles `kernels.wat` of the core's codecs into `code.ts` beside it, which is committed: nothing else needs the assembler. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import openWabt from "wabt";

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), "packages/core/src/codec/kernels");
const wabt = await openWabt();
const module = wabt.parseWat("kernels.wat", readFileSync(join(folder, "kernels.wat"), "utf8"), {
  simd: true,
});
const code = Buffer.from(module.toBinary({}).buffer).toString("base64");
const text = `/** \`kernels.wat\`, assembled by \`node tools/assemble-kernels.mjs\`. */\nexport const code =\n  "${code}";\n`;
if (process.argv.includes("--check")) {
  const same = readFileSync(join(folder, "code.ts"), "utf8").includes(`"${code}"`);
  console.log(
    same ? "code.ts is kernels.wat assembled" : "code.ts is not kernels.wat: run this without --check",
  );
  process.exitCode = same ? 0 : 1;
} else {
  writeFileSync(join(folder, "code.ts"), text);
}
