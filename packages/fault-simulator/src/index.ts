/**
 * Runs the whole system in one process under virtual time, with faults that a seed draws, and checks what it promises.
 *
 * @module
 */
export { checkRun, type Violation } from "./check.ts";
export { type Fault, type FaultKind, faultKinds, type FaultPlan, planFrom } from "./plan.ts";
export { runSeed, type SeedRun } from "./run-seed.ts";
export { type Disturbance, runWorld, type WorldRun } from "./world.ts";
export { drawFaults, drawWorld, type WorldSpec } from "./world-spec.ts";
