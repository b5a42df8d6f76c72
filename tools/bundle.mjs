/**
 * Bundles the command `longshore` into packages/longshore/dist/bundle. `bin/longshore.js` starts the bundle: finding and reading some
 * 1,100 modules takes longer than running them. `tsc -b` writes those modules; run this after it.
 *
 * Libraries are bundled too, with their licences in dist/bundle/LICENSES.txt. Native libraries, and packages that the command looks for at run
 * time, stay where they are installed. So does the worker of ONNX Runtime, which needs few modules.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const packages = join(root, "packages");
const built = join(packages, "longshore", "dist");
const output = join(built, "bundle");

/** The expression for the address of an installed module of another package than `longshore`. @param {string} path */
function installedAddress(path) {
  const [name = "", , ...rest] = relative(packages, path).split(/[/\\]/);
  return `new URL(${JSON.stringify(`./${rest.join("/")}`)}, import.meta.resolve("@longshore/${name}")).href`;
}

/** @type {import("esbuild").Plugin} */
const installedModules = {
  name: "installed-modules",
  setup({ onLoad }) {
    // Imports ONNX Runtime, which is native, and the optional build for WebAssembly: both from where the package is installed.
    onLoad({ filter: /[/\\]nodejs[/\\]dist[/\\]runtime[/\\]import-ort\.js$/ }, ({ path }) => ({
      contents: `export const importOrt = async (...args) => (await import(${installedAddress(path)})).importOrt(...args);`,
    }));
    // The worker of transforms is in the bundle.
    onLoad({ filter: /[/\\]nodejs[/\\]dist[/\\]lane[/\\]worker-lane\.js$/ }, async ({ path }) => ({
      contents: await readFile(path, "utf8"),
    }));
    // Modules that start workers or look for optional packages do so from their own address.
    onLoad(
      { filter: /[/\\]packages[/\\](?:core|engine|graph|grpc|lab|nodejs|server)[/\\]dist[/\\].*\.js$/ },
      async ({ path }) => ({
        contents: (await readFile(path, "utf8")).replaceAll("import.meta.url", () => installedAddress(path)),
      }),
    );
  },
};

/** Names, versions and licences of the bundled libraries. @param {readonly string[]} inputs Paths of their modules. */
function licencesOf(inputs) {
  const folders = new Set(
    inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
  );
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    const texts = readdirSync(join(root, folder)).filter((file) => /^(?:licen[cs]e|notice)/i.test(file));
    return [
      `${name} ${version}, ${license}`,
      ...texts.map((file) => readFileSync(join(root, folder, file), "utf8")),
    ]
      .map((text) => text.trim())
      .join("\n\n");
  });
}

rmSync(output, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: [
    "longshore/dist/command/main.js",
    "longshore/dist/model-file/graph-worker.js",
    "longshore/dist/profile/provider-main.js",
    "longshore/dist/demo/endpoint-main.js",
    "nodejs/dist/lane/lane-worker.js",
  ].map((file) => join(packages, file)),
  entryNames: "[name]",
  outdir: output,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  // Libraries in CommonJS require modules of Node.js.
  banner: {
    js: 'import { createRequire as bundleRequire } from "node:module"; const require = bundleRequire(import.meta.url);',
  },
  plugins: [installedModules],
  metafile: true,
  logLevel: "warning",
});
writeFileSync(
  join(output, "LICENSES.txt"),
  `${licencesOf(Object.keys(metafile.inputs)).join(`\n\n${"=".repeat(80)}\n\n`)}\n`,
);
