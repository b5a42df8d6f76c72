import { type Call, type CutId, endCut, LongshoreError, startCut } from "@longshore/core";
import { housekeepingCall, Once, untilAborted } from "@longshore/core/internal";
import type { GraphBody } from "../repository/index.ts";
import type { Artifact } from "../runtime/index.ts";
import { type Cores, coresOf } from "./cores.ts";
import { leftMs, loadTimes } from "./load-times.ts";
import { openScheduler } from "./open-scheduler.ts";
import { type ProviderTrials, providerTrials } from "./provider-trials.ts";
import type { Scheduler } from "./scheduler-interface.ts";
import { warmUpInstances } from "./warm-up.ts";
import type { GraphPoolParts } from "./graph-pool-parts.ts";
import { opensFor } from "./open-instances.ts";

/** A loaded graph, or a loaded part of one, held while a request needs it. */
export interface GraphLease extends Disposable {
  readonly scheduler: Scheduler;
  /** Tensors that it takes and gives, as its file calls them. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Loaded graphs with their schedulers. */
export interface GraphPool {
  /**
   * Loads the graph on first use. Concurrent callers share the load. `owner` keeps it from being evicted. `sandboxed` runs it in the
   * sandbox, even if the model is trusted. Throws `memory-limit` when memory does not suffice.
   */
  lease(
    graph: GraphBody,
    from: CutId,
    to: CutId,
    owner: object,
    call: Call,
    sandboxed?: boolean,
  ): GraphLease | Promise<GraphLease>;
  /** The scheduler if it is loaded. */
  loaded(graph: GraphBody, from: CutId, to: CutId): Scheduler | undefined;
  /** Expected time until it is loaded, in milliseconds; 0 if it is. `lacksBytes` of it have to be fetched. */
  expectedMs(graph: GraphBody, from: CutId, to: CutId, lacksBytes: number): number;
  schedulers(): readonly Scheduler[];
  /** Releases what only this owner wanted, once its runs are over. */
  disown(owner: object): Promise<void>;
  close(): Promise<void>;
}

interface Entry {
  readonly key: string;
  readonly whole: boolean;
  /** 0 for a part until it is cut, since its size is unknown before. */
  bytes: number;
  readonly owners: Set<object>;
  readonly ready: Promise<Loaded>;
  /** As of the latest lease. Whether the model stays loaded may change while the entry remains. */
  graph: GraphBody;
  loaded: Loaded | undefined;
  leases: number;
  usedAt: number;
  readonly beganMs: number;
}

interface Loaded {
  readonly scheduler: Scheduler;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

class LeaseOfLoaded extends Once implements GraphLease {
  readonly scheduler: Scheduler;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];

