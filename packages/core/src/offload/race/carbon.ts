import type { EndpointId } from "../../words/base/index.ts";
import type { Account } from "../../wire/endpoint/index.ts";
import { microgramsOf } from "../../decide/goal/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { Tally } from "../account/index.ts";
import type { Job } from "./job.ts";
import type { Loop, LoopSetting } from "./loop.ts";
import { gramsNow } from "./grams-now.ts";

/** The request that CO2 is counted for. */
export type Counting = Pick<Job, "call" | "known">;

/** Counts the CO2 of an answer from elsewhere: of the endpoint, and of those behind it. */
export function countAnswer(loop: LoopSetting, job: Counting, account: Account, tally: Tally): void {
  const grams = gramsNow(loop.parts, loop.clock);
  if (grams) count(loop, job, account.endpoint, accountMicrograms(account, grams), tally);
}

/** Counts the CO2 that was predicted of a run elsewhere without an answer. */
export function countPredicted(
  loop: LoopSetting,
  job: Counting,
  { endpoint, predicted }: Leg,
  tally: Tally,
): void {
  if (loop.parts.carbon) count(loop, job, endpoint, predicted.carbonMicrograms ?? NaN, tally);
}

/**
 * Adds energy that this device drew, and its CO2. `ran`: for a run. Energy for sending and waiting counts only if the carbon intensity of
 * its zone is stated.
 */
export function countDeviceEnergy(
  loop: Loop,
  job: Counting,
  millijoules: number,
  ran: boolean,
  tally: Tally,
): void {
  tally.millijoules += millijoules;
  const { local } = loop;
  const grams = local && gramsNow(loop.parts, loop.clock)?.(local.info.zone);
  if (grams === undefined || (Number.isNaN(grams) && !ran)) return;
  count(loop, job, local?.info.id ?? loop.self, microgramsOf(millijoules, grams), tally);
}

function accountMicrograms(account: Account, grams: (zone: string) => number): number {
  const { energy, zone, forwarded } = account;
  const at = grams(zone);
  let total = 0;
  // A gateway only forwards: what it draws itself counts if its intensity is stated.
  if (forwarded.length === 0) {
    total = at === 0 ? 0 : energy.millijoules > 0 ? microgramsOf(energy.millijoules, at) : NaN;
  } else if (!Number.isNaN(at)) total = microgramsOf(energy.millijoules, at);
  for (const behind of forwarded) total += accountMicrograms(behind, grams);
  return total;
}

function count(
  { parts, clock }: LoopSetting,
  { call, known }: Counting,
  endpoint: EndpointId,
  micrograms: number,
  tally: Tally,
): void {
  if (micrograms === 0) return;
  tally.carbonMicrograms += micrograms;
  parts.observer.record({
    kind: "carbon-counted",
    atMs: clock.nowMs(),
    callId: call.id,
    tenant: call.tenant,
    model: known.description.name,
    endpoint,
    micrograms: Number.isNaN(micrograms) ? undefined : micrograms,
  });
}
