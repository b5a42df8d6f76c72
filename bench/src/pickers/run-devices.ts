import {
  type Call,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  offloadEndpoint,
  type Random,
  seededRandom,
  silentObserver,
  tablePolicy,
  type ZoneId,
} from "@longshore/core";
import { exponential, housekeepingCall, nextStep, sleep, zoneWithin } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import {
  type Device,
  type DeviceCrowd,
  type DeviceMoves,
  liveDevices,
  siteZone,
  zonesOf,
} from "./devices.ts";
import { farmEndpoint, type FarmEndpoint, type FarmServer } from "@longshore/lab";
import { farmModel, farmRequest, type FarmRequest } from "@longshore/lab";
import { farmSequences } from "@longshore/lab";
import { type DirectoryMessages, joinedFarm } from "./joined-farm.ts";
import { gatewayInfo } from "./run-fleet.ts";

/** Devices before a router, and servers that join it and leave it. */
export interface DeviceScene {
  /** Dealt to the sites in turns; each has two of three models. */
  readonly servers: readonly FarmServer[];
  readonly crowd: DeviceCrowd;
  /** The population that requests are drawn from. */
  readonly requests: readonly FarmRequest[];
  /** How long the devices live, in milliseconds, and from when on requests count. */
  readonly untilMs: number;
  readonly countedFromMs: number;
  /** Servers that leave in a second, half of them without a word, and come again after a while. */
  readonly leavesPerSecond: number;
  readonly seed: number;
}

/**
 * The receiver of the requests: the offloader; random servers, to measure the simulation itself; or an oracle that sees all
 * queues.
 */
export type DeviceRouter = "ours" | "drawn" | "oracle";

/** The result of a run. */
export interface DeviceRun {
  /** From when the router had a request until it had the answer, of those that count and are in no sequence; no failures. */
  readonly routedMs: readonly number[];
  /** The same from the device's view, its link included, and all requests. */
  readonly tookMs: readonly number[];
  readonly requests: number;
  /** Devices with at least one request. */
  readonly asked: number;
  /** Requests without an answer, by reason. */
  readonly failed: Readonly<Record<string, number>>;
  /** Steps of sequences that were answered, and those whose answer was not the step's number. */
  readonly steps: number;
  readonly wrongSteps: number;
  /** Requests that ran outside of the zones that their rules name. */
  readonly outside: number;
  readonly moves: DeviceMoves;
  readonly messages: DirectoryMessages;
  /** The growth of the heap between the joining of the servers and the end, in bytes; if requested. */
  readonly heapBytes?: number;
  /** Processor time for each request, in milliseconds. */
  readonly realMsPerRequest: number;
}

/** Names of the models of a device scene; the last is run in sequences. */
export const deviceModels: readonly [string, string, string] = ["detect", "read", "listen"];

/** Size of an input on its way from a device to the router, in bytes. */
const inputBytes = 20_000;
/** Tenants among which the devices are divided. */
const tenants = 50;

type Send = (device: Device, request: InferenceRequest, call: Call) => Promise<InferenceResponse>;

