// Generates src/proto/*_pb.ts from the schemas in this folder. See README.md here.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const work = mkdtempSync(join(tmpdir(), "inference-proto-"));
try {
  const template = {
    version: "v2",
    plugins: [{ local: "protoc-gen-es", out: work, opt: ["target=ts", "import_extension=ts"] }],
  };
  execFileSync("buf", ["generate", "--template", JSON.stringify(template), here], {
    cwd: here,
    stdio: "inherit",
  });
  for (const name of readdirSync(work)) {
    const generated = readFileSync(join(work, name), "utf8");
    writeFileSync(join(here, "..", "src", "proto", name), erasable(generated));
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** Replaces `export enum X { A = 0, ... }` by a constant object and a type. */
function erasable(source) {
  return source.replace(/^export enum (\w+) \{\n([\s\S]*?)^\}/gm, (_whole, name, body) => {
    const members = body.replace(/^( *)(\w+) = (-?\d+),/gm, "$1$2: $3,");
    return `export const ${name} = {\n${members}} as const;\nexport type ${name} = (typeof ${name})[keyof typeof ${name}];`;
  });
}
