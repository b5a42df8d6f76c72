import { endCut, type EndpointInfo, LongshoreError, startCut, type Tier } from "@longshore/core";
import { radios, totalBytes } from "@longshore/core/internal";
import {
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
import { platformCodecs } from "../engine/codecs.ts";
import { type ReplayDemand, type Replayed, replayRequests, type Score } from "./replay.ts";

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
  /** Share of the device's mean time that this way saves: of all seeds together, and the least and most of one. */
  readonly saved: Spread;
}

/** A figure with its spread over the seeds. */
export interface Spread {
  readonly middle: number;
  readonly least: number;
  readonly most: number;
}

/** Results at one constant uplink rate. All results of a row come from replays of the same requests and seeds. */
export interface AtRate {
  readonly bitsPerSecond: number;
  /** Of Longshore. */
  readonly meanMs: number;
  readonly deviceMs: number;
  /** The quickest plan that never changes and uses the server. */
  readonly best: PlanCandidate | undefined;
  readonly bestMs: number;
  /** Share of Longshore's answers to which the server contributed, whole or tail. */
  readonly awayRatio: number;
  readonly score: Score;
}

/** Share of the answers to which another endpoint contributed. */
export function awayRatioOf(score: Score): number {
  return score.plans.reduce((sum, { plan, ratio }) => sum + (plan.endpoint === undefined ? 0 : ratio), 0);
}

/** The uplink rate from which on the server pays: it does at `above` and not at `below`. */
export interface BreakEven {
  /** 0 where the server pays at the least rate that was replayed. */
  readonly below: number;
  /** Infinity where it pays at no rate that was replayed. */
  readonly above: number;
}