  constructor({ scheduler, inputs, outputs }: Loaded, end: () => void) {
    super(end);
    this.scheduler = scheduler;
    this.inputs = inputs;
    this.outputs = outputs;
  }
}

export function graphPool(parts: GraphPoolParts): GraphPool {
  const entries = new Map<string, Entry>();
  const closing = new Set<Promise<void>>();
  const { limits, weightOf = () => 1 } = parts;
  const cores = coresOf(Math.max(1, Math.floor(limits.cores / limits.threads)), weightOf, parts.clock);
  const trials = providerTrials(parts.random, parts.samples);
  const times = loadTimes();
  let uses = 0;

  function tell({ graph: { model, version } }: Entry, bytes: number): void {
    parts.observer.record({ kind: "graph-memory", atMs: parts.clock.nowMs(), model, version, bytes });
  }

  function entryFor(graph: GraphBody, from: CutId, to: CutId, sandboxed: boolean): Entry {
    const key = keyOf(graph, from, to, sandboxed);
    const known = entries.get(key);
    if (known) return known;
    const whole = from === startCut && to === endCut;
    const bytes = whole ? memoryOf(graph, graph.file) : 0;
    const evicted = whole ? makeRoom(graph.model, true, bytes, undefined) : [];
    const body = sandboxed ? { ...graph, trusted: false } : graph;
    // Memory is free only once what held it is gone.
    const ready = whole
      ? Promise.all(evicted).then(() => loadGraph(parts, trials, cores, body, from, to, graph.file))
      : loadPart(body, from, to, () => entry);
    const entry: Entry = {
      key,
      whole,
      bytes,
      owners: new Set(),
      ready,
      graph,
      loaded: undefined,
      leases: 0,
      usedAt: ++uses,
      beganMs: parts.clock.nowMs(),
    };
    entries.set(key, entry);
    ready.then(
      (loaded) => {
        entry.loaded = loaded;
        times.took(key, graph.file.byteLength, parts.clock.nowMs() - entry.beganMs);
        tell(entry, entry.bytes);
      },
      () => void (entries.get(key) === entry && entries.delete(key)),
    );
    return entry;
  }

  /** The memory of a part is known once it is cut. Cutting takes no lasting memory. */
  async function loadPart(graph: GraphBody, from: CutId, to: CutId, own: () => Entry): Promise<Loaded> {
    const artifact = await parts.source.extract(graph.file, from, to, housekeepingCall("load"));
    const entry = own();
    const bytes = memoryOf(graph, artifact);
    const evicted = makeRoom(graph.model, false, bytes, entry);
    entry.bytes = bytes;
    await Promise.all(evicted);
    return loadGraph(parts, trials, cores, graph, from, to, artifact);
  }

  /**
   * Evicts the least recently used idle entries. If all are in use, one entry too many is allowed until one is idle. Memory is never
   * exceeded: throws `memory-limit`.
   *
   * @param own The entry that needs the memory, if it is in the pool already.
   */
  function makeRoom(
    model: string,
    whole: boolean,
    bytes: number,
    own: Entry | undefined,
  ): readonly Promise<void>[] {
    const { maxGraphs, maxParts, maxModelBytes } = parts.limits;
    const idle = [...entries.values()]
      .filter(({ leases, loaded, graph }) => leases === 0 && loaded && !graph.keepLoaded)
      .sort((a, b) => a.usedAt - b.usedAt);
    const same = [...entries.values()].filter((entry) => entry !== own && entry.whole === whole).length;
    const tooMany = Math.max(0, same - (whole ? maxGraphs : maxParts) + 1);
    const going = new Set(idle.filter((entry) => entry.whole === whole).slice(0, tooMany));
    let held = [...entries.values()].reduce((sum, entry) => sum + entry.bytes, 0);
    for (const entry of going) held -= entry.bytes;
    for (const entry of idle) {
      if (held + bytes <= maxModelBytes) break;
      if (going.has(entry)) continue;
      going.add(entry);
      held -= entry.bytes;
    }
    if (bytes > maxModelBytes) {
      throw new LongshoreError(
        "memory-limit",
        "execute",
        `model ${model} takes about ${bytes} bytes; all models together may hold ${maxModelBytes}`,
      );
    }
    if (held + bytes > maxModelBytes) {
      throw new LongshoreError(
        "memory-limit",
        "execute",
        `model ${model} takes about ${bytes} bytes; of the ${maxModelBytes} for models ${held} are held by models that are in use or kept loaded`,
        { retryAfterMs: 1000 },
      );
    }
    return [...going].map(drop);
  }

  function drop(entry: Entry): Promise<void> {
    if (entries.get(entry.key) === entry) entries.delete(entry.key);
    const gone = entry.ready.then(
      async ({ scheduler }) => {
        const drained = scheduler.drain();
        parts.ending?.(scheduler);
        await drained;
        tell(entry, -entry.bytes);
      },
      // A failed load has nothing to release, and its caller has the error.
      () => undefined,
    );
    closing.add(gone);
    return gone.finally(() => closing.delete(gone));
  }

  return {
    lease(graph, from, to, owner, call, sandboxed = false) {
      const entry = entryFor(graph, from, to, sandboxed);
      entry.graph = graph;
      entry.owners.add(owner);
      entry.usedAt = ++uses;
      entry.leases++;
      const end = (): void => {
        entry.leases--;
        if (entry.leases === 0 && entry.owners.size === 0) void drop(entry);
      };
      if (entry.loaded) return new LeaseOfLoaded(entry.loaded, end);
      return untilAborted(entry.ready, call.abort, "execute").then(
        (loaded) => new LeaseOfLoaded(loaded, end),
        (thrown: unknown) => {
          end();
          throw thrown;
        },
      );
    },
    loaded: (graph, from, to) => entries.get(keyOf(graph, from, to, false))?.loaded?.scheduler,
    expectedMs(graph, from, to, lacksBytes) {
      const key = keyOf(graph, from, to, false);
      const entry = entries.get(key);
      if (entry?.loaded) return 0;
      const expectedMs = times.expectedMs(key, graph.file.byteLength, lacksBytes);
      return entry ? leftMs(expectedMs, parts.clock.nowMs() - entry.beganMs) : expectedMs;
    },
    schedulers: () => [...entries.values()].flatMap(({ loaded }) => (loaded ? [loaded.scheduler] : [])),
    async disown(owner) {
      const gone: Promise<void>[] = [];
      for (const entry of entries.values()) {
        if (!entry.owners.delete(owner) || entry.owners.size > 0 || entry.leases > 0) continue;
        gone.push(drop(entry));
      }
      await Promise.all(gone);
    },
    async close() {
      await Promise.all([...entries.values()].map(drop));
      await Promise.all(closing);
    },
  };
}

/** Keys of whole graphs, cached because every request needs one. */
const wholeKeys = new WeakMap<GraphBody, string>();

/** The key of an entry. It covers everything that decides which instances fit: content, part, loading and scheduling. */
function keyOf(graph: GraphBody, from: CutId, to: CutId, sandboxed: boolean): string {
  let whole = wholeKeys.get(graph);
  if (whole === undefined) {
    const { model, version, file, batching, instances, trusted, warmUps } = graph;
    const how = JSON.stringify([batching, instances, graph.providers, trusted, warmUps.length]);
    whole = `${model}/${version}/${file.digest}:${how}`;
    wholeKeys.set(graph, whole);
  }
  const part = from === startCut && to === endCut ? "" : `:${from}..${to}`;
  return part === "" && !sandboxed ? whole : `${whole}${part}${sandboxed ? ":sandbox" : ""}`;
}

/**
 * Memory of the instances of a graph, or of a part. The operator's figure for a whole instance counts, for a part in proportion. Without
 * one the estimate is twice the file (weights, and what the runtime derives from them) and 24 MiB for the runtime.
 */
function memoryOf({ file, instances, memoryBytes }: GraphBody, { byteLength }: Artifact): number {
  const count = instances.reduce((sum, group) => sum + group.count, 0);
  const share = Math.min(1, byteLength / Math.max(1, file.byteLength));
  return count * (memoryBytes === undefined ? 2 * byteLength + 24 * 2 ** 20 : Math.ceil(memoryBytes * share));
}

async function loadGraph(
  parts: GraphPoolParts,
  trials: ProviderTrials,
  cores: Cores,
  graph: GraphBody,
  from: CutId,
  to: CutId,
  artifact: Artifact,
): Promise<Loaded> {
  const call = housekeepingCall("load");
  const whole = from === startCut && to === endCut;
  const signature = whole ? graph.signature : await parts.source.inspect(artifact, call);
  const scheduler = await openScheduler({
    name: whole ? graph.model : `${graph.model}:${from}..${to}`,
    ...(whole ? { version: graph.version } : {}),
    ...opensFor(parts, trials, graph, artifact),
    batching: graph.batching,
    cores,
    maxQueued: parts.limits.maxQueued,
    clock: parts.clock,
    random: parts.random,
    observer: parts.observer,
    ...(parts.weightOf ? { weightOf: parts.weightOf } : {}),
  });
  if (whole && graph.warmUps.length > 0) {
    try {
      await warmUpInstances(graph, scheduler, parts.random);
    } catch (thrown) {
      await scheduler.drain();
      throw thrown;
    }
  }
  if (whole && graph.joinableRows > 1) parts.unasked?.begin(graph, scheduler);
  return {
    scheduler,
    inputs: signature.inputs.map(({ name }) => name),
    outputs: signature.outputs.map(({ name }) => name),
  };
}
