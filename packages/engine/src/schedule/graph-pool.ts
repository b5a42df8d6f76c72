import {
  abortError,
  type Call,
  type Clock,
  type CutId,
  endCut,
  housekeepingCall,
  LongshoreError,
  type Observer,
  type Random,
  startCut,
  type TenantId,
} from "@longshore/core";
import { type GraphBody, type ModelSource, someNames } from "../repository/index.ts";
import type { Artifact, LoadOptions, Runtime } from "../execute/runtime.ts";
import type { OpenSession } from "./instance.ts";
import { openScheduler } from "./open-scheduler.ts";
import type { Scheduler } from "./scheduler.ts";

/** A loaded graph, or part of one, for as long as a request needs it. */
export interface GraphLease extends Disposable {
  readonly scheduler: Scheduler;
  /** Tensors that it takes and gives, as its file calls them. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

interface GraphPoolLimits {
  /** Whole graphs, and parts between inner cuts, that stay loaded; the least recently used idle ones go. */
  readonly maxGraphs: number;
  readonly maxParts: number;
  readonly maxQueued: number;
}

export interface GraphPoolParts {
  readonly source: ModelSource;
  readonly runtimes: readonly Runtime[];
  readonly sandbox?: Runtime;
  readonly load: LoadOptions;
  readonly limits: GraphPoolLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** Share of a tenant against others'. Default: all have 1. */
  readonly weightOf?: (tenant: TenantId) => number;
}

/** Loaded graphs with their schedulers. */
export interface GraphPool {
  /** Loads on first use; all who ask at the same time share the load. `owner` keeps it from being forgotten. */
  lease(graph: GraphBody, from: CutId, to: CutId, owner: object, call: Call): Promise<GraphLease>;
  /** The scheduler if it is loaded. */
  loaded(graph: GraphBody, from: CutId, to: CutId): Scheduler | undefined;
  schedulers(): readonly Scheduler[];
  /** Releases what only this owner wanted, once its runs are over. */
  disown(owner: object): Promise<void>;
  close(): Promise<void>;
}

interface Entry {
  readonly key: string;
  readonly whole: boolean;
  readonly owners: Set<object>;
  readonly ready: Promise<Loaded>;
  loaded: Loaded | undefined;
  leases: number;
  usedAt: number;
}