/** Everything that the advice rests on. */
export interface Comparison {
  readonly variant: string;
  /** Bytes of the inputs, from the smallest to the largest. */
  readonly inputBytes: readonly number[];
  readonly ways: readonly Compared[];
  readonly breakEven: BreakEven;
  /** From the slowest to the quickest. */
  readonly rates: readonly AtRate[];
  /** Names the measurements that were left out because the time ended. */
  readonly leftOut: readonly string[];
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

/** A device and a server at the other end of one link. */
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

/** Seeds of the main comparison; each is a pair of worlds that differ in the way alone. */
const seedCount = 5;
/** Seeds and requests at each rate of the sweep. */
const sweepSeeds = 1;
const sweepRequests = 40;
/** Rates of the sweep, as multiples of the given one: the given one first, then further and further ones. */
const sweepFactors = [1, 1 / 4, 4, 1 / 16, 16, 1 / 2, 2, 1 / 64];
/** The gap between the rates on both sides of the break-even is halved so often. */
const refinements = 3;
/** The server pays if it saves this share of the device's time: a smaller gain is within the spread of replays. */
export const payingRatio = 0.02;
/** Plans with the server that are replayed at each rate, the most promising ones. */
const bestTried = 3;
/** Shares of the time after which no further plan with the server as a whole, no further split and no further rate is begun. */
const wholeShare = 0.4;
const splitShare = 0.6;

/** The time for the replays: the share of it that is over, from 0. */
export type SpentTime = () => number;

/**
 * Replays the demand in equal worlds: under Longshore, under each plan worth comparing with, and at other rates. The verdict, the table and the sweep
 * are all read from these replays.
 */
export async function compare(
  model: SimulatedModel,
  about: Circumstances,
  demand: ReplayDemand,
  progress: (text: string) => void,
  spent: SpentTime = () => 0,
): Promise<Comparison> {
  const leftOut: string[] = [];
  const world = worldOf(model, about);
  const variant = model.description.variants[0]?.name ?? "default";
  const candidates = planCandidates(variant, bucketOf(model.profile, variant, { bytes: 0 }), ["server"]);
  const here = candidates.filter(({ plan }) => plan.cut === endCut);
  const away = candidates.filter(({ plan }) => plan.endpoint !== undefined);
  const seeds = Array.from({ length: seedCount }, (_, index) => about.seed + index);
  const isOver = (): boolean => spent() >= 1;
  const each = { ...demand, requests: Math.ceil(demand.requests / seedCount), isOver };
  const costAt = costOf(about, meanBitsPerSecond(about.up));
  /** Of plans from the most to the least promising one: the first is replayed in any case, others until the share is over. */
  const quickest = async (
    some: readonly PlanCandidate[],
    words: string,
    share: number,
  ): Promise<readonly [PlanCandidate, Replayed] | undefined> => {
    const found: (readonly [PlanCandidate, Replayed])[] = [];
    for (const one of some) {
      if (found.length > 0 && spent() >= share) {
        leftOut.push(`${some.length - found.length} of ${some.length} ${words}`);
        break;
      }
      progress(`replaying plan ${found.length + 1} of ${some.length} ${words}`);
      found.push([one, await replayRequests(world, each, seeds, one.plan)]);
    }
    return found.sort(([, a], [, b]) => a.score.meanMs - b.score.meanMs)[0];
  };
  const device = await quickest(here, "plans on the device", wholeShare / 2);
  if (!device) throw new LongshoreError("unsupported", "plan", "the model cannot run as a whole");
  const ways: Compared[] = [];
  const add = (name: Compared["name"], candidate: PlanCandidate | undefined, replayed: Replayed): void => {
    ways.push({ name, candidate, score: replayed.score, saved: savedBy(replayed, device[1]) });
  };
  add("longshore", undefined, await replayRequests(world, each, seeds));
  add("device", ...device);
  const whole = away.filter(({ plan }) => plan.cut === startCut).sort((a, b) => costAt(a) - costAt(b));
  const server = await quickest(whole, "plans with the server", wholeShare);
  if (server) add("server", ...server);
  const raw = whole.find(({ plan }) => Object.keys(plan.codecs).length === 0);
  if (raw && raw !== server?.[0] && spent() < splitShare)
    add("server, raw", raw, await replayRequests(world, each, seeds, raw.plan));
  const splits = away.filter(({ plan }) => plan.cut !== startCut).sort((a, b) => costAt(a) - costAt(b));
  const tried = spent() < splitShare ? splits.slice(0, splitsTried) : [];
  if (tried.length === 0 && splits.length > 0) leftOut.push("splits");
  const split = await quickest(tried, "splits", splitShare);
  if (split) add("best split", ...split);
  const measured = await sweep(model, about, { ...demand, isOver }, { here, away }, progress, spent);
  const { rates, breakEven } = measured;
  if (measured.leftOut > 0) leftOut.push(`${measured.leftOut} of ${sweepFactors.length} other uplinks`);
  if (isOver()) leftOut.push("some of the requests");
  const inputBytes = demand.inputs.map(totalBytes).toSorted((a, b) => a - b);
  return { variant, inputBytes, ways, breakEven, rates, leftOut };
}

function savedBy({ score, means }: Replayed, device: Replayed): Spread {
  const pairs = means.slice(0, device.means.length).map((ms, index) => 1 - ms / (device.means[index] ?? NaN));
  return {
    middle: 1 - score.meanMs / device.score.meanMs,
    least: Math.min(...pairs),
    most: Math.max(...pairs),
  };
}

/** The expected time of a plan on an idle link at a rate. It decides which plans are worth a replay. */
function costOf(about: Circumstances, upBitsPerSecond: number): (one: PlanCandidate) => number {
  const downOverUp = meanBitsPerSecond(about.down) / meanBitsPerSecond(about.up);
  const prices = {
    deviceSpeed: about.deviceSpeed,
    endpointSpeed: about.serverSpeed,
    roundTripMs: about.roundTripMs,
    upBitsPerSecond,
    downBitsPerSecond: upBitsPerSecond * downOverUp,
  };
  return (one) => expectedMs(one, prices);
}

/** Constant rates around the given one, and closer ones around the break-even. */
async function sweep(
  model: SimulatedModel,
  about: Circumstances,
  demand: ReplayDemand,
  { here, away }: { readonly here: readonly PlanCandidate[]; readonly away: readonly PlanCandidate[] },
  progress: (text: string) => void,
  spent: SpentTime,
): Promise<Pick<Comparison, "rates" | "breakEven"> & { readonly leftOut: number }> {
  const asked = meanBitsPerSecond(about.up);
  const downOverUp = meanBitsPerSecond(about.down) / asked;
  const seeds = Array.from({ length: sweepSeeds }, (_, index) => about.seed + index);
  const some = { ...demand, requests: Math.min(sweepRequests, demand.requests) };
  const at = async (rate: number): Promise<AtRate> => {
    const bitsPerSecond = Number(rate.toPrecision(2));
    progress(`replaying at ${(bitsPerSecond / 1e6).toPrecision(2)} Mbit/s`);
    const up = constantTrace(bitsPerSecond);
    const world = worldOf(model, { ...about, up, down: constantTrace(bitsPerSecond * downOverUp) });
    const cost = costOf(about, bitsPerSecond);
    const meanOf = async (plan?: PlanCandidate["plan"]): Promise<Score> =>
      (await replayRequests(world, some, seeds, plan)).score;
    const score = await meanOf();
    const [device] = here;
    const deviceMs = device ? (await meanOf(device.plan)).meanMs : Infinity;
    let [best, bestMs]: [PlanCandidate | undefined, number] = [undefined, Infinity];
    for (const one of away.toSorted((a, b) => cost(a) - cost(b)).slice(0, bestTried)) {
      const { meanMs } = await meanOf(one.plan);
      if (meanMs < bestMs) [best, bestMs] = [one, meanMs];
    }
    return {
      bitsPerSecond,
      meanMs: score.meanMs,
      deviceMs,
      best,
      bestMs,
      awayRatio: awayRatioOf(score),
      score,
    };
  };
  const rates: AtRate[] = [];
  for (const factor of sweepFactors) {
    if (rates.length > 0 && spent() >= 1) break;
    rates.push(await at(asked * factor));
  }
  const leftOut = sweepFactors.length - rates.length;
  rates.sort((a, b) => a.bitsPerSecond - b.bitsPerSecond);
  let breakEven = breakEvenOf(rates);
  for (let turn = 0; turn < refinements && spent() < 1; turn++) {
    const { below, above } = breakEven;
    if (below === 0 || above === Infinity || above / below < 1.2) break;
    rates.push(await at(Math.sqrt(below * above)));
    rates.sort((a, b) => a.bitsPerSecond - b.bitsPerSecond);
    breakEven = breakEvenOf(rates);
  }
  return { rates, breakEven, leftOut };
}

/** Whether the server pays in a row of the sweep. */
export function pays({ bestMs, deviceMs }: Pick<AtRate, "bestMs" | "deviceMs">): boolean {
  return bestMs < (1 - payingRatio) * deviceMs;
}

/** The rates on both sides of the break-even: from `above` on, the server pays at every rate that was replayed. */
export function breakEvenOf(rates: readonly AtRate[]): BreakEven {
  const last = rates.findLastIndex((one) => !pays(one));
  return {
    below: rates[last]?.bitsPerSecond ?? 0,
    above: rates[last + 1]?.bitsPerSecond ?? Infinity,
  };
}
