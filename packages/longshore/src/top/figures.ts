import type { Sample } from "@longshore/core/internal";
import type { Scrape } from "./scrape.ts";

/** The requests of one tenant. Rates are per second. */
export interface TenantRow {
  readonly name: string;
  readonly answered: number;
  readonly failed: number;
  readonly micros: number;
}

/** The work of one version of a model. */
export interface ModelRow {
  readonly name: string;
  readonly version: string;
  readonly answered: number;
  readonly failed: number;
  /** Time from arrival to answer. NaN without requests. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Mean time in queues. NaN without requests. */
  readonly queueMs: number;
  /** Requests that wait for their first run now. */
  readonly waiting: number;
  /** Mean rows of a run. NaN without runs. */
  readonly rows: number;
}

/** Where requests went. */
export interface EndpointRow {
  readonly name: string;
  readonly won: number;
  /** Extra runs that another endpoint was quicker than. */
  readonly lost: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly micros: number;
}

/** Failures of one reason. */
export interface FailureRow {
  readonly reason: string;
  readonly stage: string;
  readonly count: number;
}

/** The figures that `longshore top` shows: rates between two scrapes, or counts since the server's start. */
export interface Figures {
  /** Seconds between the scrapes; undefined for counts since the start. */
  readonly seconds: number | undefined;
  readonly server: string;
  readonly isReady: boolean;
  readonly answered: number;
  readonly failed: number;
  readonly micros: number;
  readonly joules: number;
  readonly inFlight: number;
  readonly waitMs: number;
  readonly busyRatio: number;
  readonly memoryBytes: number;
  readonly loopDelayMs: number;
  /** Undefined where no directory is read. */
  readonly directory: { readonly entries: number; readonly ageMs: number } | undefined;
  readonly tenants: readonly TenantRow[];
  readonly models: readonly ModelRow[];
  readonly endpoints: readonly EndpointRow[];
  readonly failures: readonly FailureRow[];
}

const keyOf = ({ name, labels }: Sample): string =>
  JSON.stringify([name, ...[...labels].sort(([a], [b]) => (a < b ? -1 : 1))]);

/** The samples of the later scrape, counters as what came since the earlier one. */
class Change {
  readonly #before = new Map<string, number>();
  readonly #now = new Map<string, Sample[]>();
  /** The divisor of counts. */
  readonly #over: number;

  constructor(before: Scrape | undefined, now: Scrape) {
    for (const sample of before?.samples ?? []) this.#before.set(keyOf(sample), sample.value);
    for (const sample of now.samples) {
      const known = this.#now.get(sample.name);
      if (known) known.push(sample);
      else this.#now.set(sample.name, [sample]);
    }
    this.#over = before ? Math.max(0.001, (now.atMs - before.atMs) / 1000) : 1;
  }

