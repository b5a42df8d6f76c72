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
/** Step by which the believed load of this device grows or shrinks. */
const loadStep = 1.05;
/** Step by which it shrinks after a request found the device free. */
const idleStep = 1.02;
/** The largest believed load. */
const mostLoad = 4;
/** Weight of each charge in the usual work. The usual work stands for its reciprocal of requests ahead of the next one. */
const usualWeight = 1 / 16;
const usualRequests = 4;
/** Charges are stored as if they were made now. Beyond this factor all are scaled back. */
const mostGrown = 1e100;

/** When each stage of one route will be free if nothing is added. */
interface Lanes {
  upMs: number;
  thereMs: number;
  downMs: number;
  /** Usual work of recent requests, `usual` times the scale of the backlog. */
  usual: Stages;
  /** Requests that the endpoint runs at once, as its waits have shown; 1 or more. */
  width: number;
}

/** One request's share of the backlog, to be settled by its answer or by another plan. */
export interface Charged {
  readonly endpoint: EndpointId | undefined;
  /** Expected waits at the endpoint and here. */
  readonly waitMs: number;
  readonly hereWaitMs: number;
  readonly stages: Stages;
}

/** The parts of a plan that a backlog reads. */
type PlannedStages = Pick<Plan, "stages"> & {
  readonly legs: readonly { readonly id: string; readonly endpoint?: EndpointId }[];
};

/** The parts of an account that a backlog reads. */
type QueuedAccount = Pick<Account, "endpoint" | "stages">;

/**
 * Work that streams have put on this device, the links and the endpoints, for the planner's `throughput` objective. Consecutive plans see
 * each other before any of their work has reached an endpoint. A stage drains as time passes.
 *
 * The work ahead of a request is the undrained rest plus the usual work of recent requests. With the rest alone, plans avoid an endpoint
 * that is busy for a moment; four requests later they avoid the other one, and in between each waits for the other with its window full.
 * With both, a plan that keeps all endpoints evenly busy is stable. Endpoints run several requests at once without reporting it. If
 * requests do not wait where they should have waited, the endpoint is believed to be wider; if they do, narrower. This device does more
 * than run models: it plans, sends and decodes answers on the same cores. If requests wait longer for it than the charges explain, each
 * millisecond of a run is charged as more. If requests find it free, the charge falls again. The cause of a wait may be over, such as the
 * loading of models. A device charged for it forever would get too little work to correct the error.
 */
export interface Backlog {
  /** Milliseconds of work ahead of a request through `endpoint`; undefined for a request that stays here. */
  ahead(endpoint: EndpointId | undefined, nowMs: number): Stages;
  /** Number of requests an endpoint runs at once. */
  width(endpoint: EndpointId): number;
  /** Busy time of this device for each planned millisecond, 1 or more. */
  load(): number;
  /** Growth of the norm behind `paceScore` with one more request of this plan, in milliseconds. It adds up over many requests. */
  growsMs(plan: PlannedStages, nowMs: number): number;
  /**
   * Charges a plan. `queueMs` is the wait of a run here for earlier work, including work without a charge: first frames, other requests.
   */
  charge(plan: PlannedStages, nowMs: number, queueMs?: number): Charged;
  /** The view of the planner at one instant. */
  at(nowMs: number): Traffic;
  /**
   * Releases a request that takes another route: its planned use of links and endpoints is free again. `accounts` is the work done so far.
   */
  release(charged: Charged, accounts: readonly QueuedAccount[]): void;
  answered(charged: Charged, accounts: readonly QueuedAccount[]): void;
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

function queuedIn({ stages }: QueuedAccount): number {
  return stages.reduce((sum, one) => sum + (one.stage === "queue" ? one.tookMs : 0), 0);
}

function elsewhere(legs: PlannedStages["legs"]): EndpointId | undefined {
  return legs.find((leg) => leg.id === "remote")?.endpoint;
}

/** An empty backlog for a device that runs `slots` at once. */
export function backlogOf(slots: number): Backlog {
  let deviceFreeMs = 0;
  let deviceUsualMs = 0;
  let load = 1;
  /** Weight of a charge relative to the first one. It grows, so that older charges need no decay. */
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

  /** The wait here shows whether this device is as busy as charged. */
  function learnHere({ stages, hereWaitMs }: Charged, account: QueuedAccount | undefined): void {
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
      // Its use of this device stays charged. Other charges came later, so this subtracts slightly too much.
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