interface Loaded {
  readonly scheduler: Scheduler;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export function graphPool(parts: GraphPoolParts): GraphPool {
  const entries = new Map<string, Entry>();
  const closing = new Set<Promise<void>>();
  let uses = 0;

  function entryFor(graph: GraphBody, from: CutId, to: CutId): Entry {
    const key = keyOf(graph, from, to);
    const known = entries.get(key);
    if (known) return known;
    const whole = from === startCut && to === endCut;
    makeRoom(whole);
    const ready = loadGraph(parts, graph, from, to);
    const entry: Entry = {
      key,
      whole,
      owners: new Set(),
      ready,
      loaded: undefined,
      leases: 0,
      usedAt: ++uses,
    };
    entries.set(key, entry);
    ready.then(
      (loaded) => void (entry.loaded = loaded),
      () => void (entries.get(key) === entry && entries.delete(key)),
    );
    return entry;
  }

  /** Evicts the least recently used idle ones; when all are in use there is one too many until one is not. */
  function makeRoom(whole: boolean): void {
    const same = [...entries.values()].filter((entry) => entry.whole === whole);
    const idle = same
      .filter(({ leases, loaded }) => leases === 0 && loaded)
      .sort((a, b) => a.usedAt - b.usedAt);
    const most = whole ? parts.limits.maxGraphs : parts.limits.maxParts;
    for (const entry of idle.slice(0, Math.max(0, same.length - most + 1))) void drop(entry);
  }

  function drop(entry: Entry): Promise<void> {
    if (entries.get(entry.key) === entry) entries.delete(entry.key);
    const gone = entry.ready.then(
      ({ scheduler }) => scheduler.drain(),
      // A failed load has nothing to release and was reported to who asked for it.
      () => undefined,
    );
    closing.add(gone);
    return gone.finally(() => closing.delete(gone));
  }

  return {
    async lease(graph, from, to, owner, call) {
      const entry = entryFor(graph, from, to);
      entry.owners.add(owner);
      entry.usedAt = ++uses;
      entry.leases++;
      let open = true;
      const end = (): void => {
        if (!open) return;
        open = false;
        entry.leases--;
        if (entry.leases === 0 && entry.owners.size === 0) void drop(entry);
      };
      try {
        const { scheduler, inputs, outputs } = entry.loaded ?? (await untilAborted(entry.ready, call));
        return { scheduler, inputs, outputs, [Symbol.dispose]: end };
      } catch (thrown) {
        end();
        throw thrown;
      }
    },
    loaded: (graph, from, to) => entries.get(keyOf(graph, from, to))?.loaded?.scheduler,
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

function keyOf({ model, version, file }: GraphBody, from: CutId, to: CutId): string {
  return `${model}/${version}/${file.digest}:${from}..${to}`;
}

async function loadGraph(parts: GraphPoolParts, graph: GraphBody, from: CutId, to: CutId): Promise<Loaded> {
  const call = housekeepingCall("load");
  const whole = from === startCut && to === endCut;
  const artifact = whole ? graph.file : await parts.source.extract(graph.file, from, to, call);
  const signature = whole ? graph.signature : await parts.source.inspect(artifact, call);
  const scheduler = await openScheduler({
    name: whole ? graph.model : `${graph.model}:${from}..${to}`,
    opens: opensFor(parts, graph, artifact),
    batching: graph.batching,
    maxQueued: parts.limits.maxQueued,
    clock: parts.clock,
    random: parts.random,
    observer: parts.observer,
    ...(parts.weightOf ? { weightOf: parts.weightOf } : {}),
  });
  return {
    scheduler,
    inputs: signature.inputs.map(({ name }) => name),
    outputs: signature.outputs.map(({ name }) => name),
  };
}

/** How each instance is loaded: on the runtime that it names, or on the first that can. */
function opensFor(parts: GraphPoolParts, graph: GraphBody, artifact: Artifact): readonly OpenSession[] {
  return graph.instances.flatMap(({ count, runtime }) => {
    const open = openOn(candidates(parts, graph, runtime), artifact, parts.load);
    return Array.from({ length: count }, () => open);
  });
}

function candidates(
  { runtimes, sandbox }: GraphPoolParts,
  graph: GraphBody,
  name?: string,
): readonly Runtime[] {
  if (!graph.trusted) {
    if (sandbox) return [sandbox];
    throw new LongshoreError(
      "unsupported",
      "execute",
      `model ${graph.model} is not trusted, and this place has no sandbox to run it in`,
    );
  }
  const named = name === undefined ? runtimes : runtimes.filter((one) => one.name === name);
  if (named.length > 0) return named;
  throw new LongshoreError(
    "invalid-configuration",
    "execute",
    `model ${graph.model} wants the runtime ${name ?? "at all"}; there are ${someNames(runtimes.map((one) => one.name))}`,
  );
}

/** Runtimes never fall back by themselves: one that cannot run this kind of model is passed over here, and only that. */
function openOn(runtimes: readonly Runtime[], artifact: Artifact, options: LoadOptions): OpenSession {
  return async (call) => {
    let problem: unknown;
    for (const runtime of runtimes) {
      try {
        return await runtime.load(artifact, options, call);
      } catch (thrown) {
        if (!LongshoreError.is(thrown) || thrown.reason !== "unsupported") throw thrown;
        problem = thrown;
      }
    }
    throw problem;
  };
}

/** Waits for a load that others may be waiting for too: leaving does not stop it. */
export function untilAborted<T>(work: Promise<T>, { abort }: Call): Promise<T> {
  return new Promise((resolve, reject) => {
    if (abort.aborted) {
      reject(abortError(abort, "execute"));
      return;
    }
    const stop = (): void => reject(abortError(abort, "execute"));
    abort.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => abort.removeEventListener("abort", stop));
  });
}
