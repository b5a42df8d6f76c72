import {
  type Call,
  type DataClass,
  moreTrust,
  narrowerZones,
  neverAborted,
  type OwnCall,
  ownCall,
  randomId,
} from "../base/index.ts";
import { type Objective, type PlanLimits, usualAgreementRatio } from "../goal/index.ts";
import type { Job } from "./job.ts";
import type { Loop } from "./loop.ts";
import type { Limits } from "../offloader/index.ts";

/**
 * Who asks and under which rules, with the defaults of the place filled in. A class that nobody names is `unknown`, which
 * the built-in policy lets nowhere but on the device.
 */
export function callFor(loop: Loop, limits: Limits, modelClass: DataClass | undefined): OwnCall {
  const { defaults = {} } = loop.parts;
  const deadlineMs = limits.deadlineMs ?? defaults.deadlineMs;
  const zones = narrowerZones(limits.zones, defaults.zones);
  const call: OwnCall = {
    id: randomId(loop.parts.random),
    abort: limits.abort ?? neverAborted,
    deadlineMs: deadlineMs === undefined ? Infinity : loop.clock.nowMs() + deadlineMs,
    tenant: defaults.tenant ?? "local",
    rules: {
      dataClass: limits.dataClass ?? modelClass ?? defaults.dataClass ?? "unknown",
      leastTrust: moreTrust(limits.leastTrust ?? "none", defaults.leastTrust ?? "none"),
      ...(zones ? { zones } : {}),
      ...(limits.confirm === true ? { confirm: true } : {}),
    },
    path: [],
  };
  if (limits.trace) call.trace = limits.trace;
  if (limits.idempotencyKey !== undefined) call.idempotencyKey = limits.idempotencyKey;
  return call;
}

/** Takes the demand that answers are confirmed from a call, or from the defaults, and keeps the other rules. */
export function confirming(
  { parts }: Loop,
  call: Call,
  which: NonNullable<Job["confirm"]>,
): Pick<Job, "call" | "confirm"> {
  if (call.rules.confirm !== true && parts.defaults?.confirm !== true) return { call };
  const { confirm: _kept, ...rules } = call.rules;
  return { call: Object.assign(ownCall(call), { rules }), confirm: which };
}

/** What a plan must keep, with the defaults of the place filled in. */
export function planLimits(loop: Loop, limits: Limits): PlanLimits {
  const { defaults = {} } = loop.parts;
  const { minInTimeRatio, maxDeviceMillijoules, maxCostMicros, minAccuracyRatio, variant } = limits;
  return {
    objective: limits.objective ?? sparing(loop) ?? defaults.objective ?? "latency",
    minAgreementRatio: limits.minAgreementRatio ?? defaults.minAgreementRatio ?? usualAgreementRatio,
    minInTimeRatio,
    maxDeviceMillijoules,
    maxCostMicros,
    minAccuracyRatio,
    variant,
  };
}

/** With a battery that runs low, calls that do not care save energy. */
function sparing(loop: Loop): Objective | undefined {
  const battery = loop.parts.device?.battery?.();
  const below = loop.parts.defaults?.saveEnergyBelowRatio ?? 0.15;
  return battery && !battery.charging && battery.ratio < below ? "energy" : undefined;
}
