/**
 * Starts every bench for some seconds with a fixed seed, so that one that no longer runs is noticed. Speed is not judged. Each bench
 * runs its smallest part; a bench that needs more time is stopped. A bench reports the peers and recorded data that it leaves out.
 */
import { spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const run = join(root, "bench", "dist", "run.js");
const secondsEach = 15;
/** Benches that run side by side: nothing is timed here, and most wait for processes of their own. */
const atOnce = 2;

/** The smallest run of each bench and of each further part. Others run without options. @type {Readonly<Record<string, readonly string[]>>} */
const smallest = {
  decide: ["--quick", "--generated"],
  "decide --part energy": ["--quick"],
  "decide --part first": ["--rows", "12"],
  failover: ["--only", "kill"],
  "route --part fleet": ["--quick"],
  "overhead --part json": ["--rounds", "1"],
  "serve --part listeners": ["--rounds", "1"],
  "failover --part overload": ["--no-peers", "--rounds", "1"],
  pick: ["--rounds", "1", "--seconds", "1", "--pods", "500"],
  "gateway --part quotas": ["--rounds", "1", "--turns", "1", "--seconds", "2"],
  "decide --part reality": ["--seconds", "2", "--seeds", "1"],
  route: ["--quick", "--simulated"],
  serve: [
    "--model",
    "dense",
    "--servers",
    "longshore/http",
    "--rounds",
    "1",
    "--max-rounds",
    "1",
    "--seconds",
    "1",
    "--warm-up",
    "1",
  ],
  "failover --part soak": ["--minutes", "1", "--cycles", "1"],
};

/** Runs one bench; resolves with what went wrong. @param {string} name @returns {Promise<string | undefined>} */
function started(name) {
  return new Promise((resolve) => {
    const args = [
      run,
      ...name.split(" "),
      "--seed",
      "1",
      "--for",
      String(secondsEach),
      ...(smallest[name] ?? []),
    ];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (/** @type {Buffer} */ bytes) => {
        output = (output + bytes.toString()).slice(-4000);
      });
    // A bench that does not even end at its limit holds the event loop.
    const stuck = setTimeout(() => child.kill("SIGKILL"), 8 * secondsEach * 1000);
    child.once("close", (code, signal) => {
      clearTimeout(stuck);
      for (const line of output.split("\n"))
        if (line.includes("not run:")) console.log(`  skipped ${name}: ${line.trim()}`);
      resolve(code === 0 ? undefined : `ended with ${signal ?? code}\n${output}`);
    });
  });
}

const { stdout } = spawnSync(process.execPath, [run, "--list"], { encoding: "utf8" });
const wanted = process.argv.slice(2);
const known = stdout.trim().split("\n");
const unknown = Object.keys(smallest).filter((name) => !known.includes(name));
if (unknown.length > 0) throw new Error(`no bench is called ${unknown.join(", ")}`);
const names = known.filter((name) => wanted.length === 0 || wanted.includes(name.split(" ")[0] ?? name));
let passed = 0;
let failed = 0;
const next = names.values();
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    for (const name of next) {
      const began = performance.now();
      const wrong = await started(name);
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      if (wrong === undefined) passed++;
      else failed++;
      console.log(
        wrong === undefined ? `  passed  bench ${name} (${seconds} s)` : `  failed  bench ${name}: ${wrong}`,
      );
    }
  }),
);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
