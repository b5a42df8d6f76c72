import { type Random, seededRandom } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";
import {
  capacityOf,
  type FarmBatching,
  type FarmRequest,
  type FarmServer,
  poissonArrivals,
} from "@longshore/lab";
import { type FleetScene } from "../pickers/run-fleet.ts";
import { burstyArrivals } from "./bursty-arrivals.ts";

/** Mean work of a request where none is stated, in milliseconds on a server of speed 1. */
const usualWorkMs = 200;
/** Spread of the work, as a standard deviation of the logarithm: some inputs are larger. */
const workLogSpread = 0.4;
/** The part of that spread that no size of the input shows: runs of the same input differ by this much. */
const jitterLogSpread = 0.1;
/** Buckets of size that a profile distinguishes where sizes show. */
const sizeCount = 8;
/** An answer that takes as many times the mean work is worthless; the slowest server has speed 1. */
const deadlineWorks = 5;

/** One kind of fleet under one kind of load. */
export interface Case {
  readonly name: string;
  readonly servers: number;
  /** The fastest server's speed over the slowest's; speeds between lie evenly on a logarithmic scale. */
  readonly skew: number;
  /** One run at a time, or many because runs mostly wait. */
  readonly bound: "processor" | "waiting";
  readonly loadRatio: number;
  readonly arrivals: "poisson" | "bursty";
  /** Gateways that do not know of each other's requests. */
  readonly gateways: number;
  /** Whether an input shows by its size what it will cost, as that of a convolution does, or all look alike. */
  readonly sizes: "shown" | "hidden";
  /** The one-way time of a request on the way, in milliseconds; default: no time. */
  readonly wayMs?: number;
  /** Every second server shares runs. Default: none does. */
  readonly batching?: FarmBatching;
  /** Over real sockets, in real time: this many requests a second, whose mean work follows from load and servers. */
  readonly perSecond?: number;
}

const base = {
  bound: "processor",
  loadRatio: 0.7,
  arrivals: "poisson",
  gateways: 1,
  sizes: "shown",
} as const;

/** On a virtual clock. */
export const simulated: readonly Case[] = [
  { ...base, name: "small and equal", servers: 4, skew: 1 },
  { ...base, name: "equal", servers: 16, skew: 1 },
  { ...base, name: "small, 4x", servers: 4, skew: 4 },
  { ...base, name: "4x", servers: 16, skew: 4 },
  { ...base, name: "16x", servers: 16, skew: 16 },
  { ...base, name: "16x, waiting", servers: 16, skew: 16, bound: "waiting" },
  { ...base, name: "16x, bursty", servers: 16, skew: 16, loadRatio: 0.5, arrivals: "bursty" },
  { ...base, name: "16x, sizes hidden", servers: 16, skew: 16, sizes: "hidden" },
  { ...base, name: "16x, 4 gateways", servers: 16, skew: 16, gateways: 4 },
  { ...base, name: "equal, 4 gateways", servers: 16, skew: 1, gateways: 4 },
  { ...base, name: "16x, 4 gateways, on the way", servers: 16, skew: 16, gateways: 4, wayMs: 0.5 },
  { ...base, name: "equal, 4 gateways, on the way", servers: 16, skew: 1, gateways: 4, wayMs: 0.5 },
  { ...base, name: "4x, half share runs", servers: 16, skew: 4, batching: { most: 8, fixedRatio: 0.8 } },
  {
    ...base,
    name: "4x, half share runs, 4 gateways",
    servers: 16,
    skew: 4,
    gateways: 4,
    batching: { most: 8, fixedRatio: 0.8 },
  },
  { ...base, name: "100, 16x", servers: 100, skew: 16 },
  { ...base, name: "100, 16x, 4 gateways", servers: 100, skew: 16, gateways: 4 },
  { ...base, name: "1000, 16x", servers: 1000, skew: 16 },
];

/** Over real sockets: as many as two cores can carry beside clients and servers. */
export const onSockets: readonly Case[] = [
  { ...base, name: "sockets: small and equal", servers: 4, skew: 1, perSecond: 120 },
  { ...base, name: "sockets: small, 16x", servers: 4, skew: 16, perSecond: 150 },
  { ...base, name: "sockets: 16x", servers: 16, skew: 16, perSecond: 220 },
  { ...base, name: "sockets: 16x, waiting", servers: 16, skew: 16, perSecond: 220, bound: "waiting" },
  {
    ...base,
    name: "sockets: 16x, bursty",
    servers: 16,
    skew: 16,
    perSecond: 160,
    loadRatio: 0.5,
    arrivals: "bursty",
  },
  { ...base, name: "sockets: 16x, 4 gateways", servers: 16, skew: 16, perSecond: 220, gateways: 4 },
];

/** Runs at once of a server whose runs wait: fewer over sockets, where each of them is a request. */
const slotsWaiting = { simulated: 32, sockets: 4 } as const;

function serversOf({ servers, skew, bound, perSecond, batching }: Case): readonly FarmServer[] {
  const waiting = perSecond === undefined ? slotsWaiting.simulated : slotsWaiting.sockets;
  return Array.from({ length: servers }, (_, index) => ({
    speed: servers === 1 ? 1 : skew ** (index / (servers - 1)),
    slots: bound === "processor" ? 1 : waiting,
    ...(batching && index % 2 === 1 ? { batching } : {}),
  }));
}

/** A scene, and the time within which an answer is worth anything. */
export interface PreparedScene {
  readonly scene: FleetScene;
  readonly deadlineMs: number;
}

/** The scene of a case. Undefined where it wants the arrival trace and there is none. */
export function sceneOf(
  data: string | undefined,
  one: Case,
  count: number,
  seed: number,
): PreparedScene | undefined {
  const servers = serversOf(one);
  const capacity = servers.reduce((total, server) => total + capacityOf(server), 0);
  const meanWorkMs =
    one.perSecond === undefined ? usualWorkMs : (1000 * one.loadRatio * capacity) / one.perSecond;
  const perSecond = (1000 * one.loadRatio * capacity) / meanWorkMs;
  const arrivals =
    one.arrivals === "poisson"
      ? poissonArrivals(perSecond, count, seed)
      : burstyArrivals(data, perSecond, count, seed);
  if (!arrivals) return undefined;
  const random = seededRandom(seed + 1);
  const requests = arrivals.map(() => requestOf(one, meanWorkMs, random));
  return {
    scene: { servers, gateways: one.gateways, arrivals, requests, seed, wayMs: one.wayMs ?? 0 },
    deadlineMs: deadlineWorks * meanWorkMs,
  };
}

function requestOf({ sizes }: Case, meanWorkMs: number, random: Random): FarmRequest {
  const visible = gaussian(random);
  const jitter = sizes === "shown" ? jitterLogSpread : 0;
  const spread = Math.sqrt(workLogSpread ** 2 - jitter ** 2);
  const workMs = meanWorkMs * Math.exp(spread * visible + jitter * gaussian(random) - workLogSpread ** 2 / 2);
  return { workMs, size: sizes === "shown" ? sizeOf(visible) : 1 };
}

/** The bucket of a standard normal number, 1 to `sizeCount`: as wide as each other but for the outer ones. */
function sizeOf(visible: number): number {
  return 1 + Math.min(sizeCount - 1, Math.max(0, Math.floor(visible / 0.6 + sizeCount / 2)));
}
