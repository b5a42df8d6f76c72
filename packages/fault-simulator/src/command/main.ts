/** `npm run faults`: runs seeds of the simulator, replays one, or shrinks what one breaks. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LongshoreError } from "@longshore/core";
import type { Violation } from "../check.ts";
import { type Fault, type FaultPlan, planFrom } from "../plan.ts";
import { runPlanted } from "../run-planted.ts";
import { runSeed, type SeedRun } from "../run-seed.ts";
import { samePromise, shrink } from "../shrink.ts";
import { drawFaults, drawWorld, machinesOf } from "../world-spec.ts";

const usage = `usage: npm run faults -- [--seeds N] [--from S] [--jobs J]  runs N seeds (default 300) from S (default 1) in J processes (default 2)
       npm run faults -- --replay SEED           runs one seed twice, prints its log and what is wrong, with the fewest faults
       npm run faults -- --plan FILE             runs the world and the faults of a plan in JSON
       npm run faults -- --planted [--only NAME,...] [--seeds N]  plants known bugs one by one and says what finds each
       --json prints the result of seeds as JSON; --first, in one process, stops at the first seed that breaks something
example: npm run faults -- --seeds 50 --from 1000`;

/** The outcome of many seeds. */
interface Summary {
  seeds: number;
  requests: number;
  cpuMs: number;
  readonly failed: string[];
}

function whole(text: string, name: string, least: number): number {
  const value = Number(text);
  if (/^\d{1,15}$/.test(text) && value >= least) return value;
  throw new LongshoreError(
    "invalid-configuration",
    "plan",
    `--${name} is '${text.slice(0, 40)}': give a whole number of ${least} or more`,
  );
}

function describe({ kind, machine, atMs, forMs, amount, ratio }: Fault): string {
  return `${kind} of ${machine} at ${atMs} ms for ${forMs} ms${amount === 0 ? "" : `, amount ${amount}`}${ratio === 1 ? "" : `, ratio ${ratio}`}`;
}

const told = ({ check, tag, text }: Violation): string =>
  `${check}: ${tag === undefined ? "" : `request ${tag} `}${text}`;

async function many(seeds: number, from: number, first: boolean): Promise<Summary> {
  const summary: Summary = { seeds: 0, requests: 0, cpuMs: 0, failed: [] };
  const cpu = process.cpuUsage();
  for (let seed = from; seed < from + seeds; seed++) {
    const { run, violations } = await runSeed(seed);
    summary.seeds += 1;
    summary.requests += run.outcomes.length;
    const [worst, ...more] = violations;
    if (!worst) continue;
    summary.failed.push(`seed ${seed}: ${told(worst)} (${more.length} more; --replay ${seed})`);
    if (first) break;
  }
  const { user, system } = process.cpuUsage(cpu);
  summary.cpuMs = (user + system) / 1000;
  return summary;
}

/** The same in several processes, each with its share of the seeds. */
async function manyApart(seeds: number, from: number, jobs: number): Promise<Summary> {
  const size = Math.ceil(seeds / jobs);
  const shares = Array.from({ length: jobs }, (_, job) => {
    const count = Math.max(0, Math.min(size, seeds - job * size));
    return count === 0 ? [] : [manyElsewhere(count, from + job * size)];
  });
  const all = await Promise.all(shares.flat());
  const total = (of: (one: Summary) => number): number => all.reduce((sum, one) => sum + of(one), 0);
  return {
    seeds: total((one) => one.seeds),
    requests: total((one) => one.requests),
    cpuMs: total((one) => one.cpuMs),
    failed: all.flatMap((one) => one.failed),
  };
}

/** Settings of V8 for many worlds in one process. */
const engineFlags: readonly string[] = [
  // Space for short-lived objects, in MiB. Worlds make and drop many: with the usual 16 collecting them takes a tenth of the time.
  "--max-semi-space-size=64",
  // Bytes of other functions in one that is optimised, usually 920. Worlds run much code a few times: compiling takes longer than calls.
  "--max-inlined-bytecode-size-cumulative=300",
];

function manyElsewhere(seeds: number, from: number): Promise<Summary> {
  return new Promise((resolve, reject) => {
    const args = [
      ...engineFlags,
      fileURLToPath(import.meta.url),
      "--seeds",
      String(seeds),
      "--from",
      String(from),
      "--json",
      "--jobs",
      "1",
    ];
    execFile(process.execPath, args, { maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout) as Summary);
      } catch {
        reject(
          new Error(
            `seeds from ${from} ended without a word: ${error?.message ?? ""} ${stderr.slice(0, 2000)}`,
          ),
        );
      }
    });
  });
}

