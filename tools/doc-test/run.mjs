/**
 * Type-checks and runs the `@example` of each function that `longshore`, `@longshore/nodejs` and `@longshore/web` export. An example is a
 * whole module in a block of TypeScript. A line `console.log(...); // TEXT` says what it prints. Examples run in a folder with
 * `models/double` (y = x + x, FP32 [1, 2]) and `receipt.jpg`; a server with the same model answers at http://127.0.0.1:8000.
 */
import { execFile, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { graphBuilder, writeModel } from "../../packages/graph/dist/index.js";
import { openModel, serve } from "../../packages/longshore/dist/index.js";
import { examples, printedBy } from "./extract.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");

function fixture() {
  const folder = mkdtempSync(join(tmpdir(), "longshore-doc-test-"));
  const graph = graphBuilder();
  const x = graph.input("x", "FP32", [1, 2]);
  graph.output(graph.node("Add", [x, x], { outputs: ["y"] }), "FP32", [1, 2]);
  mkdirSync(join(folder, "models/double/1"), { recursive: true });
  writeFileSync(join(folder, "models/double/1/model.onnx"), writeModel(graph.model({ name: "double" })));
  writeFileSync(join(folder, "models/double/model.yaml"), "dataClass: internal\n");
  cpSync(join(root, "samples/inputs/images/receipt-1.jpg"), join(folder, "receipt.jpg"));
  return folder;
}

const { all, missing } = await examples(root);
const wrong = missing.map((name) => `${name} has no @example`);
const build = join(root, "node_modules/.cache/longshore-doc-test");
rmSync(build, { recursive: true, force: true });
mkdirSync(build, { recursive: true });
const folder = fixture();
const { store } = await openModel(join(folder, "models"));
const server = await serve({ store, port: 0, zone: "eu" });
try {
  for (const one of all) {
    const code = one.code.replaceAll("http://127.0.0.1:8000", server.address);
    writeFileSync(join(build, `${one.package}-${one.name}.ts`), `${code}\nexport {};\n`);
  }
  const compilerOptions = {
    composite: false,
    declaration: false,
    declarationMap: false,
    sourceMap: false,
    isolatedDeclarations: false,
    noEmitOnError: true,
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
    lib: ["es2023", "esnext.disposable", "dom", "dom.iterable"],
    customConditions: [],
    outDir: "built",
    rootDir: ".",
  };
  writeFileSync(
    join(build, "tsconfig.json"),
    JSON.stringify({ extends: "../../../tsconfig.base.json", compilerOptions, include: ["*.ts"] }),
  );
  writeFileSync(join(build, "package.json"), '{ "type": "module" }\n');
  const checked = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", build], { encoding: "utf8" });
  if (checked.status !== 0) wrong.push(checked.stdout.trim());
  else {
    for (const name of new Set(all.map((one) => one.package))) {
      const own = all.filter((one) => one.package === name);
      const fileOf = (one) => join(build, "built", `${name}-${one.name}.js`);
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [join(here, "run-examples.mjs"), ...own.map(fileOf)],
        { cwd: folder, maxBuffer: 1 << 24 },
      );
      const results = JSON.parse(stdout);
      for (const one of own) {
        const { lines, error } = results[fileOf(one)];
        const expected = printedBy(one.code).join("\n");
        if (error) wrong.push(`${name}: ${one.name} failed: ${error}`);
        else if (lines.join("\n") !== expected)
          wrong.push(`${name}: ${one.name} printed\n${lines.join("\n")}\ninstead of\n${expected}`);
      }
    }
  }
} finally {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}
for (const text of wrong) console.error(text);
console.log(`${all.length} examples`);
process.exit(wrong.length === 0 ? 0 : 1);
