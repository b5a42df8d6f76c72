import type { EndpointId } from "../base/index.ts";
import type { Account } from "../endpoint/index.ts";
import type { Plan, Stages } from "../plan/index.ts";

/** Beyond this share of its run a wait means that a place was full, and below the other that it was not. */
const fullRatio = 0.5;
const idleRatio = 0.1;
/** A place that surprised is taken to run more (or fewer) at once by this factor, up to a limit. */
const widthStep = 1.25;
const mostWidth = 64;

/** When each stage of one way will be free, were nothing added. */
interface Lanes {
  upMs: number;
  thereMs: number;
  downMs: number;
  /** Requests that the place runs at once, as far as its waits have shown; 1 or more. */
  width: number;
}

/** One request's share of the backlog, for when its answer is there, or another plan. */
export interface Charged {
  readonly endpoint: EndpointId | undefined;
  /** What it was expected to wait at the place. */
  readonly waitMs: number;
  readonly stages: Stages;
}

/**
 * Work that streams have put on this device, the links and the places, as the planner's `throughput` objective needs it:
 * plans made one after another see each other before anything of them has reached a place. A stage drains as time passes.
 * Places run several requests at once without saying so; one where requests that should have waited did not is taken to be
 * wider, and one where they did is taken to be narrower.
 */
export interface Backlog {
  /** Milliseconds of work ahead of a request by way of `endpoint`; undefined for one that stays here. */
  ahead(endpoint: EndpointId | undefined, nowMs: number): Stages;
  /** How many requests a place runs at once. */
  width(endpoint: EndpointId): number;
  charge(plan: Plan, nowMs: number): Charged;
  /** It goes another way from here: what it would have used of links and places is free again. */
  release(charged: Charged): void;
  answered(charged: Charged, accounts: readonly Account[]): void;
}

const nothing: Stages = { deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0 };

/** An empty backlog for a device that runs `slots` at once. */
export function backlogOf(slots: number): Backlog {
  let deviceFreeMs = 0;
  const places = new Map<EndpointId, Lanes>();
  const lanesOf = (endpoint: EndpointId): Lanes => {
    let lanes = places.get(endpoint);
    if (!lanes) {
      lanes = { upMs: 0, thereMs: 0, downMs: 0, width: 1 };
      places.set(endpoint, lanes);
    }
    return lanes;
  };
  const left = (freeMs: number, nowMs: number): number => Math.max(0, freeMs - nowMs);

  return {
    ahead(endpoint, nowMs) {
      const lanes = endpoint === undefined ? undefined : places.get(endpoint);
      return {
        deviceMs: left(deviceFreeMs, nowMs),
        upMs: left(lanes?.upMs ?? 0, nowMs),
        thereMs: left(lanes?.thereMs ?? 0, nowMs),
        downMs: left(lanes?.downMs ?? 0, nowMs),
      };
    },
    width: (endpoint) => places.get(endpoint)?.width ?? 1,
    charge(plan, nowMs) {
      const { stages, legs } = plan;
      const endpoint = legs.find((leg) => leg.id === "remote")?.endpoint;
      if (!stages) return { endpoint: undefined, waitMs: 0, stages: nothing };
      const deviceMs = left(deviceFreeMs, nowMs) + stages.deviceMs / slots;
      deviceFreeMs = nowMs + deviceMs;
      if (endpoint === undefined) return { endpoint, waitMs: 0, stages };
      const lanes = lanesOf(endpoint);
      const upMs = left(lanes.upMs, nowMs) + stages.upMs;
      const waitMs = left(lanes.thereMs, nowMs) - (deviceMs + upMs);
      lanes.upMs = nowMs + upMs;
      lanes.thereMs = nowMs + left(lanes.thereMs, nowMs) + stages.thereMs;
      lanes.downMs = nowMs + left(lanes.downMs, nowMs) + stages.downMs;
      return { endpoint, waitMs: Math.max(0, waitMs), stages };
    },
    release({ endpoint, stages }) {
      const lanes = endpoint === undefined ? undefined : places.get(endpoint);
      if (!lanes) return;
      lanes.upMs -= stages.upMs;
      lanes.thereMs -= stages.thereMs;
      lanes.downMs -= stages.downMs;
    },
    answered({ endpoint, waitMs, stages }, accounts) {
      const runMs = stages.thereMs;
      const account = accounts.find((one) => one.endpoint === endpoint);
      if (endpoint === undefined || !account || runMs <= 0) return;
      const queuedMs = account.stages.reduce((sum, one) => sum + (one.stage === "queue" ? one.tookMs : 0), 0);
      const lanes = lanesOf(endpoint);
      if (queuedMs > fullRatio * runMs) lanes.width = Math.max(1, lanes.width / widthStep);
      else if (waitMs > fullRatio * runMs && queuedMs < idleRatio * runMs) {
        lanes.width = Math.min(mostWidth, lanes.width * widthStep);
      }
    },
  };
}
