/**
 * Metrics in memory and as text. Label values come from models, reasons and tenants, so the number of series of a family is
 * limited; later ones are counted under `_other`, so that sums stay right.
 */

/** A trace that a value belongs to, as OpenMetrics has it. */
export interface Exemplar {
  readonly traceId: string;
  readonly value: number;
  /** Seconds since the Unix epoch. */
  readonly atSeconds: number;
}

/** One line of a family. */
export interface MetricLine {
  /** The text after the family's name, such as `_bucket`. */
  readonly suffix: string;
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly value: number;
  readonly exemplar?: Exemplar;
}

/** All values of one name. */
export interface Family {
  readonly name: string;
  readonly help: string;
  /** `unknown` for counters of other sources whose names do not end in `_total`: OpenMetrics would rename them. */
  readonly type: "counter" | "gauge" | "histogram" | "unknown";
  samples(): Iterable<MetricLine>;
}

/** Counts up. */
export interface Counter extends Family {
  add(labels: readonly string[], by?: number): void;
  /** One series, for a caller that adds to it often: the look-up costs more than the addition. */
  at(labels: readonly string[]): (by: number) => void;
}

/** Counts values into buckets. */
export interface Histogram extends Family {
  observe(labels: readonly string[], value: number, exemplar?: Exemplar): void;
  /** One series, for a caller that observes it often. */
  at(labels: readonly string[]): (value: number, exemplar?: Exemplar) => void;
}

const overflow = "_other";
/** Most series of one family. */
const maxSeries = 2048;

/** Series by the value of one label after another: to make one key of them costs more than these look-ups. */
interface Level<T> {
  next?: Map<string, Level<T>>;
  state?: T;
}

function seriesOf<T>(names: readonly string[], make: () => T) {
  const all: { readonly labels: readonly string[]; readonly state: T }[] = [];
  const first: Level<T> = {};
  const find = (labels: readonly string[]): T => {
    let level: Level<T> | undefined = first;
    for (const value of labels) level = level?.next?.get(value);
    return level?.state ?? begin(labels);
  };
  const begin = (labels: readonly string[]): T => {
    if (all.length >= maxSeries && labels[0] !== overflow) return find(names.map(() => overflow));
    let level = first;
    for (const value of labels) {
      level.next ??= new Map();
      const next: Level<T> = level.next.get(value) ?? {};
      level.next.set(value, next);
      level = next;
    }
    const state = make();
    level.state = state;
    all.push({ labels: [...labels], state });
    return state;
  };
  return {
    find,
    *each(): Iterable<readonly [readonly (readonly [string, string])[], T]> {
      for (const { labels, state } of all) {
        yield [names.map((name, index) => [name, labels[index] ?? ""] as const), state];
      }
    },
  };
}

/** A counter; its name must end in `_total`. */
export function counter(name: string, help: string, labelNames: readonly string[]): Counter {
  const series = seriesOf(labelNames, () => ({ value: 0 }));
  return {
    name,
    help,
    type: "counter",
    add(labels, by = 1) {
      series.find(labels).value += by;
    },
    at(labels) {
      const state = series.find(labels);
      return (by) => void (state.value += by);
    },
    *samples() {
      for (const [labels, { value }] of series.each()) yield { suffix: "", labels, value };
    },
  };
}

/** A gauge that is read when a page is written. */
export function gauge(
  name: string,
  help: string,
  read: () => Iterable<readonly [labels: MetricLine["labels"], value: number]>,
): Family {
  return {
    name,
    help,
    type: "gauge",
    *samples() {
      for (const [labels, value] of read()) yield { suffix: "", labels, value };
    },
  };
}

interface Buckets {
  readonly counts: Float64Array;
  readonly exemplars: (Exemplar | undefined)[];
  sum: number;
}

function observeIn(
  state: Buckets,
  bounds: readonly number[],
  value: number,
  exemplar: Exemplar | undefined,
): void {
  let bucket = 0;
  while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
  state.counts[bucket] = (state.counts[bucket] ?? 0) + 1;
  state.sum += value;
  if (exemplar) state.exemplars[bucket] = exemplar;
}

