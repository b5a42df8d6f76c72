import { endCut, type EndpointInfo, type Tier } from "@longshore/core";
import { radios } from "@longshore/core/internal";
import {
  breakEvenBitsPerSecond,
  bucketOf,
  constantTrace,
  expectedMs,
  meanBitsPerSecond,
  type OffloadWorldParts,
  type PlanCandidate,
  planCandidates,
  type SimulatedModel,
  type Trace,
} from "@longshore/lab";
import { platformCodecs } from "../compose/codecs.ts";
import { type ReplayDemand, replayRequests, type Score } from "./replay.ts";

/** The world that the advice is about. */
export interface Circumstances {
  readonly deviceSpeed: number;
  readonly serverSpeed: number;
  readonly up: Trace;
  readonly down: Trace;
  readonly roundTripMs: number;
  readonly seed: number;
}

/** How one way to run every request did. */
export interface Compared {
  readonly name: "longshore" | "device" | "server" | "server, raw" | "best split";
  /** The plan that never changes; undefined for Longshore, which chooses each time. */
  readonly candidate: PlanCandidate | undefined;
  readonly score: Score;
}

/** How Longshore does at one constant uplink rate. */
export interface AtRate {
  readonly bitsPerSecond: number;
  readonly meanMs: number;
  /** Share of answers that came from the server, whole or tail. */
  readonly awayRatio: number;
  readonly score: Score;
}

/** Share of the answers to which another endpoint contributed. */
export function awayRatioOf(score: Score): number {
  return score.plans.reduce((sum, { plan, ratio }) => sum + (plan.endpoint === undefined ? 0 : ratio), 0);
}

/** Everything that the advice rests on. */
export interface Comparison {
  readonly ways: readonly Compared[];
  /** Uplink rates above which the whole, and the best cut of all, beat the device; Infinity where none does. */
  readonly breakEven: { readonly whole: number; readonly any: number };
  readonly rates: readonly AtRate[];
}

/** Estimated power of a weak device while it runs, in watts. */
const deviceWatts = 2;
/** Estimated power of a server while it runs, in watts. */
const serverWatts = 20;
/** The most splits that are simulated. */
const splitsTried = 6;

function endpoint(id: string, tier: Tier, zone: string, activeWatts: number): EndpointInfo {
  return {
    id,
    tier,
    zone,
    trust: "operated",
    codecs: [...platformCodecs().keys()],
    state: "movable",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts },
  };
}

/** A device and a server behind one link. */
export function worldOf(model: SimulatedModel, { up, down, ...about }: Circumstances): OffloadWorldParts {
  return {
    models: [model],
    seed: about.seed,
    // The question is what is quickest, not what is allowed: a model that states no class may go anywhere here.
    defaults: { dataClass: "public" },
    device: {
      speed: about.deviceSpeed,
      info: endpoint("device", "device", "device", deviceWatts),
      radio: radios["wifi"] ?? radios["wired"],
    },
    endpoints: [
      {
        info: endpoint("server", "cloud", "remote/server", serverWatts),
        speed: about.serverSpeed,
        up,
        down,
        delayMs: about.roundTripMs / 2,
        jitterMs: about.roundTripMs / 20,
      },
    ],
  };
}

/** Replays the demand in equal worlds: under Longshore, under each plan worth comparing with, and at other rates. */
export async function compare(
  model: SimulatedModel,
  about: Circumstances,
  demand: ReplayDemand,
  progress: (text: string) => void,
): Promise<Comparison> {
  const world = worldOf(model, about);
  const variant = model.description.variants[0]?.name ?? "default";
  const features = { bytes: 0 };
  const candidates = planCandidates(variant, bucketOf(model.profile, variant, features), ["server"]);
  const upBitsPerSecond = meanBitsPerSecond(about.up);
  const downBitsPerSecond = meanBitsPerSecond(about.down);
  const prices = {
    deviceSpeed: about.deviceSpeed,
    endpointSpeed: about.serverSpeed,
    roundTripMs: about.roundTripMs,
    upBitsPerSecond,
    downBitsPerSecond,
  };
  const cost = (one: PlanCandidate): number => expectedMs(one, prices);
  const here = candidates.filter(({ plan }) => plan.cut === endCut);
  const away = candidates.filter(({ plan }) => plan.endpoint !== undefined);
  const whole = away.filter(({ plan }) => plan.cut === "start");
  const splits = away.filter(({ plan }) => plan.cut !== "start").sort((a, b) => cost(a) - cost(b));
  const tried = async (
    some: readonly PlanCandidate[],
  ): Promise<readonly (readonly [PlanCandidate, Score])[]> => {
    const scores: (readonly [PlanCandidate, Score])[] = [];
    for (const one of some) {
      progress(`replaying plan ${scores.length + 1} of ${some.length}`);
      scores.push([one, await replayRequests(world, demand, one.plan)]);
    }
    return scores.sort(([, a], [, b]) => a.meanMs - b.meanMs);
  };
  const ways: Compared[] = [
    { name: "longshore", candidate: undefined, score: await replayRequests(world, demand) },
  ];
  const add = (name: Compared["name"], found: readonly [PlanCandidate, Score] | undefined): void => {
    if (found) ways.push({ name, candidate: found[0], score: found[1] });
  };
  add("device", (await tried(here))[0]);
  const servers = await tried(whole);
  add("server", servers[0]);
  const raw = servers.find(([{ plan }]) => Object.keys(plan.codecs).length === 0);
  if (raw !== servers[0]) add("server, raw", raw);
  add("best split", (await tried(splits.slice(0, splitsTried)))[0]);

  const hereMs = here[0] ? cost(here[0]) : Infinity;
  const least = (some: readonly PlanCandidate[]): number =>
    Math.min(
      ...some.map((one) =>
        breakEvenBitsPerSecond(one, hereMs, { ...prices, downOverUp: downBitsPerSecond / upBitsPerSecond }),
      ),
    );
  const breakEven = { whole: least(whole), any: least(away) };
  return { ways, breakEven, rates: await scan(model, about, demand, breakEven.any, progress) };
}

/** Longshore at constant rates around the one asked about and the break-even. */
async function scan(
  model: SimulatedModel,
  about: Circumstances,
  demand: ReplayDemand,
  breakEven: number,
  progress: (text: string) => void,
): Promise<readonly AtRate[]> {
  const asked = meanBitsPerSecond(about.up);
  const middle = Number.isFinite(breakEven) ? Math.sqrt(breakEven * asked) : asked;
  const ratio = meanBitsPerSecond(about.down) / asked;
  const rates: AtRate[] = [];
  for (const factor of [1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16]) {
    const bitsPerSecond = Number((middle * factor).toPrecision(2));
    progress(`replaying at ${(bitsPerSecond / 1e6).toPrecision(2)} Mbit/s`);
    const world = worldOf(model, {
      ...about,
      up: constantTrace(bitsPerSecond),
      down: constantTrace(bitsPerSecond * ratio),
    });
    const score = await replayRequests(world, { ...demand, requests: Math.min(60, demand.requests) });
    rates.push({ bitsPerSecond, meanMs: score.meanMs, awayRatio: awayRatioOf(score), score });
  }
  return rates;
}
