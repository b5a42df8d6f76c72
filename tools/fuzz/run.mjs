/**
 * Seeded fuzzing: `node tools/fuzz/run.mjs [TARGET...] [--seconds N] [--seed N] [--at N]`. Every input is either taken or
 * refused with a reason of the closed list; any other result (another error, `internal`, a run that takes too long) is a
 * failure and is printed with the command that repeats it. `--at` runs one input alone.
 */
import { draws, mutated } from "./mutate.mjs";
import { targets } from "./targets.mjs";

/**
 * The longest that one input may take, in milliseconds: of processor time, and of waiting. On a shared machine a process may be left
 * without a processor for seconds, which says nothing about an input.
 */
const mostMs = 2000;
/** The longest time by the wall clock: the other measure does not see an input that blocks the process without using it. */
const mostWallMs = 60_000;
/** The interval of looks at an awaited result; a longer stop of the whole process counts as this much. */
const tickMs = 50;
/** How much the heap may hold more after a target than before it, in MiB, once garbage is collected. */
const mostGrowthMib = 64;
const mostFailures = 5;

const args = process.argv.slice(2);
function option(name, fallback) {
  const at = args.indexOf(`--${name}`);
  if (at < 0) return fallback;
  return Number(args.splice(at, 2)[1]);
}
const seconds = option("seconds", 8);
const seed = option("seed", Math.floor(Date.now() % 2 ** 31));
const only = option("at", undefined);
const chosen = args.length > 0 ? args : Object.keys(targets);

let stray;
process.on("unhandledRejection", (thrown) => (stray = thrown));
process.on("uncaughtException", (thrown) => (stray = thrown));

const heapMib = () => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
};

/** How long this process could run but did not, while something was awaited, in milliseconds. */
let waitedMs = 0;
setInterval(() => (waitedMs += tickMs), tickMs).unref();
const usedMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function fuzz(name) {
  const { open, seeds, dictionary } = targets[name];
  const target = await open();
  const draw = draws(seed);
  const outcomes = new Map();
  const failures = [];
  let inputs = 0;
  let slowest = 0;
  const fail = (index, bytes, why) => {
    failures.push(why);
    console.log(
      `  failed  ${name}: ${why}\n  repeat: node tools/fuzz/run.mjs ${name} --seed ${seed} --at ${index}`,
    );
    console.log(`  input: ${Buffer.from(bytes).toString("base64").slice(0, 2000)}`);
  };
  const before = heapMib();
  const until = performance.now() + seconds * 1000;
  for (
    let index = 0;
    (only === undefined ? performance.now() < until : index <= only) && failures.length < mostFailures;
    index++
  ) {
    const bytes = mutated(draw, seeds, dictionary);
    if (only !== undefined && index !== only) continue;
    inputs += 1;
    const [startedMs, waitedBeforeMs, wallMs] = [usedMs(), waitedMs, performance.now()];
    try {
      const outcome = await target.run(bytes);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (thrown) {
      fail(index, bytes, thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    }
    const took = Math.max(usedMs() - startedMs, waitedMs - waitedBeforeMs);
    slowest = Math.max(slowest, took);
    const lastedMs = performance.now() - wallMs;
    if (took > mostMs || lastedMs > mostWallMs)
      fail(index, bytes, `took ${Math.round(took)} ms, and ${Math.round(lastedMs)} by the clock`);
    if (stray !== undefined) {
      fail(index, bytes, `an error without a listener was thrown: ${stray?.stack ?? stray}`);
      stray = undefined;
    }
  }
  await target.close?.();
  const growth = heapMib() - before;
  if (globalThis.gc && growth > mostGrowthMib) fail(-1, [], `the heap grew by ${growth.toFixed(0)} MiB`);
  const most = [...outcomes].sort((a, b) => b[1] - a[1]).slice(0, 6);
  console.log(
    `${name}: ${inputs} inputs, slowest ${slowest.toFixed(1)} ms, heap ${growth >= 0 ? "+" : ""}${growth.toFixed(1)} MiB; ${most.map(([outcome, count]) => `${outcome} ${count}`).join(", ")}`,
  );
  return failures.length;
}

console.log(`seed ${seed}, ${seconds} s for each of ${chosen.join(", ")}`);
let passed = 0;
let failed = 0;
for (const name of chosen) {
  if (!targets[name]) throw new Error(`no target ${name}; there are: ${Object.keys(targets).join(", ")}`);
  const failures = await fuzz(name);
  if (failures === 0) passed += 1;
  else failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