/** A random server, weighted by speed, or the one where the request would end first. All servers share their sequences. */
function plainRouter(
  endpoints: readonly FarmEndpoint[],
  served: (index: number) => readonly string[],
  here: ReadonlySet<number>,
  random: Random,
  /** The oracle knows the work of a request. */
  workMs: ((request: InferenceRequest) => number) | undefined,
): Send {
  const lists = new Map<string, { readonly at: readonly number[]; readonly upTo: readonly number[] }>();
  const listFor = (model: string, zones: readonly ZoneId[] | undefined) => {
    const key = `${model} ${zones?.join(" ") ?? "*"}`;
    const found = lists.get(key);
    if (found) return found;
    const at = [...endpoints.keys()].filter((index) => {
      const zone = endpoints[index]?.endpoint.info.zone ?? "";
      return served(index).includes(model) && (!zones || zoneWithin(zone, zones));
    });
    let speeds = 0;
    const list = { at, upTo: at.map((index) => (speeds += endpoints[index]?.server.speed ?? 0)) };
    lists.set(key, list);
    return list;
  };
  const drawn = ({ at, upTo }: ReturnType<typeof listFor>): number | undefined => {
    const draw = random.next() * (upTo.at(-1) ?? 0);
    let [from, to] = [0, at.length - 1];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((upTo[middle] ?? 0) > draw) to = middle;
      else from = middle + 1;
    }
    return at[from];
  };
  return (device, request, call) => {
    const list = listFor(device.model, call.rules.zones);
    let endpoint: FarmEndpoint | undefined;
    if (workMs) {
      const work = workMs(request);
      const there = list.at.filter((index) => here.has(index));
      let bestMs = Infinity;
      for (const index of there) {
        const finishMs = endpoints[index]?.finishMs(work) ?? Infinity;
        if (finishMs < bestMs) [endpoint, bestMs] = [endpoints[index], finishMs];
      }
    } else {
      for (let tries = 0; tries < 100 && !endpoint; tries++) {
        const index = drawn(list);
        if (index !== undefined && here.has(index)) endpoint = endpoints[index];
      }
    }
    if (!endpoint) throw new LongshoreError("no-endpoint", "plan", "nobody is left");
    return endpoint.endpoint.infer(request, call);
  };
}

/** The watch on a run. */
export interface DeviceWatch {
  /** Says how much of the heap is in use, where that is to be known. */
  readonly heapBytes?: () => number;
  /**
   * Called after each tenth of the time that the devices live, with the number of requests and the share of that time that has
   * passed.
   */
  readonly progress?: (requests: number, doneRatio: number) => void;
}

const progressSteps = 10;

