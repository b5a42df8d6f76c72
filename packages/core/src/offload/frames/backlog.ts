import type { EndpointId } from "../../words/base/index.ts";
import type { Account } from "../../wire/endpoint/index.ts";
import { paceScore, type Stages } from "../../decide/goal/index.ts";
import type { Plan, Traffic } from "../../decide/plan/index.ts";

/** A wait beyond this share of its run means that the endpoint was full. */
const fullRatio = 0.5;
/** A wait below this share of its run means that the endpoint was not full. */
const idleRatio = 0.1;
/** Factor by which the believed width of an endpoint changes after a surprise. */
const widthStep = 1.25;
/** The largest believed width. */
const mostWidth = 64;
/** Factor by which the believed load of this device grows or shrinks. */
const loadStep = 1.05;
/** Factor by which it shrinks where a request found the device free. */
const idleStep = 1.02;
/** The largest believed load. */
const mostLoad = 4;
/** Each charge counts this much in what is usual, and what is usual stands for so many requests ahead of the next one. */
const usualWeight = 1 / 16;
const usualRequests = 4;
/** What was charged is written as if it were charged now; beyond this it is all brought back to scale. */
const mostGrown = 1e100;

/** When each stage of one way will be free, were nothing added. */
interface Lanes {
  upMs: number;
  thereMs: number;
  downMs: number;
  /** What the requests of late keep busy, `usual` times the scale of the backlog. */
  usual: Stages;
  /** Requests that the endpoint runs at once, as far as its waits have shown; 1 or more. */
  width: number;
}

/** One request's share of the backlog, for when its answer is there, or another plan. */
export interface Charged {
  readonly endpoint: EndpointId | undefined;
  /** What it was expected to wait at the endpoint, and here. */
  readonly waitMs: number;
  readonly hereWaitMs: number;
  readonly stages: Stages;
}

/**
 * Work that streams have put on this device, the links and the endpoints, as the planner's `throughput` objective needs it:
 * plans made one after another see each other before anything of them has reached an endpoint. A stage drains as time passes.
 *
 * What is ahead of a request is what is left of that, and what the requests of late have kept busy on the whole. By what is
 * left alone an endpoint that is busy for a moment is fled from, four requests later the other one is, and in between each waits
 * for the other with its window full; by both, a plan that keeps all busy evenly is kept.
 * Endpoints run several requests at once without saying so; one where requests that should have waited did not is taken to be
 * wider, and one where they did is taken to be narrower. This device does more than run models: it plans, sends and takes
 * answers apart on the same cores. Where requests wait longer for it than what was charged explains, each millisecond of a run
 * is charged as more; where requests find it free, as less again. What made them wait may have been something that is over, such as
 * models that were loaded: a device that is charged for it for ever is given too little to make anything wait.
 */
export interface Backlog {
  /** Milliseconds of work ahead of a request by way of `endpoint`; undefined for one that stays here. */
  ahead(endpoint: EndpointId | undefined, nowMs: number): Stages;
  /** How many requests an endpoint runs at once. */
  width(endpoint: EndpointId): number;
  /** Time that this device is kept busy for each millisecond that a plan says, 1 or more. */
  load(): number;
  /** By how much the norm behind `paceScore` grows with one more request of this plan, in milliseconds: of many requests it adds up. */
  growsMs(plan: Plan, nowMs: number): number;
  /** `queueMs`: what a run here waits for those before it, also those that nobody charged: first frames, other requests. */
  charge(plan: Plan, nowMs: number, queueMs?: number): Charged;
  /** As the planner asks for it at an instant. */
  at(nowMs: number): Traffic;
  /** It goes another way from here: what it would have used of links and endpoints is free again. `accounts`: what was done so far. */
  release(charged: Charged, accounts: readonly Account[]): void;
  answered(charged: Charged, accounts: readonly Account[]): void;
}

const nothing: Stages = { deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0 };

function plus(one: Stages, other: Stages, factor: number): Stages {
  return {
    deviceMs: one.deviceMs + other.deviceMs * factor,
    upMs: one.upMs + other.upMs * factor,
    thereMs: one.thereMs + other.thereMs * factor,
    downMs: one.downMs + other.downMs * factor,
  };
}

function queuedIn({ stages }: Account): number {
  return stages.reduce((sum, one) => sum + (one.stage === "queue" ? one.tookMs : 0), 0);
}

function elsewhere(legs: Plan["legs"]): EndpointId | undefined {
  return legs.find((leg) => leg.id === "remote")?.endpoint;
}

