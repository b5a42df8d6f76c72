/**
 * Copies what `longshore` needs at run time into a folder: `node deploy/image/assemble.mjs FOLDER`, after `npm ci` and `npm run build`.
 *
 * The folder gets the built packages and their dependencies, in the versions of package-lock.json, and ONNX Runtime for this platform only. It
 * leaves out sources, declarations, source maps, tests, and optional peers, which double the size of an image.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** The packages that the image runs: the command, and the adapters that it loads on demand. */
const wanted = [
  "longshore",
  ...readdirSync(join(root, "adapters")).map(
    (name) => JSON.parse(readFileSync(join(root, "adapters", name, "package.json"), "utf8")).name,
  ),
];

/**
 * @typedef {{ link?: boolean, resolved?: string, dependencies?: Record<string, string>, optionalDependencies?: Record<string, string> }} Locked
 */

/** @type {Record<string, Locked>} */
const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;

/** Finds the lock entry that Node.js resolves a name to, from a package: the nearest node_modules wins. @param {string} from @param {string} name */
function resolveFrom(from, name) {
  for (let folder = from; ; folder = folder.includes("/") ? folder.slice(0, folder.lastIndexOf("/")) : "") {
    const path = `${folder === "" ? "" : `${folder}/`}node_modules/${name}`;
    if (path in locked) return path;
    if (folder === "") return undefined;
  }
}

/** Collects a package and everything that it needs, as paths of the lock file. @param {string} path @param {Set<string>} found */
function collect(path, found) {
  const entry = locked[path];
  // Declarations alone, and parts for the runtime Bare: libraries list both among what they need.
  if (entry === undefined || found.has(path) || /node_modules\/(?:@types\/|bare-)/.test(path)) return;
  found.add(path);
  const real = entry.link ? (entry.resolved ?? path) : path;
  const { dependencies = {}, optionalDependencies = {} } = locked[real] ?? {};
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const next = resolveFrom(real, name);
    // Binaries for other platforms are in the lock file and not on the disk.
    if (next !== undefined && existsSync(join(root, next))) collect(next, found);
    else if (name in dependencies) throw new Error(`${name}, which ${path} needs, is not installed`);
  }
}

const unneeded = /\.(?:map|d\.[cm]?ts|tsbuildinfo|test\.js)$/;

/** Copies a package of this repository: what it publishes, less sources and declarations. @param {string} folder @param {string} to */
function copyOwn(folder, to) {
  const { files = [] } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  for (const name of ["package.json", ...files]) {
    if (name.startsWith("!") || name === "src") continue;
    cpSync(join(folder, name), join(to, name), {
      recursive: true,
      filter: (source) => !unneeded.test(source),
    });
  }
}

/** Whether a file of another's package is needed on this platform. @param {string} path Relative to node_modules. */
function isNeeded(path) {
  const native = /^onnxruntime-node\/bin\/napi-v\d+\/([^/]+)(?:\/([^/]+))?/.exec(path);
  if (native === null) return !unneeded.test(path);
  const [, platform, processor] = native;
  return platform === process.platform && (processor === undefined || processor === process.arch);
}

const folder = process.argv[2];
if (folder === undefined) {
  console.error("usage: node deploy/image/assemble.mjs FOLDER");
  process.exit(2);
}
if (existsSync(folder) && readdirSync(folder).length > 0) {
  console.error(`${folder} is not empty`);
  process.exit(2);
}
/** @type {Set<string>} */
const found = new Set();
for (const name of wanted) collect(`node_modules/${name}`, found);
for (const path of found) {
  const entry = locked[path];
  const to = join(folder, path);
  mkdirSync(to, { recursive: true });
  if (entry?.link) copyOwn(join(root, entry.resolved ?? ""), to);
  else
    cpSync(join(root, path), to, {
      recursive: true,
      filter: (source) => {
        const inside = relative(join(root, path), source);
        // A nested node_modules is copied as an entry of its own, if it is needed.
        if (inside.split("/").includes("node_modules")) return false;
        return isNeeded(`${path.slice("node_modules/".length)}/${inside}`);
      },
    });
}
console.log(`${found.size} packages in ${basename(resolve(folder))}`);
