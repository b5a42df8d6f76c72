/**
 * The checks that take longer than `npm run check` may: each part in a process of its own, bounded in time. A part ends with
 * a line `<n> passed, <m> failed`; so does this file, with the sums. `node tools/check-all.mjs [PART...]` runs some of them.
 */
import { spawn, spawnSync } from "node:child_process";
import { setPriority } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where a window of seeds begins: each commit looks at other ones, and the same commit at the same ones. */
function firstSeed() {
  const { stdout, status } = spawnSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" });
  return status === 0 ? Number.parseInt(stdout.slice(0, 6), 16) : 1;
}

/** The checks, and how many seconds each may take at most. */
const parts = [
  {
    name: "fuzz",
    about: "seeded fuzzing of every reader of foreign input",
    // The same inputs each time: a gate fails for what was changed. Without a seed it draws others.
    args: ["--expose-gc", "tools/fuzz/run.mjs", "--seconds", "8", "--seed", "1"],
    mostSeconds: 900,
  },
  {
    name: "faults",
    about: "the whole system under the fault simulator, 300 seeds from a window that moves with the commit",
    args: ["packages/fault-simulator/dist/command/main.js", "--seeds", "300", "--from", String(firstSeed())],
    mostSeconds: 900,
  },
  {
    name: "deeper",
    about:
      "the planner of splits against trying everything, on 2,000 random graphs; a whole fleet that restarts under load; messages of more than 1 GiB",
    args: ["tools/check-deeper.mjs"],
    mostSeconds: 2700,
  },
  {
    name: "tarballs",
    about:
      "every published package packed, installed into an empty strict TypeScript project, and released as a dry run",
    args: ["tools/check-tarballs.mjs"],
    mostSeconds: 900,
  },
  {
    name: "benches",
    about: "fifteen seconds of every bench, with a fixed seed; speed is not judged",
    args: ["tools/check-benches.mjs"],
    mostSeconds: 900,
  },
  {
    name: "conformance",
    about: "real clients against a real server; peers that cannot be installed are skipped",
    args: ["conformance/dist/run.js"],
    // On a new machine most of it is installing.
    mostSeconds: 4500,
  },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(", ")}; known: ${parts.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

let passed = 0;
let failed = 0;
/** The first line of each failed part, printed again at the end, where it is easy to find. */
const broken = [];
// Most of what the conformance tests install is waiting for downloads, which other parts need not wait for.
if (wanted.length === 0 || wanted.includes("conformance")) {
  const installing = spawn(process.execPath, ["conformance/dist/run.js", "--install"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (installing.pid !== undefined) setPriority(installing.pid, 10);
  installing.unref();
}
for (const { name, about, args, mostSeconds } of parts) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`== ${name}: ${about}`);
  const started = performance.now();
  const { stdout, status, signal } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: mostSeconds * 1000,
    killSignal: "SIGKILL",
    maxBuffer: 2 ** 26,
  });
  process.stdout.write(stdout);
  console.log(`== ${name} took ${((performance.now() - started) / 1000).toFixed(0)} s`);
  const counts = /(\d+) passed, (\d+) failed(?:, \d+ skipped)?\s*$/.exec(stdout);
  const ok = Number(counts?.[1] ?? 0);
  // A part that broke off, or says nothing, has failed once at least.
  const wrong = Math.max(Number(counts?.[2] ?? 0), status === 0 && counts ? 0 : 1);
  if (wrong > 0) {
    const told = stdout.split("\n").filter((line) => line.startsWith("  failed  "));
    broken.push(`${name} ended with ${signal ?? status}`);
    for (const line of told.slice(0, 10)) broken.push(line.slice(0, 500));
  }
  passed += ok;
  failed += wrong;
}
for (const one of broken) console.log(one);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