/** An empty backlog for a device that runs `slots` at once. */
export function backlogOf(slots: number): Backlog {
  let deviceFreeMs = 0;
  let deviceUsualMs = 0;
  let load = 1;
  /** By how much a charge weighs more than the first one did: instead of letting all that came before weigh less. */
  let grown = 1;
  const endpoints = new Map<EndpointId, Lanes>();
  const lanesOf = (endpoint: EndpointId): Lanes => {
    let lanes = endpoints.get(endpoint);
    if (!lanes) {
      lanes = { upMs: 0, thereMs: 0, downMs: 0, usual: nothing, width: 1 };
      endpoints.set(endpoint, lanes);
    }
    return lanes;
  };
  const left = (freeMs: number, nowMs: number): number => Math.max(0, freeMs - nowMs);

  function older(): void {
    grown /= 1 - usualWeight;
    if (grown < mostGrown) return;
    deviceUsualMs /= grown;
    for (const lanes of endpoints.values()) lanes.usual = plus(nothing, lanes.usual, 1 / grown);
    grown = 1;
  }

  /** What it waited here says whether this device is as busy as was charged. */
  function learnHere({ stages, hereWaitMs }: Charged, account: Account | undefined): void {
    const runMs = stages.deviceMs * load;
    if (!account || runMs <= 0) return;
    const queuedMs = queuedIn(account);
    const overMs = queuedMs - hereWaitMs;
    if (overMs > fullRatio * runMs) load = Math.min(mostLoad, load * loadStep);
    else if (overMs < -fullRatio * runMs) load = Math.max(1, load / loadStep);
    else if (queuedMs < idleRatio * runMs) load = Math.max(1, load / idleStep);
  }

  const backlog: Backlog = {
    ahead(endpoint, nowMs) {
      const lanes = endpoint === undefined ? undefined : endpoints.get(endpoint);
      const leftMs: Stages = {
        deviceMs: left(deviceFreeMs, nowMs),
        upMs: left(lanes?.upMs ?? 0, nowMs),
        thereMs: left(lanes?.thereMs ?? 0, nowMs),
        downMs: left(lanes?.downMs ?? 0, nowMs),
      };
      const usual = { ...(lanes?.usual ?? nothing), deviceMs: deviceUsualMs };
      return plus(leftMs, usual, (usualRequests * usualWeight) / grown);
    },
    width: (endpoint) => endpoints.get(endpoint)?.width ?? 1,
    load: () => load,
    at: (nowMs) => ({
      ahead: (endpoint) => backlog.ahead(endpoint, nowMs),
      width: backlog.width,
      load: backlog.load,
    }),
    growsMs({ stages = nothing, legs }, nowMs) {
      const endpoint = elsewhere(legs);
      let all = backlog.ahead(undefined, nowMs).deviceMs ** 4;
      for (const id of endpoints.keys()) {
        const { upMs, thereMs, downMs } = backlog.ahead(id, nowMs);
        all += upMs ** 4 + thereMs ** 4 + downMs ** 4;
      }
      const own = {
        ...stages,
        deviceMs: stages.deviceMs * load,
        thereMs: endpoint === undefined ? 0 : stages.thereMs / backlog.width(endpoint),
      };
      return (all + paceScore(own, backlog.ahead(endpoint, nowMs)) ** 4) ** 0.25 - all ** 0.25;
    },
    charge(plan, nowMs, queueMs = 0) {
      const { stages, legs } = plan;
      const endpoint = elsewhere(legs);
      if (!stages) return { endpoint: undefined, waitMs: 0, hereWaitMs: 0, stages: nothing };
      older();
      const ownMs = (stages.deviceMs * load) / slots;
      deviceUsualMs += ownMs * grown;
      const hereWaitMs = Math.max(left(deviceFreeMs, nowMs), queueMs);
      const deviceMs = hereWaitMs + ownMs;
      deviceFreeMs = nowMs + deviceMs;
      if (endpoint === undefined) return { endpoint, waitMs: 0, hereWaitMs, stages };
      const lanes = lanesOf(endpoint);
      const upMs = left(lanes.upMs, nowMs) + stages.upMs;
      const waitMs = left(lanes.thereMs, nowMs) - (deviceMs + upMs);
      lanes.usual = plus(lanes.usual, stages, grown);
      lanes.upMs = nowMs + upMs;
      lanes.thereMs = nowMs + left(lanes.thereMs, nowMs) + stages.thereMs;
      lanes.downMs = nowMs + left(lanes.downMs, nowMs) + stages.downMs;
      return { endpoint, waitMs: Math.max(0, waitMs), hereWaitMs, stages };
    },
    release(charged, accounts) {
      const { endpoint, stages } = charged;
      learnHere(
        charged,
        accounts.findLast((one) => one.endpoint !== endpoint),
      );
      const lanes = endpoint === undefined ? undefined : endpoints.get(endpoint);
      if (!lanes) return;
      // What it used of this device is used. Others were charged since, so that this takes off a little too much.
      const { upMs, thereMs, downMs } = plus(lanes.usual, stages, -grown);
      lanes.usual = {
        deviceMs: 0,
        upMs: Math.max(0, upMs),
        thereMs: Math.max(0, thereMs),
        downMs: Math.max(0, downMs),
      };
      lanes.upMs -= stages.upMs;
      lanes.thereMs -= stages.thereMs;
      lanes.downMs -= stages.downMs;
    },
    answered(charged, accounts) {
      const { endpoint, waitMs, stages } = charged;
      if (endpoint === undefined) learnHere(charged, accounts.at(-1));
      const runMs = stages.thereMs;
      const account = accounts.find((one) => one.endpoint === endpoint);
      if (endpoint === undefined || !account || runMs <= 0) return;
      const queuedMs = queuedIn(account);
      const lanes = lanesOf(endpoint);
      if (queuedMs > fullRatio * runMs) lanes.width = Math.max(1, lanes.width / widthStep);
      else if (waitMs > fullRatio * runMs && queuedMs < idleRatio * runMs) {
        lanes.width = Math.min(mostWidth, lanes.width * widthStep);
      }
    },
  };
  return backlog;
}