function tell({ seeds, requests, cpuMs, failed }: Summary, from: number): boolean {
  for (const one of failed) console.log(`  failed  ${one}`);
  console.log(
    `${requests} requests in ${seeds} seeds from ${from}, ${(cpuMs / seeds).toFixed(0)} ms of processor time each`,
  );
  console.log(`${seeds - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0;
}

/** The least share of planted bugs that must be found. */
const leastFoundRatio = 0.87;

async function planted(seeds: number, names: readonly string[] | undefined): Promise<boolean> {
  const outcomes = await runPlanted({
    seeds,
    ...(names ? { names } : {}),
    done: ({ bug, found, how }) =>
      console.log(
        `${found === undefined ? "NOT FOUND" : `found by ${found}`.replace("found by stale", "STALE")}  ${bug.name}: ${found === undefined ? bug.about : how}`,
      ),
  });
  const found = outcomes.filter((one) => one.found === "simulator" || one.found === "tests");
  const bySimulator = outcomes.filter((one) => one.found === "simulator").length;
  const stale = outcomes.filter((one) => one.found === "stale").length;
  console.log(
    `${found.length} of ${outcomes.length} planted bugs found, ${bySimulator} of them by the simulator; ${stale} stale`,
  );
  return stale === 0 && found.length >= leastFoundRatio * outcomes.length;
}

async function replay(seed: number, faults: readonly Fault[]): Promise<boolean> {
  const first = await runSeed(seed, faults);
  const second = await runSeed(seed, faults);
  const same = first.run.log.digest() === second.run.log.digest();
  for (const line of first.run.log.lines) console.log(line);
  for (const fault of faults) console.log(`fault: ${describe(fault)}`);
  console.log(
    `log ${first.run.log.digest()}${same ? "" : `, and another one the second time: ${second.run.log.digest()}`}`,
  );
  for (const violation of first.violations) console.log(`wrong: ${told(violation)}`);
  if (first.violations.length > 0) await tellFewest(seed, first, faults);
  return same && first.violations.length === 0;
}

async function tellFewest(seed: number, { violations }: SeedRun, faults: readonly Fault[]): Promise<void> {
  const fewest = await shrink(faults, async (some) =>
    samePromise(violations, (await runSeed(seed, some)).violations),
  );
  const plan: FaultPlan = { schemaVersion: 1, seed, faults: fewest };
  console.log(`fewest faults: ${fewest.length}; for --plan FILE:`);
  console.log(JSON.stringify(plan));
}

function planIn(path: string): FaultPlan {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new LongshoreError("invalid-configuration", "plan", `the plan ${path} cannot be read: ${why}`, {
      cause: thrown,
    });
  }
  const { seed } = planFrom(value);
  return planFrom(value, new Set(machinesOf(drawWorld(seed))));
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      from: { type: "string", default: "1" },
      replay: { type: "string" },
      plan: { type: "string" },
      planted: { type: "boolean", default: false },
      only: { type: "string" },
      jobs: { type: "string" },
      first: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return true;
  }
  const chosen = (["replay", "plan", "planted"] as const).filter(
    (one) => values[one] !== undefined && values[one] !== false,
  );
  if (chosen.length > 1) {
    const both = chosen.map((one) => `--${one}`).join(" and ");
    throw new LongshoreError("invalid-configuration", "plan", `${both} exclude each other: give one`);
  }
  if (values.plan !== undefined) {
    const { seed, faults } = planIn(values.plan);
    return await replay(seed, faults);
  }
  if (values.replay !== undefined) {
    const seed = whole(values.replay, "replay", 0);
    return await replay(seed, drawFaults(drawWorld(seed)));
  }
  if (values.planted) return await planted(whole(values.seeds ?? "60", "seeds", 1), values.only?.split(","));
  const seeds = whole(values.seeds ?? "300", "seeds", 1);
  const from = whole(values.from, "from", 0);
  const jobs = Math.min(seeds, whole(values.jobs ?? String(Math.min(2, availableParallelism())), "jobs", 1));
  const summary = jobs > 1 ? await manyApart(seeds, from, jobs) : await many(seeds, from, values.first);
  if (!values.json) return tell(summary, from);
  console.log(JSON.stringify(summary));
  return summary.failed.length === 0;
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (thrown) {
  console.error(thrown instanceof Error ? thrown.message : String(thrown));
  // A refusal says what to change; the usage would hide it.
  if (!LongshoreError.is(thrown)) console.error(usage);
  process.exitCode = 2;
}