/** Runs a scene on a virtual clock. Servers join before the first request. */
export async function runDevices(
  scene: DeviceScene,
  router: DeviceRouter,
  { heapBytes, progress }: DeviceWatch = {},
): Promise<DeviceRun> {
  const { crowd, servers, seed, untilMs } = scene;
  const clock = virtualClock();
  const random = seededRandom(seed);
  const models = deviceModels.map((name, index) => farmModel(scene.requests, name, index === 2));
  const servedBy = (index: number) => models.filter((_, at) => (index + at) % models.length !== 0);
  const shared = router === "ours" ? undefined : farmSequences();
  const sequences = servers.map(() => shared ?? farmSequences());
  const endpoints = servers.map((server, index) =>
    farmEndpoint(
      { ...server, zone: siteZone(index % crowd.sites) },
      index,
      servedBy(index),
      clock,
      0,
      sequences[index],
    ),
  );
  await using farm = joinedFarm(endpoints, { clock, random: seededRandom(seed + 1) });
  const here = new Set<number>();
  const join = (index: number): Promise<void> => {
    here.add(index);
    if (!shared) sequences[index]?.forget();
    return farm.join(index);
  };
  await clock.runUntil(Promise.all([...endpoints.keys()].map(join)));

  const heapBefore = heapBytes?.() ?? 0;
  const gateway =
    router === "ours"
      ? offloadEndpoint({
          directory: farm.directory,
          dial: farm.dial,
          info: gatewayInfo(0),
          policy: tablePolicy({ public: { leastTrust: "none" } }),
          clock,
          random: seededRandom(seed + 2),
          observer: silentObserver,
          links: () => undefined,
        })
      : undefined;
  const served = (index: number): readonly string[] =>
    servedBy(index).map(({ description }) => description.name);
  const workOf = new WeakMap<InferenceRequest, number>();
  const plain = plainRouter(
    endpoints,
    served,
    here,
    seededRandom(seed + 2),
    router === "oracle" ? (request) => workOf.get(request) ?? 0 : undefined,
  );
  const send: Send = (device, request, call) =>
    gateway ? gateway.infer(request, call) : plain(device, request, call);

  const churn = seededRandom(seed + 3);
  const leaveNow = (): void => {
    if (clock.nowMs() > untilMs) return;
    const index = Math.floor(churn.next() * endpoints.length);
    if (here.has(index) && here.size > 1) {
      here.delete(index);
      farm.leave(index, churn.next() < 0.5);
      clock.timer(exponential(churn, 20_000), () => void join(index));
    }
    clock.timer(exponential(churn, 1000 / scene.leavesPerSecond), leaveNow);
  };
  if (scene.leavesPerSecond > 0) clock.timer(exponential(churn, 1000 / scene.leavesPerSecond), leaveNow);

  const byName = new Map(models.map((model) => [model.description.name, model]));
  const routedMs: number[] = [];
  const tookMs: number[] = [];
  const failed: Record<string, number> = {};
  const askers = new Set<number>();
  const counts = { requests: 0, steps: 0, wrongSteps: 0, outside: 0 };
  const ask = async (device: Device): Promise<boolean> => {
    const model = byName.get(device.model);
    const drawn = scene.requests[Math.floor(random.next() * scene.requests.length)];
    if (!model || !drawn) return false;
    counts.requests++;
    askers.add(device.index);
    const beganMs = clock.nowMs();
    await sleep(clock, device.link.roundTripMs / 2 + (8000 * inputBytes) / device.link.upBitsPerSecond);
    const zones = zonesOf(device);
    const { sequence } = device;
    const request: InferenceRequest = {
      ...farmRequest(model, drawn),
      ...(sequence
        ? {
            sequence: {
              id: `${device.index}-${sequence.number}`,
              step: sequence.step === 0 ? 0 : nextStep,
              end: sequence.end,
              wantState: false,
            },
          }
        : {}),
    };
    workOf.set(request, drawn.workMs);
    const call: Call = {
      ...housekeepingCall(`request-${counts.requests}`),
      tenant: `tenant-${device.index % tenants}`,
      user: `device-${device.index}`,
      rules: { dataClass: "public", leastTrust: "none", ...(zones ? { zones } : {}) },
    };
    const routedFromMs = clock.nowMs();
    try {
      const { outputs, account } = await send(device, request, call);
      const ranIn = account.forwarded.at(-1)?.zone ?? account.zone;
      if (zones && !zoneWithin(ranIn, zones)) counts.outside++;
      const nowMs = clock.nowMs();
      if (sequence) {
        counts.steps++;
        const bytes = outputs.get("y")?.bytes ?? new Uint8Array(8);
        const told = new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
        if (told !== sequence.step) counts.wrongSteps++;
      } else if (beganMs >= scene.countedFromMs) routedMs.push(nowMs - routedFromMs);
      await sleep(clock, device.link.roundTripMs / 2);
      if (beganMs >= scene.countedFromMs) tookMs.push(clock.nowMs() - beganMs);
      return true;
    } catch (thrown) {
      const { reason } = LongshoreError.from(thrown, "execute", "asking");
      failed[reason] = (failed[reason] ?? 0) + 1;
      return false;
    }
  };
  if (progress) {
    for (let step = 1; step <= progressSteps; step++) {
      const doneRatio = step / progressSteps;
      clock.timer(untilMs * doneRatio - clock.nowMs(), () => progress(counts.requests, doneRatio));
    }
  }
  const cpu = process.cpuUsage();
  const moves = await clock.runUntil(liveDevices(crowd, { clock, random, untilMs }, ask), {
    maxEvents: 200_000_000,
  });
  const { user, system } = process.cpuUsage(cpu);
  const heldBytes = heapBytes && heapBytes() - heapBefore;
  await gateway?.close();
  return {
    routedMs,
    tookMs,
    ...counts,
    asked: askers.size,
    failed,
    moves,
    messages: { ...farm.messages },
    ...(heldBytes === undefined ? {} : { heapBytes: heldBytes }),
    realMsPerRequest: (user + system) / 1000 / Math.max(1, counts.requests),
  };
}
