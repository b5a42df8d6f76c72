import { LongshoreError, trustRank, type TrustLevel } from "../base/index.ts";
import type { Objective } from "./plan.ts";

const objectives: Readonly<Record<Objective, true>> = {
  latency: true,
  energy: true,
  cost: true,
  accuracy: true,
  throughput: true,
};

/** What a value has to be, in words, where it is not. */
type Wish = (value: unknown) => string | undefined;

const text: Wish = (value) => (typeof value === "string" ? undefined : "a text");
const flag: Wish = (value) => (typeof value === "boolean" ? undefined : "true or false");
const number: Wish = (value) => (typeof value === "number" && value === value ? undefined : "a number");
const anything: Wish = () => undefined;

const wishes: Readonly<Record<string, Wish>> = {
  deadlineMs: number,
  objective: (value) =>
    Object.hasOwn(objectives, String(value)) ? undefined : Object.keys(objectives).join(", "),
  latencyQuantile: (value) =>
    Number(value) > 0 && Number(value) < 1 ? undefined : "a number between 0 and 1",
  maxDeviceMillijoules: number,
  maxCostMicros: number,
  minAgreementRatio: number,
  minAccuracyRatio: number,
  variant: text,
  version: text,
  zones: (value) =>
    Array.isArray(value) && value.every((zone) => typeof zone === "string") ? undefined : "a list of texts",
  dataClass: text,
  leastTrust: (value) =>
    value === "none" || trustRank(value as TrustLevel) > 0 ? undefined : "none, listed, operated or attested",
  confirm: flag,
  abort: anything,
  idempotencyKey: text,
  trace: anything,
  progress: anything,
  keep: (value) => (value === "every" || value === "latest" ? undefined : "every or latest"),
  maxInFlight: (value) =>
    Number.isInteger(value) && Number(value) >= 1 ? undefined : "a whole number of 1 or more",
  saveEnergyBelowRatio: number,
  tenant: text,
};

/**
 * Refuses limits and rules that cannot be kept because they are misspelt or no such thing, so that no rule is passed over in
 * silence: a caller in plain JavaScript has no compiler to say so. Throws `invalid-input`, or `invalid-configuration` for what an
 * offloader is opened with.
 */
export function checkLimits(limits: object, opening = false): void {
  for (const [key, value] of Object.entries(limits)) {
    if (value === undefined) continue;
    const wish = Object.hasOwn(wishes, key) ? wishes[key] : undefined;
    const wanted = wish?.(value);
    if (wish && wanted === undefined) continue;
    const what = opening ? "defaults" : "limits";
    throw new LongshoreError(
      opening ? "invalid-configuration" : "invalid-input",
      "resolve",
      wish
        ? `${what}.${key} must be ${wanted}`
        : `${what} have no ${key}; they have ${Object.keys(wishes).join(", ")}`,
    );
  }
}
