import {
  type Call,
  type DataClass,
  narrowerRules,
  neverAborted,
  type OwnCall,
  ownCall,
  randomId,
  type Rules,
} from "../../words/base/index.ts";
import { type Objective, type PlanLimits, usualAgreementRatio } from "../../decide/goal/index.ts";
import { checkDataClass } from "../../decide/policy/index.ts";
import type { Job } from "./job.ts";
import type { Loop, LoopSetting } from "./loop.ts";
import type { Limits } from "../offloader/index.ts";

/**
 * The call with its rules, completed with the defaults of the endpoint. Data without a stated class is `unknown`, which the built-in policy
 * keeps on the device. Throws `invalid-input` for a stated class that the policy does not know.
 */
export function callFor(loop: LoopSetting, limits: Limits, modelClass: DataClass | undefined): OwnCall {
  const { defaults = {}, policy } = loop.parts;
  if (limits.dataClass !== undefined)
    checkDataClass(policy, limits.dataClass, "limits.dataClass", "invalid-input");
  const deadlineMs = limits.deadlineMs ?? defaults.deadlineMs;
  const rules: Rules = {
    dataClass: limits.dataClass ?? modelClass ?? defaults.dataClass ?? "unknown",
    leastTrust: limits.leastTrust ?? "none",
    ...(limits.zones ? { zones: limits.zones } : {}),
    ...(limits.confirm === true ? { confirm: true } : {}),
  };
  const call: OwnCall = {
    id: randomId(loop.parts.random),
    abort: limits.signal ?? neverAborted,
    deadlineMs: deadlineMs === undefined ? Infinity : loop.clock.nowMs() + deadlineMs,
    tenant: defaults.tenant ?? "local",
    rules: narrowerRules(rules, defaults),
    path: [],
  };
  if (limits.trace) call.trace = limits.trace;
  if (limits.idempotencyKey !== undefined) call.idempotencyKey = limits.idempotencyKey;
  return call;
}

/** The call under the rules of this endpoint, too; takes the demand that answers are confirmed from it, or from the defaults. */
export function confirming(
  { parts: { defaults = {} } }: LoopSetting,
  call: Call,
  which: NonNullable<Job["confirm"]>,
): Pick<Job, "call" | "confirm"> {
  const held = narrowerRules(call.rules, defaults);
  if (held.confirm !== true && defaults.confirm !== true)
    return { call: held === call.rules ? call : Object.assign(ownCall(call), { rules: held }) };
  const { confirm: _kept, ...rules } = held;
  return { call: Object.assign(ownCall(call), { rules }), confirm: which };
}

/** The limits of a plan, completed with the defaults of the endpoint. */
export function planLimits(loop: Loop, limits: Limits): PlanLimits {
  const { defaults = {} } = loop.parts;
  const { minInTimeRatio, maxDeviceMillijoules, maxCostMicros, minAccuracyRatio, variant, only, prefer } =
    limits;
  return {
    objective: limits.objective ?? sparing(loop) ?? defaults.objective ?? "latency",
    minAgreementRatio: limits.minAgreementRatio ?? defaults.minAgreementRatio ?? usualAgreementRatio,
    minInTimeRatio,
    maxDeviceMillijoules,
    maxCostMicros,
    minAccuracyRatio,
    variant,
    ...(only === undefined ? {} : { only }),
    ...(prefer === undefined ? {} : { prefer }),
  };
}

/** With a battery that runs low, calls that do not care save energy. */
function sparing(loop: LoopSetting): Objective | undefined {
  const battery = loop.parts.device?.battery?.();
  const below = loop.parts.defaults?.saveEnergyBelowRatio ?? 0.15;
  return battery && !battery.charging && battery.ratio < below ? "energy" : undefined;
}