  #of(name: string, labels: Readonly<Record<string, string>>): readonly Sample[] {
    const all = this.#now.get(name) ?? [];
    const wanted = Object.entries(labels);
    return all.filter((sample) => wanted.every(([label, value]) => sample.labels.get(label) === value));
  }

  /** A server that started again counts from zero. */
  #since(sample: Sample): number {
    const before = this.#before.get(keyOf(sample)) ?? 0;
    return sample.value >= before ? sample.value - before : sample.value;
  }

  /** The growth of a counter, not divided by time. */
  count(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#of(name, labels).reduce((sum, sample) => sum + this.#since(sample), 0);
  }

  rate(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.count(name, labels) / this.#over;
  }

  /** The rate of all outcomes but these. */
  rateOfOthers(name: string, labels: Readonly<Record<string, string>>, outcomes: readonly string[]): number {
    const others = this.#of(name, labels).filter(
      (sample) => !outcomes.includes(sample.labels.get("outcome") ?? ""),
    );
    return others.reduce((sum, sample) => sum + this.#since(sample), 0) / this.#over;
  }

  gauge(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const found = this.#of(name, labels);
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  /** The values of a label in some metrics. */
  values(label: string, ...names: readonly string[]): readonly string[] {
    const found = new Set<string>();
    for (const name of names)
      for (const { labels } of this.#now.get(name) ?? []) {
        const value = labels.get(label);
        if (value !== undefined) found.add(value);
      }
    return [...found].sort();
  }

  pairs(name: string, a: string, b: string): readonly (readonly [string, string])[] {
    const found = new Map<string, readonly [string, string]>();
    for (const { labels } of this.#now.get(name) ?? []) {
      const pair = [labels.get(a) ?? "", labels.get(b) ?? ""] as const;
      found.set(JSON.stringify(pair), pair);
    }
    return [...found.values()];
  }

  /** A quantile of a histogram in milliseconds: between the bounds of its bucket in proportion. NaN without observations. */
  quantileMs(name: string, ratio: number, labels: Readonly<Record<string, string>>): number {
    const upTo = new Map<number, number>();
    for (const sample of this.#of(`${name}_bucket`, labels)) {
      const bound = Number((sample.labels.get("le") ?? "").replace("+Inf", "Infinity"));
      upTo.set(bound, (upTo.get(bound) ?? 0) + this.#since(sample));
    }
    const bounds = [...upTo].sort(([a], [b]) => a - b);
    const total = bounds.at(-1)?.[1] ?? 0;
    if (total === 0) return NaN;
    let [from, below] = [0, 0];
    for (const [bound, count] of bounds) {
      if (count >= ratio * total && count > below) {
        if (bound === Infinity) return from * 1000;
        return (from + ((ratio * total - below) / (count - below)) * (bound - from)) * 1000;
      }
      [from, below] = [bound, count];
    }
    return from * 1000;
  }
}

function tenantRows(change: Change): readonly TenantRow[] {
  const asked = "longshore_tenant_requests_total";
  const cost = "longshore_cost_micros_total";
  return change.values("tenant", asked, cost).map((name) => ({
    name,
    answered: change.rate(asked, { tenant: name, outcome: "answered" }),
    failed: change.rateOfOthers(asked, { tenant: name }, ["answered"]),
    micros: change.rate(cost, { tenant: name }),
  }));
}

function modelRows(change: Change): readonly ModelRow[] {
  const answered = "nv_inference_request_success";
  return change.pairs(answered, "model", "version").map(([name, version]) => {
    const own = { model: name, version };
    const done = change.count(answered, own);
    const took = "longshore_request_duration_seconds";
    const quantile = (ratio: number): number =>
      change.quantileMs(took, ratio, { ...own, outcome: "answered" });
    // Servers of other makes count times without quantiles.
    const meanMs = change.count("nv_inference_request_duration_us", own) / 1000 / done;
    const hasQuantiles = change.values("model", `${took}_bucket`).includes(name);
    return {
      name,
      version,
      answered: change.rate(answered, own),
      failed: change.rate("nv_inference_request_failure", own),
      p50Ms: hasQuantiles ? quantile(0.5) : meanMs,
      p99Ms: hasQuantiles ? quantile(0.99) : NaN,
      queueMs: change.count("nv_inference_queue_duration_us", own) / 1000 / done,
      waiting: change.gauge("nv_inference_pending_request_count", own) ?? 0,
      rows:
        change.count("longshore_batch_rows_sum", { model: name }) /
        change.count("longshore_batch_rows_count", { model: name }),
    };
  });
}

function endpointRows(change: Change): readonly EndpointRow[] {
  const legs = "longshore_legs_total";
  const took = "longshore_sent_request_duration_seconds";
  const cost = "longshore_cost_micros_total";
  // A server that only runs models itself sends nothing anywhere, and has its cost under its own name.
  return change.values("endpoint", legs, `${took}_bucket`).map((name) => ({
    name,
    won: change.rate(legs, { endpoint: name, outcome: "won" }),
    lost: change.rate(legs, { endpoint: name, outcome: "lost" }),
    failed: change.rateOfOthers(legs, { endpoint: name }, ["won", "lost"]),
    p50Ms: change.quantileMs(took, 0.5, { endpoint: name }),
    p99Ms: change.quantileMs(took, 0.99, { endpoint: name }),
    micros: change.rate(cost, { endpoint: name }),
  }));
}

/**
 * Figures of a server.
 *
 * @param before The scrape that rates count from; undefined for counts since the server's start.
 */
export function figuresBetween(before: Scrape | undefined, now: Scrape): Figures {
  const change = new Change(before, now);
  const gauge = (name: string): number => change.gauge(name) ?? NaN;
  const models = modelRows(change);
  const tenants = tenantRows(change);
  const failures = change
    .pairs("longshore_failures_total", "reason", "stage")
    .map(([reason, stage]) => ({
      reason,
      stage,
      count: change.rate("longshore_failures_total", { reason, stage }),
    }))
    .filter(({ count }) => count > 0);
  const ageSeconds = change.gauge("longshore_directory_age_seconds");
  const entries = change.gauge("longshore_directory_entries");
  return {
    seconds: before && (now.atMs - before.atMs) / 1000,
    server: now.server,
    isReady: now.isReady,
    answered: models.reduce((sum, { answered }) => sum + answered, 0),
    failed: failures.reduce((sum, { count }) => sum + count, 0),
    micros: change.rate("longshore_cost_micros_total"),
    joules: change.rate("longshore_energy_joules_total"),
    inFlight: gauge("longshore_load_in_flight"),
    waitMs: gauge("longshore_load_queue_seconds") * 1000,
    busyRatio: gauge("longshore_load_cpu_ratio"),
    memoryBytes: gauge("longshore_resident_memory_bytes"),
    loopDelayMs: gauge("longshore_event_loop_delay_seconds") * 1000,
    directory:
      entries === undefined || ageSeconds === undefined ? undefined : { entries, ageMs: ageSeconds * 1000 },
    tenants,
    models,
    endpoints: endpointRows(change),
    failures,
  };
}
