/**
 * A farm of servers on a clock with a full view: the work of each, and how long a request that comes now would take there.
 * Policies that only see the servers' reports, and an oracle that sees all, are compared on it.
 */
import {
  type Account,
  type Call,
  type Clock,
  type Endpoint,
  type EndpointInfo,
  type InferenceRequest,
  type LoadReport,
  LongshoreError,
  type Progress,
  tensorOf,
  type Tensors,
  type ZoneId,
} from "@longshore/core";
import { sleep, wrapEndpoint } from "@longshore/core/internal";
import { fifoSlots } from "../slots/index.ts";
import { batchGain, batchSlot, type FarmBatching } from "./batch-slot.ts";
import { offersOf, wholeSegment } from "../world/simulated-offers.ts";
import type { SimulatedModel } from "../world/simulated-model.ts";
import { farmWork } from "./farm-model.ts";
import { type FarmSequences, farmSequences } from "./farm-sequences.ts";

/** One kind of server. */
export interface FarmServer {
  /** How many times faster than the profile's machine. */
  readonly speed: number;
  /** Requests that run at once: 1 where the processor is what is short, many where servers mostly wait. */
  readonly slots: number;
  /** Requests share runs, one run at a time; `slots` is 1. Only here, not at servers that are elsewhere. Default: each has a run of its own. */
  readonly batching?: FarmBatching;
  /** Promised time over true time; 1 is honest, 0.01 a black hole. Default 1. */
  readonly promiseFactor?: number;
  /** The fault of requests instead of a run: refused at once, or never answered. */
  readonly fault?: "fails" | "silent";
  /** Default `farm`. */
  readonly zone?: ZoneId;
}

/** Work that a server does in a millisecond, in milliseconds on a server of speed 1. */
export function capacityOf({ speed, slots, batching }: FarmServer): number {
  return speed * slots * (batching ? batchGain(batching) : 1);
}

/** A server with its insides. */
export interface FarmEndpoint {
  readonly endpoint: Endpoint;
  readonly server: FarmServer;
  readonly inFlight: number;
  /** Requests that were sent there, those given up included. */
  readonly runs: number;
  /** How often it was polled for its offers, and for its load. */
  readonly requests: number;
  readonly probes: number;
  /** Requests that it did not take because they would have waited for longer than their sender believed. */
  readonly refused: number;
  load(): LoadReport;
  /** When a request with this much work would be done if it came now, in milliseconds from now. */
  finishMs(workMs: number): number;
}

/** The time of a poll for a load, there and back, in milliseconds. */
const probeMs = 1;

/** The work of a server, as an oracle knows it. */
interface SlotBook {
  give(workMs: number): void;
  /** See `FarmEndpoint`. */
  finishMs(workMs: number): number;
}

function slotBook({ speed, slots }: FarmServer, clock: Clock): SlotBook {
  /** Instants at which each slot will have done what it was given. */
  const freeMs = Array.from({ length: slots }, () => 0);
  const soonest = (): number => {
    let best = 0;
    for (let slot = 1; slot < slots; slot++) if ((freeMs[slot] ?? 0) < (freeMs[best] ?? 0)) best = slot;
    return best;
  };
  return {
    give(workMs) {
      const slot = soonest();
      freeMs[slot] = Math.max(freeMs[slot] ?? 0, clock.nowMs()) + workMs / speed;
    },
    finishMs: (workMs) => Math.max(0, (freeMs[soonest()] ?? 0) - clock.nowMs()) + workMs / speed,
  };
}

/**
 * A server of a farm that is elsewhere, as those see it that send everything it gets: its insides are reckoned from that.
 * Each of them reaches it through an endpoint of its own.
 */
export function watchedServer(
  server: FarmServer,
  clock: Clock,
): { readonly reachedBy: (endpoint: Endpoint) => FarmEndpoint } {
  const book = slotBook(server, clock);
  let inFlight = 0;
  let runs = 0;
  const load = (): LoadReport => ({
    atMs: clock.nowMs(),
    cpuRatio: Math.min(1, inFlight / server.slots),
    inFlight,
    queueMs: book.finishMs(0),
  });
  const reachedBy = (endpoint: Endpoint): FarmEndpoint => ({
    endpoint: wrapEndpoint(endpoint, {
      async infer(request, ...rest) {
        runs++;
        inFlight++;
        book.give(farmWork(request).workMs);
        try {
          return await endpoint.infer(request, ...rest);
        } finally {
          inFlight--;
        }
      },
    }),
    server,
    get inFlight() {
      return inFlight;
    },
    get runs() {
      return runs;
    },
    requests: 0,
    probes: 0,
    refused: 0,
    load,
    finishMs: (workMs) => book.finishMs(workMs),
  });
  return { reachedBy };
}

function farmInfo(index: number, { zone = "farm" }: FarmServer, inSequences: boolean): EndpointInfo {
  return {
    id: `server-${index}`,
    tier: "edge",
    zone,
    trust: "operated",
    codecs: [],
    state: inSequences ? "movable" : "none",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 1 },
  };
}

