/** The parts of machines of all kinds: the same as on a real platform, with the simulated network, clock and runtime. */
import { crc32 } from "node:zlib";
import {
  type Clock,
  codecSet,
  type CodecSet,
  type Endpoint,
  type EndpointInfo,
  endCut,
  type Handler,
  type LinkBelief,
  linkBelief,
  type LinkModel,
  linkModel,
  type LongshoreEvent,
  type Observer,
  observers,
  oipEndpoint,
  type Policy,
  rawCodec,
  startCut,
  tablePolicy,
} from "@longshore/core";
import {
  type AliasShelf,
  housekeepingCall,
  noVersion,
  openRollouts,
  rolloutEndpoint,
  type Rollouts,
} from "@longshore/core/internal";
import { createEngine, type Engine, inlineLane, type ModelStore } from "@longshore/engine";
import {
  allRights,
  answerCache,
  cachedEndpoint,
  createHandler,
  createLife,
  createTelemetry,
  type HandlerParts,
  type Identity,
  type Life,
  onceEndpoint,
} from "@longshore/server";
import { memoryRuntime, memorySource, memoryStore, type MemoryStore, sha256Of } from "@longshore/testkit";
import type { Machine } from "./machine.ts";
import { type RowRun, simulatedModels } from "./models.ts";
import type { Network } from "./network.ts";

/** Only raw tensors: the checks need exact values. */
export const codecs: CodecSet = codecSet(rawCodec);

/** Its tables never change, and take longer to make than a small world to run. */
const sharedLinks: LinkModel = linkModel();

const { classes: _classes, ...untold } = tablePolicy({
  public: { leastTrust: "listed" },
  internal: { leastTrust: "listed" },
  personal: { leastTrust: "operated" },
  restricted: { zones: ["device"], leastTrust: "none" },
});

/**
 * As `standardPolicy`, without its own copy of the table. It does not tell its classes, so that a request of an unknown one is not refused
 * at once: its data must stay on the device under all faults.
 */
export const policy: Policy = untold;

/** The parts that a machine needs besides itself. */
export interface Surroundings {
  readonly network: Network;
  /** Told of every event of every machine. */
  readonly event: (machine: string, event: LongshoreEvent) => void;
  readonly ran: (run: RowRun) => void;
  /** Writes a further line of the log. */
  readonly note: (machine: string, text: string) => void;
  /** How many times slower than usual a machine runs models now. */
  readonly slowness: (machine: string) => number;
}

/** Everybody is of one fleet, and may everything. */
const fleet: Identity = { tenant: "fleet", rights: new Set(allRights) };

/** The observer of a machine. */
export function observerOf(machine: Machine, { event }: Surroundings): Observer {
  return { record: (one) => event(machine.name, one) };
}

/** An engine over memory models. */
export function engineOn(
  machine: Machine,
  surroundings: Surroundings,
  info: EndpointInfo,
  store: ModelStore,
  speed: number,
  observer: Observer = observerOf(machine, surroundings),
): Engine {
  const { clock, random } = machine;
  const models = simulatedModels(machine.name, speed, surroundings.ran);
  const slowness = (): number => surroundings.slowness(machine.name);
  return createEngine({
    info,
    store,
    source: memorySource(models),
    runtimes: [memoryRuntime({ models, clock, loadMs: 30, slowness })],
    transforms: new Map(),
    lane: inlineLane(new Map(), clock),
    clock,
    random,
    observer,
    sha256: sha256Of,
    limits: { cores: 2 },
  });
}

/** Dials servers from a machine, with a belief about the link to each. */
export function diallerOn(
  machine: Machine,
  surroundings: Surroundings,
): { dial(info: EndpointInfo): Endpoint; link(id: string): LinkBelief | undefined } {
  const links = new Map<string, LinkBelief>();
  const { clock, random } = machine;
  return {
    dial(info) {
      const link = links.get(info.id) ?? linkBelief({ model: sharedLinks });
      links.set(info.id, link);
      return oipEndpoint({
        info,
        transport: surroundings.network.transport(machine, info.address ?? ""),
        codecs,
        clock,
        random,
        observer: observerOf(machine, surroundings),
        link,
        crc32,
      });
    },
    link: (id) => links.get(id),
  };
}

/** An endpoint on the network, with the same order of wrappers as in `putOnline`. */
export interface Served {
  readonly handler: Handler;
  readonly life: Life;
  /** Of all wrappers, the outermost. */
  readonly endpoint: Endpoint;
  readonly rollouts: Rollouts;
}

/** Puts an endpoint into a handler. */
export async function served(
  machine: Machine,
  surroundings: Surroundings,
  inner: Endpoint,
  {
    aliases,
    ...rest
  }: Pick<HandlerParts, "load" | "directory" | "repository" | "packages"> & { readonly aliases?: AliasShelf },
): Promise<Served> {
  const { clock, random } = machine;
  const life = createLife();
  const telemetry = createTelemetry({ clock, random, ...(rest.load ? { load: rest.load } : {}) });
  const observer = observers(telemetry.observer, observerOf(machine, surroundings));
  const answers = answerCache({
    clock,
    observer,
    hash: sha256Of,
    maxBytes: 2 ** 20,
    ...(rest.load ? { load: rest.load } : {}),
  });
  const cached = cachedEndpoint(inner, answers);
  const rollouts = await openRollouts({
    clock,
    observer,
    resolve: async (model, version) => {
      const found = await cached.describe(model, version, housekeepingCall("rollout"));
      if (found?.description.version !== version) throw noVersion(model, version);
      return { version, digest: found.description.digest };
    },
    prepare: async (model, target) => {
      const segment = { model, ...target, variant: "", from: startCut, to: endCut };
      await cached.capabilities.prepare?.(segment, {
        ...housekeepingCall("rollout"),
        deadlineMs: clock.nowMs() + 60_000,
      });
    },
    ...(aliases ? { shelf: aliases } : {}),
  });
  const named = rolloutEndpoint(cached, { rollouts, clock, draw: () => random.next() });
  const endpoint = onceEndpoint(named, { clock, observer });
  const handler = createHandler({
    endpoint,
    codecs,
    clock,
    observer,
    life,
    telemetry,
    rollouts,
    identify: () => fleet,
    modelControl: true,
    crc32,
    ...rest,
  });
  return { handler, life, endpoint, rollouts };
}

/** A fresh repository in memory. */
export function repositoryOf(files: Readonly<Record<string, Uint8Array | string>>): MemoryStore {
  return memoryStore(files);
}

/** The information of a machine. */
export function infoOf(
  id: string,
  { tier, zone, trust }: Pick<EndpointInfo, "tier" | "zone" | "trust">,
): EndpointInfo {
  return {
    id,
    tier,
    zone,
    trust,
    address: `http://${id}`,
    codecs: ["raw"],
    state: "movable",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 6 },
  };
}

/** Waits on a clock, for whom nothing ends it. */
export function after(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.timer(ms, resolve));
}
