// Generates src/onnx/onnx_pb.ts from onnx.proto. See README.md in this folder.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const work = mkdtempSync(join(tmpdir(), "onnx-proto-"));
try {
  const template = {
    version: "v2",
    plugins: [{ local: "protoc-gen-es", out: work, opt: ["target=ts", "import_extension=ts"] }],
  };
  execFileSync("buf", ["generate", "--template", JSON.stringify(template), here], {
    cwd: here,
    stdio: "inherit",
  });
  const generated = readFileSync(join(work, "onnx_pb.ts"), "utf8");
  writeFileSync(join(here, "..", "src", "onnx", "onnx_pb.ts"), erasable(generated));
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
