/**
 * Telemetry in the JSON form of OTLP (opentelemetry-proto 1.x): spans, log records and metrics as the bodies of requests to a collector.
 */
import type { LogLevel, LogRecord } from "./log.ts";
import type { Exemplar, Family, MetricLine } from "./registry.ts";
import type { Span } from "./spans.ts";

/** The resource that all telemetry of a process names as its source. */
export type Resource = Readonly<Record<string, string>>;

const scope = { name: "longshore" };
const spanKinds = { internal: 1, server: 2, client: 3 } as const;
/** Counts since the start of the process, not since the last request to the collector. */
const cumulative = 2;

/** Nanoseconds as a whole number in text: JSON numbers are too coarse. */
function nanoseconds(ms: number): string {
  return String(BigInt(Math.round(ms * 1000)) * 1000n);
}

function attribute([key, value]: readonly [string, string | number | boolean]): object {
  if (typeof value === "boolean") return { key, value: { boolValue: value } };
  if (typeof value === "string") return { key, value: { stringValue: value } };
  return { key, value: Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value } };
}

function resourceJson(resource: Resource): object {
  return { attributes: Object.entries(resource).map(attribute) };
}

function spanJson(span: Span): object {
  const { traceId, spanId, parentSpanId, state, name, kind, links, failure } = span;
  return {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    ...(state === undefined ? {} : { traceState: state }),
    name,
    kind: spanKinds[kind],
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: Object.entries(span.attributes).map(attribute),
    links: links.map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
    status: failure === undefined ? {} : { code: 2, message: failure },
  };
}

/** The body of `/v1/traces`. */
export function otlpTraces(spans: readonly Span[], resource: Resource): string {
  const scopeSpans = [{ scope, spans: spans.map(spanJson) }];
  return JSON.stringify({ resourceSpans: [{ resource: resourceJson(resource), scopeSpans }] });
}

const severities: Readonly<Record<LogLevel, readonly [number: number, text: string]>> = {
  verbose: [5, "DEBUG"],
  info: [9, "INFO"],
  warning: [13, "WARN"],
  error: [17, "ERROR"],
};

/** Fields of lines that have a name among the semantic conventions. */
const conventional: Readonly<Record<string, string>> = { reason: "error.type" };

function recordJson({ wallMs, level, event, fields }: LogRecord): object {
  const [severityNumber, severityText] = severities[level];
  const { message, traceId, spanId, ...others } = fields;
  const at = nanoseconds(wallMs);
  const attributes = Object.entries(others).flatMap(([key, value]) =>
    value === undefined ? [] : [attribute([conventional[key] ?? `longshore.${key}`, value])],
  );
  return {
    timeUnixNano: at,
    observedTimeUnixNano: at,
    severityNumber,
    severityText,
    eventName: `longshore.${event}`,
    body: { stringValue: String(message ?? event) },
    attributes,
    ...(traceId === undefined ? {} : { traceId, flags: 1 }),
    ...(spanId === undefined ? {} : { spanId }),
  };
}

/** The body of `/v1/logs`. */
export function otlpLogs(records: readonly LogRecord[], resource: Resource): string {
  const scopeLogs = [{ scope, logRecords: records.map(recordJson) }];
  return JSON.stringify({ resourceLogs: [{ resource: resourceJson(resource), scopeLogs }] });
}

/** When metrics were read, and since when they count. Milliseconds since the Unix epoch. */
export interface MetricTimes {
  readonly startMs: number;
  readonly nowMs: number;
}

/** Units in UCUM, by the last word of a name. */
const units: Readonly<Record<string, string>> = {
  seconds: "s",
  bytes: "By",
  joules: "J",
  grams: "g",
  ratio: "1",
};

function unitOf(name: string): string {
  return (
    units[
      name
        .replace(/_total$/, "")
        .split("_")
        .at(-1) ?? ""
    ] ?? ""
  );
}

function labelsJson(labels: MetricLine["labels"]): readonly object[] {
  return labels.map(attribute);
}

function exemplarJson({ traceId, value, atSeconds }: Exemplar): object {
  return { timeUnixNano: nanoseconds(atSeconds * 1000), asDouble: value, traceId };
}

function* numberPoints(family: Family, times: object): Generator<object> {
  for (const { labels, value } of family.samples()) {
    // JSON has no other numbers.
    if (Number.isFinite(value)) yield { attributes: labelsJson(labels), ...times, asDouble: value };
  }
}

/** Buckets come as the text form has them: each counts those below it, too, and sum and count follow. */
function* histogramPoints(family: Family, times: object): Generator<object> {
  let counts: string[] = [];
  let bounds: number[] = [];
  let exemplars: object[] = [];
  let before = 0;
  let sum = 0;
  for (const { suffix, labels, value, exemplar } of family.samples()) {
    if (suffix === "_bucket") {
      counts.push(String(value - before));
      before = value;
      const bound = Number(labels.at(-1)?.[1]);
      // The last bucket, `+Inf`, has no bound.
      if (Number.isFinite(bound)) bounds.push(bound);
      if (exemplar) exemplars.push(exemplarJson(exemplar));
    } else if (suffix === "_sum") sum = value;
    else {
      yield {
        attributes: labelsJson(labels),
        ...times,
        count: String(value),
        sum,
        bucketCounts: counts,
        explicitBounds: bounds,
        ...(exemplars.length > 0 ? { exemplars } : {}),
      };
      [counts, bounds, exemplars, before] = [[], [], [], 0];
    }
  }
}

function metricJson({ name, help, type }: Family, dataPoints: readonly object[]): object {
  const own = { name, description: help, unit: unitOf(name) };
  if (type === "gauge") return { ...own, gauge: { dataPoints } };
  if (type === "histogram") return { ...own, histogram: { aggregationTemporality: cumulative, dataPoints } };
  // Counters of other sources, whose names do not end in `_total`, count as well.
  return { ...own, sum: { aggregationTemporality: cumulative, isMonotonic: true, dataPoints } };
}

/** Points of one request: more would hold the event loop while they are written. */
const pointsInRequest = 512;

/** One request's metrics and the number of points in it. */
export interface MetricsBody {
  readonly body: string;
  readonly points: number;
}

/** The bodies of `/v1/metrics`, each made when it is wanted. */
export function* otlpMetrics(
  families: Iterable<Family>,
  resource: Resource,
  { startMs, nowMs }: MetricTimes,
): Generator<MetricsBody> {
  const now = { timeUnixNano: nanoseconds(nowMs) };
  const since = { startTimeUnixNano: nanoseconds(startMs), ...now };
  let metrics: object[] = [];
  let points = 0;
  const body = (): MetricsBody => {
    const scopeMetrics = [{ scope, metrics }];
    const made = JSON.stringify({ resourceMetrics: [{ resource: resourceJson(resource), scopeMetrics }] });
    const taken = { body: made, points };
    [metrics, points] = [[], 0];
    return taken;
  };
  for (const family of families) {
    const times = family.type === "gauge" ? now : since;
    let ofFamily: object[] = [];
    const all = family.type === "histogram" ? histogramPoints(family, times) : numberPoints(family, times);
    for (const point of all) {
      ofFamily.push(point);
      points++;
      if (points < pointsInRequest) continue;
      metrics.push(metricJson(family, ofFamily));
      ofFamily = [];
      yield body();
    }
    if (ofFamily.length > 0) metrics.push(metricJson(family, ofFamily));
  }
  if (points > 0) yield body();
}
