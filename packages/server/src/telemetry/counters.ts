import type { Account, LongshoreEvent, Observer } from "@longshore/core";

/** How often, and how long in all, as Triton's statistics have it. */
export interface CountAndTime {
  count: number;
  ns: number;
}

/** The kinds of time that Triton's statistics tell apart. */
const kinds = [
  "success",
  "fail",
  "queue",
  "compute_input",
  "compute_infer",
  "compute_output",
  "cache_hit",
  "cache_miss",
] as const;

type Kind = (typeof kinds)[number];

/** Statistics of one version of one model since the server started. */
export interface ModelCounters {
  readonly model: string;
  readonly version: string;
  lastInferenceMs: number;
  inferences: number;
  readonly times: Readonly<Record<Kind, CountAndTime>>;
}

/** Batches that ran, by size; events know the model but not the version. */
export interface BatchCounters {
  readonly size: number;
  count: number;
  ns: number;
}

/** Counts what the server does. Pass `observer` to the engine, so that batches are counted too. */
export interface Counters {
  readonly observer: Observer;
  answered(model: string, version: string, account: Account, tookMs: number, wallMs: number): void;
  failed(model: string, version: string, tookMs: number): void;
  /** Replies by HTTP status. */
  replied(status: number): void;
  readonly replies: ReadonlyMap<number, number>;
  /** Of one version, or zeros when nothing was asked of it yet. */
  version(model: string, version: string): ModelCounters;
  all(): readonly ModelCounters[];
  batches(model: string): readonly BatchCounters[];
}

/** The most label values kept: names come from requests, but only of models that exist. */
const maxModels = 4096;

function empty(model: string, version: string): ModelCounters {
  const times = Object.fromEntries(kinds.map((kind) => [kind, { count: 0, ns: 0 }])) as Record<
    Kind,
    CountAndTime
  >;
  return { model, version, lastInferenceMs: 0, inferences: 0, times };
}

function add(into: CountAndTime, tookMs: number): void {
  into.count += 1;
  into.ns += Math.round(tookMs * 1e6);
}

const kindOfStage: Readonly<Record<string, Kind>> = {
  queue: "queue",
  transform: "compute_input",
  decode: "compute_input",
  run: "compute_infer",
  encode: "compute_output",
};

/** Counters from zero. */
export function createCounters(): Counters {
  const models = new Map<string, ModelCounters>();
  const batchesOf = new Map<string, Map<number, BatchCounters>>();
  const replies = new Map<number, number>();

  const countersOf = (model: string, version: string): ModelCounters => {
    const key = `${model}/${version}`;
    const found = models.get(key);
    if (found) return found;
    const made = empty(model, version);
    if (models.size < maxModels) models.set(key, made);
    return made;
  };

  const batchRan = (event: LongshoreEvent & { kind: "batch-run" }): void => {
    const sizes = batchesOf.get(event.model) ?? new Map<number, BatchCounters>();
    if (batchesOf.size < maxModels) batchesOf.set(event.model, sizes);
    const batch = sizes.get(event.size) ?? { size: event.size, count: 0, ns: 0 };
    sizes.set(event.size, batch);
    add(batch, event.tookMs);
  };

  return {
    replies,
    observer: {
      record(event) {
        if (event.kind === "batch-run") batchRan(event);
      },
    },
    answered(model, version, account, tookMs, wallMs) {
      const counters = countersOf(model, version);
      counters.lastInferenceMs = Math.round(wallMs);
      counters.inferences += 1;
      add(counters.times.success, tookMs);
      const totals: Partial<Record<Kind, number>> = {};
      for (const { stage, tookMs: took } of account.stages) {
        const kind = kindOfStage[stage];
        if (kind) totals[kind] = (totals[kind] ?? 0) + took;
      }
      // Every kind counts each inference once, also when it took no time: perf_analyzer divides by these counts.
      for (const kind of ["queue", "compute_input", "compute_infer", "compute_output"] as const) {
        add(counters.times[kind], totals[kind] ?? 0);
      }
    },
    failed: (model, version, tookMs) => add(countersOf(model, version).times.fail, tookMs),
    replied: (status) => void replies.set(status, (replies.get(status) ?? 0) + 1),
    version: (model, version) => models.get(`${model}/${version}`) ?? empty(model, version),
    all: () => [...models.values()],
    batches: (model) => [...(batchesOf.get(model)?.values() ?? [])].sort((a, b) => a.size - b.size),
  };
}
