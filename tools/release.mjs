/**
 * Publishes every package of the workspace to the npm registry, with provenance: a signed statement which commit and which build made the
 * tarball. Without `--publish` nothing leaves this machine.
 *
 *     node tools/release.mjs                                                        # dry run
 *     node tools/release.mjs --publish --repository https://github.com/ORG/longshore   # in a workflow with `id-token: write`
 *
 * `--publish` refuses a checkout with changes, a commit without the tag `v<version>`, and packages whose versions differ. npm itself refuses
 * provenance outside a workflow whose identity it can check. A release that broke off is continued by the same command: versions that
 * the registry has already are passed over.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { npm, pack, publishedPackages, root, unpack } from "./published.mjs";

const { values: options } = parseArgs({
  options: {
    publish: { type: "boolean", default: false },
    /** Where the sources are. npm compares it with the repository of the workflow. */
    repository: { type: "string" },
    /** A folder of tarballs that were packed already; only for a dry run. */
    tarballs: { type: "string" },
    /** The distribution tag. */
    tag: { type: "string", default: "latest" },
  },
});

/** Ends with what is wrong. @param {string} why @returns {never} */
function refuse(why) {
  console.error(`release: ${why}`);
  process.exit(1);
}

/** The output of a git command, or undefined if it fails. @param {string[]} args */
function git(...args) {
  const { stdout, status } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

const packages = publishedPackages();
const versions = new Set(packages.map(({ manifest }) => manifest.version));
const [version = ""] = versions;
if (versions.size !== 1) refuse(`all packages must have one version; found ${[...versions].join(", ")}`);
for (const { manifest } of packages)
  for (const [name, wanted] of Object.entries(manifest.dependencies ?? {}))
    if (packages.some((one) => one.manifest.name === name) && wanted !== version)
      refuse(`${manifest.name} depends on ${name} ${wanted}; this release is ${version}`);

if (options.publish) {
  if (options.tarballs !== undefined)
    refuse("--tarballs is for dry runs; a release packs what it built itself");
  if (options.repository === undefined)
    refuse("--repository is missing: npm needs the address of the sources for provenance");
  if (git("status", "--porcelain") !== "") refuse("the checkout has changes; commit or remove them");
  if (!git("tag", "--points-at", "HEAD")?.split("\n").includes(`v${version}`))
    refuse(`this commit has no tag v${version}`);
  // Packages are built from scratch, so that no file of an older build is published.
  for (const { folder } of packages) rmSync(join(folder, "dist"), { recursive: true, force: true });
  const build = spawnSync(process.execPath, [join(root, "tools", "start.mjs"), "build", "--force"], {
    cwd: root,
    stdio: "inherit",
  });
  if (build.status !== 0) refuse("the build failed");
}

const work = mkdtempSync(join(tmpdir(), "longshore-release-"));
try {
  for (const one of packages) {
    const { name } = one.manifest;
    if (options.publish && npm(["view", `${name}@${version}`, "version"], root).stdout.trim() === version) {
      console.error(`${name}@${version}: the registry has it already`);
      continue;
    }
    const file =
      options.tarballs === undefined
        ? pack(one, work)
        : join(options.tarballs, `${name.replace("@", "").replace("/", "-")}-${version}.tgz`);
    // The address of the repository is known to the release, not to the sources: it is added to what was packed.
    const staged = unpack(file, work);
    const manifestPath = join(staged, "package.json");
    const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
    if (options.repository !== undefined)
      manifest.repository = {
        type: "git",
        url: `git+${options.repository}.git`,
        directory: relative(root, one.folder),
      };
    writeFileSync(manifestPath, `${JSON.stringify(manifest, undefined, 2)}\n`);
    const how = options.publish ? ["--provenance"] : ["--dry-run", "--offline"];
    const result = npm(
      ["publish", staged, "--access", "public", "--tag", options.tag, "--json", ...how],
      root,
    );
    if (result.status !== 0) refuse(`npm publish of ${name} failed: ${result.stderr || result.stdout}`);
    console.error(`${name}@${version}: ${options.publish ? "published" : "would be published"}`);
  }
} finally {
  rmSync(work, { recursive: true });
}