/** Mean work of each size, by the profile. */
function meanWork({ profile }: SimulatedModel): ReadonlyMap<number, number> {
  return new Map(
    profile.variants[0]?.buckets.map(({ upTo, cuts }) => {
      const runMs = cuts[0]?.tailMs ?? [];
      return [upTo.bytes / 8, runMs.reduce((total, one) => total + one, 0) / Math.max(1, runMs.length)];
    }),
  );
}

/** Puts a server on the farm, with one model or several that share its slots. */
export function farmEndpoint(
  server: FarmServer,
  index: number,
  served: SimulatedModel | readonly SimulatedModel[],
  clock: Clock,
  /** The time of a request to come here, and of its answer to come back, in milliseconds. */
  wayMs = 0,
  /** The sequences that it has; shared by servers, their states travel in no time. */
  sequences: FarmSequences = farmSequences(),
): FarmEndpoint {
  const { speed, promiseFactor = 1 } = server;
  const models = new Map(
    [served].flat().map((model) => [model.description.name, { model, means: meanWork(model) }]),
  );
  const inSequences = [...models.values()].some(({ model }) => model.description.sequence !== undefined);
  const info = farmInfo(index, server, inSequences);
  const shared = server.batching && batchSlot(server.batching, clock);
  const slots = shared ?? fifoSlots({ clock, count: server.slots, maxQueue: Infinity });
  const book = slotBook(server, clock);
  let runs = 0;
  let probes = 0;
  let requests = 0;
  let refused = 0;
  const answer: Tensors = new Map([["y", tensorOf("y", "FP64", [1], new Uint8Array(8))]]);
  const load = (): LoadReport => ({
    atMs: clock.nowMs(),
    cpuRatio: slots.busyRatio,
    inFlight: slots.inFlight,
    queueMs: slots.waitMs() * promiseFactor,
    ...(shared ? { batch: shared.batch() } : {}),
  });
  const account = (model: SimulatedModel, queueMs: number, runMs: number): Account => ({
    endpoint: info.id,
    zone: info.zone,
    segment: wholeSegment(model.description),
    stages: [
      { stage: "queue", name: "work", tookMs: queueMs },
      { stage: "run", name: "work", tookMs: runMs },
    ],
    sentBytes: 8,
    receivedBytes: 8,
    energy: { millijoules: runMs, label: "estimated" },
    costMicros: 0,
    forwarded: [],
  });
  const endpoint: Endpoint = {
    info,
    describe: (model) => Promise.resolve(models.get(model)?.model),
    offers({ model: name }) {
      requests++;
      const queueMs = slots.waitMs() * promiseFactor;
      const terms = {
        info,
        nowMs: clock.nowMs(),
        queueMs: () => queueMs,
        slowness: promiseFactor / speed,
      };
      const found = models.get(name);
      return Promise.resolve(found ? offersOf(found.model, undefined, terms) : []);
    },
    async infer(request: InferenceRequest, call: Call, progress?: Progress) {
      const found = models.get(request.segment.model);
      if (!found) throw new LongshoreError("unknown-model", "resolve", `${info.id} has no such model`);
      const { workMs, size } = farmWork(request);
      // An oracle knows the requests on their way here, too.
      const surely = call.mostWaitMs === undefined;
      if (surely) book.give(workMs);
      if (wayMs > 0) await sleep(clock, wayMs, call.abort);
      if (slots.waitMs() > (call.mostWaitMs ?? Infinity)) {
        const told = load();
        if (wayMs > 0) await sleep(clock, wayMs, call.abort);
        refused++;
        progress?.refused?.(told);
        throw new LongshoreError("busier", "admission", "others came first", { retryAfterMs: 1 });
      }
      runs++;
      if (server.fault === "fails") throw new LongshoreError("run-failed", "execute", "nothing runs here");
      if (server.fault === "silent") await sleep(clock, Infinity, call.abort);
      const serviceMs = workMs / speed;
      if (!surely) book.give(workMs);
      const ended = request.sequence && sequences.begin(request.sequence);
      const meanMs = (found.means.get(size) ?? 0) / speed;
      const { queueMs, serviceMs: ranMs } = await slots.work(() => serviceMs, call, meanMs);
      const done = { outputs: answer, account: account(found.model, queueMs, ranMs), load: load() };
      const step = ended?.();
      if (wayMs > 0) await sleep(clock, wayMs, call.abort);
      return { ...done, ...step };
    },
    capabilities: {
      async probe(_bytes, call) {
        probes++;
        await sleep(clock, probeMs / 2, call.abort);
        const told = load();
        await sleep(clock, probeMs / 2, call.abort);
        return told;
      },
    },
    close: () => Promise.resolve(),
  };
  return {
    endpoint,
    server,
    get inFlight() {
      return slots.inFlight;
    },
    get runs() {
      return runs;
    },
    get requests() {
      return requests;
    },
    get probes() {
      return probes;
    },
    get refused() {
      return refused;
    },
    load,
    finishMs: (workMs) => (shared ? shared.finishMs(workMs / speed) : book.finishMs(workMs)),
  };
}
