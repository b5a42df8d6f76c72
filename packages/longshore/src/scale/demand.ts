import type { DemandSample } from "@longshore/core/internal";
import { type Sample, samplesOf } from "@longshore/core/internal";

/** The metrics of gateways and pickers that the demand is read from. */
const wanted: ReadonlySet<string> = new Set([
  "longshore_demand_requests_total",
  "longshore_demand_run_seconds_bucket",
  "longshore_demand_run_seconds_sum",
  "longshore_demand_alone_seconds_bucket",
  "longshore_demand_occupied_seconds_total",
  "longshore_directory_entries",
  "longshore_pick_endpoints",
]);

/** Times of requests lately, as counts by upper bound; old ones fade. */
class Times {
  readonly #counts = new Map<number, number>();

  add(bound: number, count: number): void {
    this.#counts.set(bound, (this.#counts.get(bound) ?? 0) + count);
  }

  fade(keep: number): void {
    for (const [bound, count] of this.#counts) this.#counts.set(bound, count * keep);
  }

  /** Equally likely values in milliseconds, within buckets by a straight line; empty without any time. */
  values(): Float64Array {
    const bounds = [...this.#counts.keys()].sort((a, b) => a - b);
    const total = bounds.reduce((sum, bound) => sum + (this.#counts.get(bound) ?? 0), 0);
    if (total < leastCount) return new Float64Array(0);
    const values = new Float64Array(valueCount);
    let [bucket, before] = [0, 0];
    for (let at = 0; at < valueCount; at++) {
      const position = ((at + 0.5) / valueCount) * total;
      while (bucket < bounds.length - 1 && before + (this.#counts.get(bounds[bucket] ?? 0) ?? 0) < position) {
        before += this.#counts.get(bounds[bucket] ?? 0) ?? 0;
        bucket++;
      }
      const upper = bounds[bucket] ?? 0;
      const lower = bounds[bucket - 1] ?? 0;
      const count = this.#counts.get(upper) ?? 1;
      // Beyond the last bound nothing is known but that it was longer.
      const high = Number.isFinite(upper) ? upper : 2 * lower;
      values[at] = 1000 * (lower + (high - lower) * Math.min(1, (position - before) / count));
    }
    return values;
  }
}

/** Times are kept as this many values. */
const valueCount = 128;
/** Fewer requests than this, fading included, say nothing. */
const leastCount = 0.5;
/** After this time a request counts half. */
const halfLifeMs = 300_000;

interface ModelTimes {
  readonly run: Times;
  readonly alone: Times;
  occupiedSeconds: number;
  runSeconds: number;
}

/** The counters of one page. */
export interface Looked {
  /** By model. */
  readonly samples: ReadonlyMap<string, DemandSample>;
  /** Endpoints that a gateway or picker knows as usable; undefined if none tells. */
  readonly ready: number | undefined;
}

/** Turns pages of counters into demand. */
export interface DemandReader {
  /** Takes in the pages that were read now, by the address of the process. An address that is missing has left or does not answer. */
  read(pages: ReadonlyMap<string, string>, nowMs: number): Looked;
}

/** Addresses whose counters are remembered. */
const mostAddresses = 1024;

/** Starts without knowledge. The counts of an address at its first page are taken as old. */
export function demandReader(): DemandReader {
  const counters = new Map<string, Map<string, number>>();
  const models = new Map<string, ModelTimes>();
  let lookedAtMs: number | undefined;

  const timesOf = (model: string): ModelTimes => {
    const found = models.get(model);
    if (found) return found;
    const made = { run: new Times(), alone: new Times(), occupiedSeconds: 0, runSeconds: 0 };
    models.set(model, made);
    return made;
  };

  /** The increase of each counter on a page. */
  const grown = (address: string, samples: readonly Sample[]): ReadonlyMap<Sample, number> => {
    const before = counters.get(address);
    const now = new Map<string, number>();
    const growth = new Map<Sample, number>();
    for (const sample of samples) {
      const key = JSON.stringify([sample.name, sample.labels.get("model"), sample.labels.get("le")]);
      now.set(key, sample.value);
      const last = before?.get(key) ?? 0;
      // A process that started again counts from zero. At the first page, times are of use, and arrivals are long past.
      const isOld = before === undefined && sample.name === "longshore_demand_requests_total";
      growth.set(sample, isOld ? 0 : sample.value >= last ? sample.value - last : sample.value);
    }
    counters.delete(address);
    counters.set(address, now);
    if (counters.size > mostAddresses) counters.delete(counters.keys().next().value ?? "");
    return growth;
  };

  const addBuckets = (
    samples: ReadonlyMap<Sample, number>,
    name: string,
    of: (model: string) => Times,
  ): void => {
    const byModel = new Map<string, { readonly bound: number; readonly growth: number }[]>();
    for (const [sample, growth] of samples) {
      if (sample.name !== name) continue;
      const model = sample.labels.get("model") ?? "";
      const le = sample.labels.get("le") ?? "+Inf";
      const list = byModel.get(model) ?? [];
      list.push({ bound: le === "+Inf" ? Infinity : Number(le), growth });
      byModel.set(model, list);
    }
    for (const [model, buckets] of byModel) {
      buckets.sort((a, b) => a.bound - b.bound);
      // Buckets hold the counts of all below them.
      for (const [at, { bound, growth }] of buckets.entries()) {
        of(model).add(bound, Math.max(0, growth - (buckets[at - 1]?.growth ?? 0)));
      }
    }
  };

  return {
    read(pages, nowMs) {
      const keep = 0.5 ** ((nowMs - (lookedAtMs ?? nowMs)) / halfLifeMs);
      lookedAtMs = nowMs;
      for (const times of models.values()) {
        times.run.fade(keep);
        times.alone.fade(keep);
        times.occupiedSeconds *= keep;
        times.runSeconds *= keep;
      }
      const arrivals = new Map<string, number>();
      let ready: number | undefined;
      for (const [address, text] of pages) {
        const samples = [...samplesOf(text, wanted)];
        const growth = grown(address, samples);
        for (const [sample, more] of growth) {
          const model = sample.labels.get("model") ?? "";
          if (sample.name === "longshore_demand_requests_total") {
            timesOf(model);
            arrivals.set(model, (arrivals.get(model) ?? 0) + more);
          } else if (sample.name === "longshore_demand_occupied_seconds_total") {
            timesOf(model).occupiedSeconds += more;
          } else if (sample.name === "longshore_demand_run_seconds_sum") {
            timesOf(model).runSeconds += more;
          } else if (
            sample.name === "longshore_directory_entries" ||
            (sample.name === "longshore_pick_endpoints" && sample.labels.get("state") === "available")
          ) {
            ready = Math.max(ready ?? 0, sample.value);
          }
        }
        addBuckets(growth, "longshore_demand_run_seconds_bucket", (model) => timesOf(model).run);
        addBuckets(growth, "longshore_demand_alone_seconds_bucket", (model) => timesOf(model).alone);
      }
      const samples = new Map<string, DemandSample>();
      for (const [model, { run, alone, occupiedSeconds, runSeconds }] of models) {
        const runMs = run.values();
        const mean = runMs.length === 0 ? 0 : runMs.reduce((sum, one) => sum + one, 0) / runMs.length;
        samples.set(model, {
          arrivals: arrivals.get(model) ?? 0,
          runMs,
          aloneMs: alone.values(),
          // The ratio of the sums: buckets are coarse.
          occupiedMs: runSeconds > 0 ? (mean * occupiedSeconds) / runSeconds : 0,
        });
      }
      return { samples, ready };
    },
  };
}
