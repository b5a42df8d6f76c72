import { isTrustLevel, LongshoreError, type Rules } from "../../words/base/index.ts";
import type { PlanLimits } from "./limits.ts";
import { readObjective } from "./objective.ts";

/** Returns what a value must be, in words; undefined if it is. */
type Check = (value: unknown) => string | undefined;

const text: Check = (value) => (typeof value === "string" ? undefined : "a text");
const flag: Check = (value) => (typeof value === "boolean" ? undefined : "true or false");
const number: Check = (value) => (typeof value === "number" && value === value ? undefined : "a number");
const ratio: Check = (value) =>
  typeof value === "number" && value >= 0 && value <= 1 ? undefined : "a number from 0 to 1";
const amount: Check = (value) =>
  typeof value === "number" && value >= 0 ? undefined : "a number of 0 or more";
const task: Check = (value) => (typeof value === "function" ? undefined : "a function");
/** By what is used of it, since a polyfill or another realm has a class of its own. */
const abortSignal: Check = (value) =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value
    ? undefined
    : "an AbortSignal, such as the signal of an AbortController";
const traceContext: Check = (value) =>
  typeof value === "object" && value !== null && "traceId" in value && "spanId" in value
    ? undefined
    : "a mapping with traceId, spanId and sampled";

/** A tier, or one endpoint by its id. */
const selected: Check = (value) => {
  if (value === "device" || value === "edge" || value === "cloud") return undefined;
  const named = typeof value === "object" && value !== null && Object.keys(value).join() === "endpoint";
  return named && typeof (value as { endpoint: unknown }).endpoint === "string"
    ? undefined
    : "device, edge or cloud, or { endpoint: ID }";
};

/** By what is demanded, what each value has to be. */
type Checks<Key extends string> = Readonly<Record<Key, Check>>;
type OfBoth = keyof Rules | "deadlineMs" | "objective" | "minAgreementRatio";
type OfCalls = OfBoth | keyof PlanLimits | "version" | "signal" | "idempotencyKey" | "trace" | "progress";

const ofBoth: Checks<OfBoth> = {
  deadlineMs: number,
  objective: (value) => {
    const read = typeof value === "string" ? readObjective(value) : "";
    if (typeof read !== "string") return undefined;
    return `the words of an objective, such as latency, p95 or mean=1,energy=0.2${read === "" ? "" : `: ${read}`}`;
  },
  minAgreementRatio: ratio,
  zones: (value) =>
    Array.isArray(value) && value.every((zone) => typeof zone === "string") ? undefined : "a list of texts",
  dataClass: text,
  leastTrust: (value) => (isTrustLevel(value) ? undefined : "none, listed, operated, vouched or attested"),
  confirm: flag,
};
const ofCalls: Checks<OfCalls> = {
  ...ofBoth,
  minInTimeRatio: (value) =>
    typeof value === "number" && value > 0 && value <= 1 ? undefined : "a number above 0, and at most 1",
  maxDeviceMillijoules: amount,
  maxCostMicros: amount,
  minAccuracyRatio: ratio,
  variant: text,
  version: text,
  signal: abortSignal,
  only: selected,
  prefer: selected,
  idempotencyKey: text,
  trace: traceContext,
  progress: task,
};

/** Checks of the options of a call, of a stream of frames, and of the defaults of an offloader. */
export const limitChecks: {
  readonly ofCalls: Checks<OfCalls>;
  readonly ofStreams: Checks<OfCalls | "keep" | "maxInFlight">;
  readonly ofDefaults: Checks<OfBoth | "saveEnergyBelowRatio" | "tenant">;
} = {
  ofCalls,
  ofStreams: {
    ...ofCalls,
    keep: (value) => (value === "every" || value === "latest" ? undefined : "every or latest"),
    maxInFlight: (value) =>
      Number.isInteger(value) && Number(value) >= 1 ? undefined : "a whole number of 1 or more",
  },
  ofDefaults: { ...ofBoth, saveEnergyBelowRatio: number, tenant: text },
};

/**
 * Refuses limits and rules that cannot be kept because they are misspelt, no such thing, or not `known` where they are said, so
 * that no rule is passed over in silence: a caller in plain JavaScript has no compiler to say so. `known` names whatever `L`
 * may hold. Throws `invalid-input`, or `invalid-configuration` for what an offloader is opened with.
 */
export function checkLimits<L extends object>(
  limits: L,
  known: Checks<string> & Readonly<Record<keyof NoInfer<L>, Check>>,
  opening = false,
): void {
  const what = opening ? "defaults" : "limits";
  if (typeof limits !== "object" || limits === null) throw refused(`${what} must be a mapping`, opening);
  for (const [key, value] of Object.entries(limits)) {
    if (value === undefined) continue;
    const wish = Object.hasOwn(known, key) ? known[key] : undefined;
    const wanted = wish?.(value);
    if (wish && wanted === undefined) continue;
    const why = wish
      ? `${what}.${key} must be ${wanted}`
      : `${what} have no ${key}; they have ${Object.keys(known).join(", ")}`;
    throw refused(why, opening);
  }
}

function refused(why: string, opening: boolean): LongshoreError {
  return new LongshoreError(opening ? "invalid-configuration" : "invalid-input", "resolve", why);
}

/** Refuses a model that is no name: a caller in plain JavaScript has no compiler to say so. Throws `invalid-input`. */
export function checkNamed(model: unknown): void {
  if (typeof model !== "string") throw refused("the model must be a text, its name", false);
}

/** Refuses what is said of a deadline where there is none. Throws `invalid-input`. */
export function checkAim({ objective, minInTimeRatio }: PlanLimits, deadlineMs: number): void {
  if (deadlineMs < Infinity || (objective !== "chance" && minInTimeRatio === undefined)) return;
  const what = objective === "chance" ? "limits.objective chance" : "limits.minInTimeRatio";
  throw new LongshoreError("invalid-input", "resolve", `${what} needs a deadline: deadlineMs`);
}
