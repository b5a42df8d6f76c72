/**
 * The one way in: `npm run demo`, `npm test` and the rest work as the first command on a fresh clone, because this file
 * needs nothing but Node.js and npm. It installs when the lock file is newer than what is installed, builds, and runs.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// Benches and tests also use ONNX Runtime directly. Its native build reports to its maker unless this is set before it loads.
process.env["ORT_DISABLE_TELEMETRY"] ||= "1";
const [, , task = "", ...rest] = process.argv;

function run(command, args, options = {}) {
  const started = performance.now();
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
    ...options,
  });
  if (result.error) {
    console.error(`${command} could not be started: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
  return performance.now() - started;
}

const bin = (name) => join(root, "node_modules", ".bin", name);

function install() {
  const lock = join(root, "package-lock.json");
  const installed = join(root, "node_modules", ".package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  console.error("installing packages (once, 690 MB) ...");
  const tookMs = run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  console.error(`installed in ${(tookMs / 1000).toFixed(0)} s`);
}

function build(...args) {
  run(bin("tsc"), ["-b", ...args]);
  run(process.execPath, [join(root, "tools", "bundle.mjs")]);
  run(process.execPath, [join(root, "samples", "dist", "prepare.js")]);
}

const tasks = {
  build: () => build(...rest),
  demo: () => {
    build();
    run(process.execPath, [
      join(root, "packages", "longshore", "dist", "command", "main.js"),
      "demo",
      ...rest,
    ]);
  },
  test: () => {
    build();
    run(bin("vitest"), ["run", ...rest]);
  },
  "test:e2e": () => {
    build();
    process.env["LONGSHORE_TESTS"] = "e2e";
    run(bin("vitest"), ["run", ...rest]);
  },
  bench: () => {
    build();
    run(process.execPath, [join(root, "bench", "dist", "run.js"), ...rest], { cwd: process.cwd() });
  },
  faults: () => {
    build();
    run(process.execPath, [join(root, "packages", "fault-simulator", "dist", "command", "main.js"), ...rest]);
  },
  conformance: () => {
    build();
    run(process.execPath, [join(root, "conformance", "dist", "run.js"), ...rest]);
  },
  reference: () => {
    build();
    run(process.execPath, [join(root, "tools", "reference", "write.mjs")]);
  },
  tarballs: () => {
    build();
    run(process.execPath, [join(root, "tools", "pack.mjs"), ...rest]);
  },
  fix: () => {
    run(bin("oxfmt"), ["--write", "."]);
    run(bin("oxlint"), ["--fix", "."]);
  },
  check: () => {
    build("--force");
    run(bin("tsc"), ["-p", "tsconfig.tests.json"]);
    run(bin("tsc"), ["-p", "tsconfig.tools.json"]);
    run(bin("oxlint"), ["--type-aware", "--deny-warnings", "."]);
    run(bin("oxfmt"), ["--check", "."]);
    run(bin("knip"), []);
    run(process.execPath, [join(root, "tools", "check-packages.mjs")]);
    run(bin("vitest"), ["run"]);
  },
};
tasks["check:all"] = () => {
  tasks.check();
  run(process.execPath, [join(root, "tools", "check-all.mjs")]);
};

const chosen = tasks[task];
if (!chosen) {
  console.error(`unknown task '${task}'; known: ${Object.keys(tasks).join(", ")}`);
  process.exit(2);
}
install();
chosen();
