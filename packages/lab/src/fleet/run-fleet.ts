import {
  type Call,
  type EndpointInfo,
  housekeepingCall,
  LongshoreError,
  offloadEndpoint,
  seededRandom,
  silentObserver,
  tablePolicy,
} from "@longshore/core";
import { virtualClock } from "../world/virtual-clock.ts";
import {
  farmModel,
  farmPlace,
  type FarmPlace,
  farmRequest,
  type FarmRequest,
  type FarmServer,
} from "./farm.ts";
import type { SimulatedModel } from "../world/simulated-offers.ts";
import type { PickerKind } from "./picker.ts";

/** Requests before gateways and servers. */
export interface FleetScene {
  readonly servers: readonly FarmServer[];
  /** Gateways that know nothing of each other; requests are dealt to them in turns. */
  readonly gateways: number;
  /** Instants in milliseconds, in order. */
  readonly arrivals: readonly number[];
  /** Work and size of each request. */
  readonly requests: readonly FarmRequest[];
  readonly seed: number;
}

/** What became of the requests. */
export interface FleetRun {
  /** By request; Infinity where none came. */
  readonly tookMs: readonly number[];
  /** Runs of each server. */
  readonly runs: readonly number[];
  /** What the gateways hold at the end of all they know, in bytes; where it was asked for. */
  readonly heapBytes?: number;
  /** How often servers were asked what they offer. */
  readonly asked: number;
  /** How often servers were asked for their load, for each request. */
  readonly probesPerRequest: number;
  /** Processor time of the run for each request, in milliseconds: decisions, and the simulation around them. */
  readonly realMsPerRequest: number;
}

type Send = (index: number, request: FarmRequest) => Promise<void>;

function pickerGateway(
  kind: PickerKind,
  places: readonly FarmPlace[],
  seed: number,
  model: SimulatedModel,
  nowMs: () => number,
): Send {
  const picker = kind({ places, random: seededRandom(seed), nowMs });
  return async (_index, request) => {
    const at = picker.pick(request.workMs);
    const place = places[at];
    if (!place) throw new LongshoreError("internal", "plan", `${picker.name} picked no server`);
    const startedMs = nowMs();
    const answer = place.endpoint.infer(farmRequest(model, request), housekeepingCall("fleet"));
    picker.sent(at);
    const { load = place.load() } = await answer;
    picker.answered(at, nowMs() - startedMs, load);
  };
}

/** What a gateway before a farm says of itself. */
export function gatewayInfo(number: number): EndpointInfo {
  return {
    id: `gateway-${number}`,
    tier: "edge",
    zone: "farm",
    trust: "operated",
    codecs: [],
    state: "none",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
  };
}

/**
 * Runs a scene on a virtual clock: with a picker, or (`undefined`) with the offloader itself as each gateway, which is what
 * is measured.
 */
export async function runFleet(
  scene: FleetScene,
  kind: PickerKind | undefined,
  /** Says how much of the heap is in use, where that is to be known. */
  heapBytes?: () => number,
): Promise<FleetRun> {
  const clock = virtualClock();
  const model = farmModel(scene.requests);
  const places = scene.servers.map((server, index) => farmPlace(server, index, model, clock));
  const heapBefore = heapBytes?.() ?? 0;
  const closing: (() => Promise<void>)[] = [];
  const gateways = Array.from({ length: scene.gateways }, (_, number): Send => {
    const seed = scene.seed * 1000 + number;
    if (kind) return pickerGateway(kind, places, seed, model, clock.nowMs);
    const gateway = offloadEndpoint({
      endpoints: places.map(({ endpoint }) => endpoint),
      info: gatewayInfo(number),
      policy: tablePolicy({ public: { leastTrust: "none" } }),
      clock,
      random: seededRandom(seed),
      observer: silentObserver,
      links: () => undefined,
    });
    closing.push(() => gateway.close());
    return async (index, request) => {
      const call: Call = housekeepingCall(`request-${index}`);
      await gateway.infer(farmRequest(model, request), call);
    };
  });
  const tookMs = scene.arrivals.map(() => Infinity);
  const startMs = 100;
  const cpu = process.cpuUsage();
  const all = scene.arrivals.map(
    (atMs, index) =>
      new Promise<void>((resolve) => {
        clock.timer(startMs + atMs, () => {
          const send = gateways[index % gateways.length];
          const request = scene.requests[index];
          const beganMs = clock.nowMs();
          if (!send || !request) return resolve();
          send(index, request)
            .then(() => void (tookMs[index] = clock.nowMs() - beganMs))
            .catch(() => undefined)
            .finally(resolve);
        });
      }),
  );
  await clock.runUntil(Promise.all(all));
  const { user, system } = process.cpuUsage(cpu);
  const heldBytes = heapBytes && heapBytes() - heapBefore;
  await Promise.all(closing.map((close) => close()));
  return {
    ...(heldBytes === undefined ? {} : { heapBytes: heldBytes }),
    asked: places.reduce((total, { asked }) => total + asked, 0),
    tookMs,
    runs: places.map(({ runs }) => runs),
    probesPerRequest: places.reduce((total, { probes }) => total + probes, 0) / scene.arrivals.length,
    realMsPerRequest: (user + system) / 1000 / scene.arrivals.length,
  };
}
