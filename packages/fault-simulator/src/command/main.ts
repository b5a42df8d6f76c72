/** `npm run faults`: runs seeds of the simulator, replays one, or shrinks what one breaks. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { LongshoreError } from "@longshore/core";
import type { Violation } from "../check.ts";
import { gapOf } from "../known-gaps.ts";
import { type Fault, type FaultPlan, planFrom } from "../plan.ts";
import { runSeed, type SeedRun } from "../run-seed.ts";
import { samePromise, shrink } from "../shrink.ts";
import { drawFaults, drawWorld, machinesOf } from "../world-spec.ts";

const usage = `usage: npm run faults -- [--seeds N] [--from S]   runs N seeds (default 300) from S (default 1)
       npm run faults -- --replay SEED           runs one seed twice, prints its log and what is wrong, with the fewest faults
       npm run faults -- --plan FILE             runs the world and the faults of a plan in JSON
example: npm run faults -- --seeds 50 --from 1000`;

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

async function many(seeds: number, from: number): Promise<boolean> {
  let failed = 0;
  let requests = 0;
  const known = new Map<string, number>();
  const cpu = process.cpuUsage();
  for (let seed = from; seed < from + seeds; seed++) {
    const { run, violations } = await runSeed(seed);
    requests += run.outcomes.length;
    for (const { name } of violations.flatMap((one) => gapOf(one) ?? []))
      known.set(name, (known.get(name) ?? 0) + 1);
    const [first, ...more] = violations.filter((one) => !gapOf(one));
    if (!first) continue;
    failed += 1;
    console.log(`  failed  seed ${seed}: ${told(first)} (${more.length} more; --replay ${seed})`);
  }
  const { user, system } = process.cpuUsage(cpu);
  const each = (user + system) / 1000 / seeds;
  console.log(
    `${requests} requests in ${seeds} seeds from ${from}, ${each.toFixed(0)} ms of processor time each`,
  );
  for (const [name, count] of known) console.log(`known gap "${name}": ${count} requests`);
  console.log(`${seeds - failed} passed, ${failed} failed`);
  return failed === 0;
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
  for (const violation of first.violations) {
    const gap = gapOf(violation);
    console.log(`${gap ? `known gap "${gap.name}"` : "wrong"}: ${told(violation)}`);
  }
  if (first.violations.length > 0) await tellFewest(seed, first, faults);
  return same && first.violations.every((one) => gapOf(one));
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
    throw new LongshoreError("invalid-configuration", "plan", `the plan cannot be read: ${why}`, {
      cause: thrown,
    });
  }
  const { seed } = planFrom(value);
  return planFrom(value, new Set(machinesOf(drawWorld(seed))));
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "300" },
      from: { type: "string", default: "1" },
      replay: { type: "string" },
      plan: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return true;
  }
  if (values.plan !== undefined) {
    const { seed, faults } = planIn(values.plan);
    return await replay(seed, faults);
  }
  if (values.replay !== undefined) {
    const seed = whole(values.replay, "replay", 0);
    return await replay(seed, drawFaults(drawWorld(seed)));
  }
  return await many(whole(values.seeds, "seeds", 1), whole(values.from, "from", 0));
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (thrown) {
  console.error(thrown instanceof Error ? thrown.message : String(thrown));
  console.error(usage);
  process.exitCode = 2;
}
