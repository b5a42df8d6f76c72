/**
 * Packs every published package, installs the tarballs into an empty strict TypeScript project as a user of the registry would, and uses them
 * there: types under the oldest and the newest supported compiler, `import`, `require`, and the command. Ends with a dry run of the release.
 * Other packages come from npm's cache, or from the registry where the cache lacks them.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { npm, pack, publishedPackages, root, unpack } from "./published.mjs";

/** The oldest compiler that can read the declarations: 5.8 is the first that lets `require` load ES modules. */
const oldestTypeScript = "5.8.3";
const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

let passed = 0;
let failed = 0;

/** Counts a check, with what went wrong. @param {string} what @param {string | undefined} wrong */
function count(what, wrong) {
  if (wrong === undefined) {
    passed++;
    console.log(`  passed  ${what}`);
  } else {
    failed++;
    console.log(`  failed  ${what}: ${wrong}`);
  }
}

/** The output of a process that failed; undefined if it succeeded. @param {{ status: number | null, stdout: string, stderr: string }} result */
function failureOf({ status, stdout, stderr }) {
  return status === 0 ? undefined : `${stdout}\n${stderr}`.trim().slice(0, 3000) || `exit status ${status}`;
}

/** Runs Node.js in a folder. @param {string[]} args @param {string} cwd */
function node(args, cwd) {
  return spawnSync(process.execPath, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
}

/** The packages that the files of a package import. @param {string} folder */
function importedPackages(folder) {
  /** @type {Set<string>} */
  const names = new Set();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(js|d\.ts)$/.test(entry.name)) continue;
    const text = readFileSync(join(entry.parentPath, entry.name), "utf8");
    // Statements only: a name in a comment or in generated text is no import.
    for (const [, from, direct] of text.matchAll(
      /^(?:import|export)\b[^;"']*?\bfrom\s*["']([^"'.][^"']*)["']|\bimport\(["']([^"'.][^"']*)["']\)/gm,
    )) {
      const name = /^(@[^/]+\/[^/]+|[^/]+)/.exec(from ?? direct ?? "")?.[0] ?? "";
      if (!name.startsWith("node:") && !builtinModules.includes(name)) names.add(name);
    }
  }
  return [...names];
}

