import {
  type Call,
  type Clock,
  type EndpointInfo,
  LongshoreError,
  offloadEndpoint,
  seededRandom,
  silentObserver,
  tablePolicy,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import { farmEndpoint, type FarmEndpoint, type FarmServer } from "@longshore/lab";
import { farmModel, farmRequest, type FarmRequest } from "@longshore/lab";
import type { SimulatedModel } from "@longshore/lab";
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
  /** The time of a request to its server, and of the answer back, in milliseconds. Default: no time. */
  readonly wayMs?: number;
}

/** The outcome of the requests. */
export interface FleetRun {
  /** By request; Infinity where none came. */
  readonly tookMs: readonly number[];
  /** Runs of each server. */
  readonly runs: readonly number[];
  /** The size of all that the gateways know at the end, in bytes; if requested. */
  readonly heapBytes?: number;
  /** How often servers were polled for their offers. */
  readonly asked: number;
  /** How often servers were polled for their load, for each request. */
  readonly probesPerRequest: number;
  /** How often a server did not take a request, for each request; see `Call.mostWaitMs`. */
  readonly refusedPerRequest: number;
  /** Processor time of the run for each request, in milliseconds: decisions, and the simulation around them. */
  readonly realMsPerRequest: number;
}

/** The gateway's handling of the request of an index; settles when it is answered. */
export type FleetSend = (index: number, request: FarmRequest) => Promise<void>;

/** A gateway that balances with a picker. */
export function pickerGateway(
  kind: PickerKind,
  endpoints: readonly FarmEndpoint[],
  seed: number,
  model: SimulatedModel,
  nowMs: () => number,
): FleetSend {
  const picker = kind({ endpoints, random: seededRandom(seed), nowMs });
  return async (_index, request) => {
    const at = picker.pick(request.workMs);
    const picked = endpoints[at];
    if (!picked) throw new LongshoreError("internal", "plan", `${picker.name} picked no server`);
    const startedMs = nowMs();
    const answer = picked.endpoint.infer(farmRequest(model, request), housekeepingCall("fleet"));
    picker.sent(at);
    const { load = picked.load() } = await answer;
    picker.answered(at, nowMs() - startedMs, load);
  };
}

/** The outcome of requests that were sent at their due times. */
interface Sent {
  /** The time of each from its due time, in milliseconds; Infinity if it failed. */
  readonly tookMs: readonly number[];
  /** Requests without an answer at the end of the patience: they count with the time that they had waited until then. */
  readonly givenUp: number;
}

/**
 * Sends each request to its gateway when it is due, whatever the outcome of earlier ones, and waits for answers for up to
 * `patienceMs` after the last was due.
 */
export async function sendAll(
  { arrivals, requests }: Pick<FleetScene, "arrivals" | "requests">,
  gateways: readonly FleetSend[],
  clock: Clock,
  patienceMs: number = Infinity,
): Promise<Sent> {
  const startMs = clock.nowMs() + 100;
  const tookMs = arrivals.map(() => Infinity);
  const waiting = new Set(arrivals.keys());
  const all = arrivals.map(
    (atMs, index) =>
      new Promise<void>((resolve) => {
        const dueMs = startMs + atMs;
        clock.timer(dueMs - clock.nowMs(), () => {
          const send = gateways[index % gateways.length];
          const request = requests[index];
          if (!send || !request) return resolve();
          send(index, request)
            .then(() => void (tookMs[index] = clock.nowMs() - dueMs))
            .catch(() => undefined)
            .finally(() => {
              waiting.delete(index);
              resolve();
            });
        });
      }),
  );
  const untilMs = (arrivals.at(-1) ?? 0) + 100 + patienceMs;
  let patience: Disposable | undefined;
  const over =
    patienceMs === Infinity
      ? []
      : [new Promise<void>((resolve) => void (patience = clock.timer(untilMs, resolve)))];
  await Promise.race([Promise.all(all), ...over]);
  patience?.[Symbol.dispose]();
  for (const index of waiting) tookMs[index] = clock.nowMs() - startMs - (arrivals[index] ?? 0);
  return { tookMs: [...tookMs], givenUp: waiting.size };
}

/** The information of a gateway before a farm. */
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
  const endpoints = scene.servers.map((server, index) =>
    farmEndpoint(server, index, model, clock, scene.wayMs),
  );
  const heapBefore = heapBytes?.() ?? 0;
  const closing: (() => Promise<void>)[] = [];
  const gateways = Array.from({ length: scene.gateways }, (_, number): FleetSend => {
    const seed = scene.seed * 1000 + number;
    if (kind) return pickerGateway(kind, endpoints, seed, model, clock.nowMs);
    const gateway = offloadEndpoint({
      endpoints: endpoints.map(({ endpoint }) => endpoint),
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
  const cpu = process.cpuUsage();
  const { tookMs } = await clock.runUntil(sendAll(scene, gateways, clock));
  const { user, system } = process.cpuUsage(cpu);
  const heldBytes = heapBytes && heapBytes() - heapBefore;
  await Promise.all(closing.map((close) => close()));
  return {
    ...(heldBytes === undefined ? {} : { heapBytes: heldBytes }),
    asked: endpoints.reduce((total, { requests: asked }) => total + asked, 0),
    tookMs,
    runs: endpoints.map(({ runs }) => runs),
    probesPerRequest: endpoints.reduce((total, { probes }) => total + probes, 0) / scene.arrivals.length,
    refusedPerRequest: endpoints.reduce((total, { refused }) => total + refused, 0) / scene.arrivals.length,
    realMsPerRequest: (user + system) / 1000 / scene.arrivals.length,
  };
}
