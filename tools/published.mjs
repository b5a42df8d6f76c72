/** The packages that are published, and how each becomes a tarball. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @typedef {{ folder: string, manifest: { name: string, version: string, dependencies?: Record<string, string>,
 *   devDependencies?: Record<string, string>, peerDependencies?: Record<string, string>, files?: string[] } }} Published
 */

/** Every package of the workspace that is not private, each after the packages that it depends on. @returns {Published[]} */
export function publishedPackages() {
  const folders = [
    ...readdirSync(join(root, "packages")).map((name) => join(root, "packages", name)),
    ...readdirSync(join(root, "adapters")).map((name) => join(root, "adapters", name)),
    join(root, "samples"),
  ];
  const found = folders
    .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) }))
    .filter(({ manifest }) => !manifest.private);
  const byName = new Map(found.map((one) => [one.manifest.name, one]));
  /** @type {Set<Published>} */
  const ordered = new Set();
  /** @param {Published} one */
  function add(one) {
    for (const name of Object.keys(one.manifest.dependencies ?? {})) {
      const needed = byName.get(name);
      if (needed !== undefined && !ordered.has(needed)) add(needed);
    }
    ordered.add(one);
  }
  for (const one of found) add(one);
  return [...ordered];
}

/** Packs a package as `npm publish` would, and returns the path of the tarball. @param {Published} one @param {string} into */
export function pack({ folder, manifest }, into) {
  const { stdout, stderr, status } = npm(["pack", "--json", "--pack-destination", into], folder);
  if (status !== 0) throw new Error(`npm pack of ${manifest.name} failed: ${stderr}`);
  return join(into, JSON.parse(stdout)[0].filename.replace("@", "").replace("/", "-"));
}

/** Unpacks a tarball into a folder of its own, and returns the folder with package.json. @param {string} file @param {string} into */
export function unpack(file, into) {
  const folder = join(into, basename(file, ".tgz"));
  mkdirSync(folder);
  const { status, stderr } = spawnSync("tar", ["-xzf", file, "-C", folder], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} could not be unpacked: ${stderr}`);
  return join(folder, "package");
}

/** Runs npm and waits for it. @param {string[]} args @param {string} cwd */
export function npm(args, cwd) {
  return spawnSync("npm", args, {
    cwd,
    encoding: "utf8",
    shell: process.platform === "win32",
    maxBuffer: 2 ** 26,
  });
}