const work = mkdtempSync(join(tmpdir(), "longshore-tarballs-"));
try {
  const packages = publishedPackages();
  const tarballs = new Map(packages.map((one) => [one.manifest.name, pack(one, work)]));

  for (const { manifest } of packages) {
    const folder = unpack(tarballs.get(manifest.name) ?? "", work);
    const declared = { ...manifest.dependencies, ...manifest.peerDependencies, [manifest.name]: "" };
    const missing = importedPackages(join(folder, "dist")).filter((name) => !(name in declared));
    count(
      `${manifest.name} declares each package that it imports`,
      missing.length > 0 ? `not declared: ${missing.join(", ")}` : undefined,
    );
    for (const file of ["README.md", "LICENSE"])
      count(
        `${manifest.name} ships ${file}`,
        readdirSync(folder).includes(file) ? undefined : "the file is missing",
      );
  }

  const project = join(work, "project");
  mkdirSync(project);
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ name: "empty", version: "1.0.0", private: true, type: "module" }),
  );
  // The samples are left out: they bring the WebAssembly runtime, and only the demo needs them.
  const installed = packages.filter(({ manifest }) => manifest.name !== "@longshore/samples");
  count(
    "the tarballs install into an empty project",
    failureOf(
      npm(
        [
          "install",
          "--prefer-offline",
          "--ignore-scripts",
          "--no-audit",
          "--no-fund",
          "--loglevel=error",
          `typescript@${oldestTypeScript}`,
          `@types/node@${own.devDependencies["@types/node"]}`,
          ...installed.map(({ manifest }) => tarballs.get(manifest.name) ?? ""),
        ],
        project,
      ),
    ),
  );

  const entries = installed
    .filter(({ manifest }) => manifest.name !== "@longshore/nats")
    .flatMap(({ manifest }) =>
      Object.keys(
        JSON.parse(readFileSync(join(project, "node_modules", manifest.name, "package.json"), "utf8"))
          .exports,
      ).map((path) => manifest.name + path.slice(1)),
    )
    // Data, such as a JSON Schema for editors, is no module.
    .filter((entry) => !entry.endsWith(".json"));
  const list = entries.map((_, at) => `e${at}`).join(", ");
  const print = `\nconst all: readonly object[] = [${list}];\nfor (const one of all) if (Object.keys(one).length === 0) throw new Error("an entry point exports nothing");\n`;
  writeFileSync(
    join(project, "imports.ts"),
    entries.map((entry, at) => `import * as e${at} from "${entry}";\n`).join("") + print,
  );
  writeFileSync(
    join(project, "requires.cts"),
    entries.map((entry, at) => `import e${at} = require("${entry}");\n`).join("") + print,
  );
  const strict = { strict: true, skipLibCheck: false, target: "es2023" };
  writeFileSync(
    join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { ...strict, module: "nodenext", lib: ["es2023"], types: ["node"], outDir: "out" },
      files: ["imports.ts", "requires.cts"],
    }),
  );
  // The client of NATS names the browser's WebSocket in its declarations.
  mkdirSync(join(project, "nats"));
  writeFileSync(join(project, "nats", "nats.ts"), 'export * from "@longshore/nats";\n');
  writeFileSync(
    join(project, "nats", "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        ...strict,
        module: "nodenext",
        lib: ["es2023", "dom"],
        types: ["node"],
        noEmit: true,
      },
      files: ["nats.ts"],
    }),
  );
  mkdirSync(join(project, "web"));
  writeFileSync(
    join(project, "web", "page.ts"),
    'import * as web from "@longshore/web";\nimport * as core from "@longshore/core";\nexport const all: readonly object[] = [web, core];\n',
  );
  writeFileSync(
    join(project, "web", "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        ...strict,
        module: "esnext",
        moduleResolution: "bundler",
        lib: ["es2023", "dom"],
        types: [],
        noEmit: true,
      },
      files: ["page.ts"],
    }),
  );
  const compilers = [
    [oldestTypeScript, join(project, "node_modules", "typescript", "bin", "tsc")],
    [own.devDependencies.typescript, join(root, "node_modules", "typescript", "bin", "tsc")],
  ];
  for (const [version = "", tsc = ""] of compilers) {
    count(`types of every entry point in Node.js, TypeScript ${version}`, failureOf(node([tsc], project)));
    count(
      `types of @longshore/web with lib "dom", TypeScript ${version}`,
      failureOf(node([tsc, "-p", "web"], project)),
    );
    count(
      `types of @longshore/nats with lib "dom", TypeScript ${version}`,
      failureOf(node([tsc, "-p", "nats"], project)),
    );
  }
  count("import of every entry point", failureOf(node([join("out", "imports.js")], project)));
  count("require of every entry point", failureOf(node([join("out", "requires.cjs")], project)));

  writeFileSync(
    join(project, "make.mjs"),
    [
      'import { writeFileSync } from "node:fs";',
      'import { graphBuilder, writeModel } from "@longshore/graph";',
      "const graph = graphBuilder();",
      'const x = graph.node("Relu", [graph.input("x", "FP32", [1, 4])]);',
      'graph.output(x, "FP32", [1, 4]);',
      'writeFileSync("model.onnx", writeModel(graph.model({ name: "relu" })));',
    ].join("\n"),
  );
  count("a model is written", failureOf(node(["make.mjs"], project)));
  const command = join(project, "node_modules", "longshore", "bin", "longshore.js");
  count(
    "the command runs a model without the runtime's install script",
    failureOf(node([command, "infer", "model.onnx", "--random"], project)),
  );

  count(
    "the release, as a dry run",
    failureOf(node([join(root, "tools", "release.mjs"), "--tarballs", work], root)),
  );
} finally {
  rmSync(work, { recursive: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
