import { checkRun, type Violation } from "./check.ts";
import type { Fault } from "./plan.ts";
import { runWorld, type WorldRun } from "./world.ts";
import { drawFaults, drawWorld } from "./world-spec.ts";

/** A run with what is wrong with it. */
export interface SeedRun {
  readonly run: WorldRun;
  readonly violations: readonly Violation[];
}

/** Runs the world of a seed, under the faults that it draws or under these. */
export async function runSeed(seed: number, faults?: readonly Fault[]): Promise<SeedRun> {
  const spec = drawWorld(seed);
  const run = await runWorld(spec, faults ?? drawFaults(spec));
  return { run, violations: checkRun(run) };
}
