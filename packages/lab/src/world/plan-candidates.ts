/** All plans that never change, with the time that each should take on an idle link of one rate. */
import {
  type BucketProfile,
  type CodingProfile,
  type CutProfile,
  endCut,
  type Result,
  startCut,
} from "@longshore/core";
import type { FixedPlan } from "./fixed-plan.ts";

/** A plan with the parts of its time, on the profile's machine and in bytes. */
export interface PlanCandidate {
  readonly plan: FixedPlan;
  readonly headMs: number;
  readonly encodeMs: number;
  readonly upBytes: number;
  readonly decodeMs: number;
  readonly tailMs: number;
  readonly downBytes: number;
  readonly agreementRatio: number;
}

/** Rates and speeds to price a candidate with. */
export interface PlanPrices {
  readonly deviceSpeed: number;
  readonly endpointSpeed: number;
  readonly upBitsPerSecond: number;
  readonly downBitsPerSecond: number;
  readonly roundTripMs: number;
}

/** Every plan of a variant whose answers agree well enough: all here, and each cut in each coding at each endpoint. */
export function planCandidates(
  variant: string,
  bucket: BucketProfile,
  endpoints: readonly string[],
  minAgreementRatio = 0.995,
): readonly PlanCandidate[] {
  const candidates: PlanCandidate[] = [];
  const end = bucket.cuts.find(({ cut }) => cut.id === endCut);
  const downBytes = end?.codings[0]?.bytes ?? 0;
  for (const cut of bucket.cuts) {
    if (cut.cut.id === endCut) {
      candidates.push(candidate(variant, cut, undefined, undefined, 0));
      continue;
    }
    for (const coding of cut.codings) {
      if (coding.agreementRatio < minAgreementRatio) continue;
      for (const endpoint of endpoints) candidates.push(candidate(variant, cut, coding, endpoint, downBytes));
    }
  }
  return candidates;
}

function candidate(
  variant: string,
  { cut, headMs, tailMs }: CutProfile,
  coding: CodingProfile | undefined,
  endpoint: string | undefined,
  downBytes: number,
): PlanCandidate {
  return {
    plan: {
      variant,
      cut: cut.id,
      codecs: coding?.codecs ?? {},
      ...(endpoint === undefined ? {} : { endpoint }),
    },
    headMs: cut.id === startCut ? 0 : mean(headMs),
    encodeMs: coding?.encodeMs ?? 0,
    upBytes: coding?.bytes ?? 0,
    decodeMs: coding?.decodeMs ?? 0,
    tailMs: cut.id === endCut ? 0 : mean(tailMs),
    downBytes,
    agreementRatio: coding?.agreementRatio ?? 1,
  };
}

/** Time of a candidate on an idle link and an idle endpoint, in milliseconds. */
export function expectedMs(one: PlanCandidate, prices: PlanPrices): number {
  const here = (one.headMs + one.encodeMs) / prices.deviceSpeed;
  if (one.plan.endpoint === undefined) return here;
  return (
    here +
    (one.decodeMs + one.tailMs) / prices.endpointSpeed +
    prices.roundTripMs +
    (one.upBytes * 8000) / prices.upBitsPerSecond +
    (one.downBytes * 8000) / prices.downBitsPerSecond
  );
}

/**
 * The plan that an answered request ended on, in the words of fixed plans. A run here that takes what another endpoint gave is
 * the end of that endpoint's plan; a run here that won the race, or went on after a head here, is a run here.
 */
export function planOf(result: Result, device: string): FixedPlan {
  const last = result.plans[result.plans.length - 1];
  const variant = last?.variant ?? "";
  const here: FixedPlan = { variant, cut: endCut, codecs: {} };
  const legs = last?.legs ?? [];
  const won =
    legs.find(
      ({ id, endpoint, segment }) =>
        endpoint === result.where &&
        segment.to === endCut &&
        result.lostLegs.every(({ leg }) => leg !== id) &&
        answeredBy(result, endpoint, segment.from),
    ) ?? legs.find(({ endpoint, segment }) => endpoint === result.where && segment.to === endCut);
  if (!won) return here;
  const source = legs.find(({ id }) => id === won.takes);
  const away = won.endpoint !== device ? won : source && source.endpoint !== device ? source : undefined;
  if (!away) return here;
  const { segment, endpoint, codecs } = away;
  return {
    variant,
    cut: segment.from,
    endpoint: endpoint,
    codecs,
    ...(segment.to === endCut ? {} : { back: segment.to }),
  };
}

/** Whether an account says that this endpoint ran to the answer from there. */
function answeredBy(result: Result, endpoint: string, from: string): boolean {
  return result.accounts.some(
    (one) => one.endpoint === endpoint && one.segment.from === from && one.segment.to === endCut,
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / Math.max(1, values.length);
}