/** A histogram with the given upper bounds, ascending; the last bucket, without bound, is added. */
export function histogram(
  name: string,
  help: string,
  labelNames: readonly string[],
  bounds: readonly number[],
): Histogram {
  const series = seriesOf(labelNames, (): Buckets => ({
    counts: new Float64Array(bounds.length + 1),
    exemplars: [],
    sum: 0,
  }));
  return {
    name,
    help,
    type: "histogram",
    observe: (labels, value, exemplar) => observeIn(series.find(labels), bounds, value, exemplar),
    at(labels) {
      const state = series.find(labels);
      return (value, exemplar) => observeIn(state, bounds, value, exemplar);
    },
    *samples() {
      for (const [labels, { counts, exemplars, sum }] of series.each()) {
        let total = 0;
        for (const [bucket, count] of counts.entries()) {
          total += count;
          const le = bucket < bounds.length ? String(bounds[bucket]) : "+Inf";
          const exemplar = exemplars[bucket];
          yield {
            suffix: "_bucket",
            labels: [...labels, ["le", le]],
            value: total,
            ...(exemplar ? { exemplar } : {}),
          };
        }
        yield { suffix: "_sum", labels, value: sum };
        yield { suffix: "_count", labels, value: total };
      }
    },
  };
}

/** Powers of a factor from `first` on. */
export function bounds(first: number, factor: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => Number((first * factor ** index).toPrecision(6)));
}

/** How a scraper wants its text. */
export type MetricsForm = "prometheus" | "openmetrics";

/** Media types of the two forms. */
export const metricsTypes: Readonly<Record<MetricsForm, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** OpenMetrics for clients that accept it; that form alone has exemplars. */
export function metricsForm(accept: string | undefined): MetricsForm {
  return accept?.includes("application/openmetrics-text") === true ? "openmetrics" : "prometheus";
}

function escaped(value: string): string {
  return value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n");
}

function labelText(labels: MetricLine["labels"]): string {
  if (labels.length === 0) return "";
  return `{${labels.map(([name, value]) => `${name}="${escaped(value)}"`).join(",")}}`;
}

function exemplarText({ traceId, value, atSeconds }: Exemplar): string {
  return ` # {trace_id="${escaped(traceId)}"} ${value} ${atSeconds.toFixed(3)}`;
}

/** Samples that are read before other work gets its turn: about two milliseconds if all are written. */
const samplesAtOnce = 1024;

/** Models that a reader may know of; undefined for all. */
export type Sees = ((model: string) => boolean) | undefined;

/** The model that a `model` label tells of: parts of one are called `MODEL:FROM..TO`. */
function modelOf(value: string): string {
  return /^([^:]+):.+\.\..+$/.exec(value)?.[1] ?? value;
}

/** Whether a sample tells of a model, or of an alias of one, that the reader does not see. */
function isHidden({ labels }: MetricLine, sees: Sees): boolean {
  if (!sees) return false;
  return labels.some(
    ([name, value]) => (name === "model" && !sees(modelOf(value))) || (name === "alias" && !sees(value)),
  );
}

/**
 * The families as text in pieces, in steps of two milliseconds or so: thousands of models have hundreds of thousands of lines.
 * The lines of one series are written in one step, so that they fit each other.
 */
export function* metricsText(
  families: Iterable<Family>,
  form: MetricsForm,
  sees: Sees,
): Generator<void, readonly Uint8Array[]> {
  const encoder = new TextEncoder();
  const pieces: Uint8Array[] = [];
  const open = form === "openmetrics";
  let lines: string[] = [];
  let looked = 0;
  for (const { name, help, type, samples } of families) {
    // In OpenMetrics the family of a counter is called without the `_total` of its samples.
    const family = open && type === "counter" ? name.replace(/_total$/, "") : name;
    const shown = !open && type === "unknown" ? "counter" : type;
    lines.push(`# HELP ${family} ${help}`, `# TYPE ${family} ${shown}`);
    for (const sample of samples()) {
      const { suffix, labels, value, exemplar } = sample;
      if (!isHidden(sample, sees)) {
        const tail = open && exemplar ? exemplarText(exemplar) : "";
        lines.push(`${name}${suffix}${labelText(labels)} ${value}${tail}`);
      }
      if (++looked < samplesAtOnce || suffix === "_bucket" || suffix === "_sum") continue;
      looked = 0;
      if (lines.length > 0) pieces.push(encoder.encode(`${lines.join("\n")}\n`));
      lines = [];
      yield;
    }
  }
  if (open) lines.push("# EOF");
  pieces.push(encoder.encode(lines.map((line) => `${line}\n`).join("")));
  return pieces;
}
