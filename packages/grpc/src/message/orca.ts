import type { LoadReport } from "@longshore/core";
import { Cursor, wireTypes } from "./cursor.ts";
import { Writer } from "./writer.ts";

/** A report with these figures; the bytes of other reports differ in the figures alone. */
function written(cpuRatio: number, perSecond: number, inFlight: number, queueMs: number): Uint8Array {
  const writer = new Writer(64);
  writer.tag(1, wireTypes.eightBytes);
  writer.double(cpuRatio);
  writer.tag(6, wireTypes.eightBytes);
  writer.double(perSecond);
  for (const [name, value] of [
    ["in_flight", inFlight],
    ["queue_ms", queueMs],
  ] as const) {
    writer.nested(8, () => {
      writer.text(1, name);
      writer.tag(2, wireTypes.eightBytes);
      writer.double(value);
    });
  }
  return writer.slice(0, writer.at);
}

const figureBytes = 8;
const blank: Uint8Array = written(0, 0, 0, 0);
/** Positions of the figures: after a tag, at the end of the first metric, and at the end of all. */
const cpuAt = 1;
const perSecondAt: number = cpuAt + figureBytes + 1;
const queueAt: number = blank.byteLength - figureBytes;
const metricBytes = (name: string): number => 2 + 2 + name.length + 1 + figureBytes;
const inFlightAt: number = queueAt - metricBytes("queue_ms");

/**
 * A load report as ORCA's `xds.data.orca.v3.OrcaLoadReport`: `cpu_utilization` is field 1, `rps_fractional` field 6, the map
 * `named_metrics` field 8. gRPC's own balancers and Envoy read it from the trailer `endpoint-load-metrics-bin`; they ignore a report without
 * a rate.
 *
 * @param perSecond Inferences that the server answers in a second. Default 0: unknown.
 */
export function encodeOrca({ cpuRatio, inFlight, queueMs }: LoadReport, perSecond = 0): Uint8Array {
  const report = blank.slice();
  const view = new DataView(report.buffer);
  view.setFloat64(cpuAt, cpuRatio, true);
  view.setFloat64(perSecondAt, perSecond, true);
  view.setFloat64(inFlightAt, inFlight, true);
  view.setFloat64(queueAt, queueMs, true);
  return report;
}

/** Figures of a report by the numbers of their fields; those of requests per second and of costs tell nothing of load. */
const figures: ReadonlyMap<number, string> = new Map([
  [1, "cpu_utilization"],
  [9, "application_utilization"],
]);
const namedMetrics = 8;
/** The metrics by name that tell of load here; a report may have many more. */
const metrics: ReadonlySet<string> = new Set([
  "in_flight",
  "queue_ms",
  "num_requests_running",
  "num_requests_waiting",
]);
const maxNameBytes = 2 ** 20;

function doubleAt({ bytes }: Cursor, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(at, true);
}

function namedMetric(entry: Cursor): readonly [string, number] {
  let name = "";
  let value = 0;
  while (entry.field()) {
    if (entry.number === 1) name = entry.text(maxNameBytes, "the name of a metric");
    else if (entry.number === 2) value = doubleAt(entry, entry.fixed(8));
    else entry.skip();
  }
  return [name, value];
}

/** Anybody's `xds.data.orca.v3.OrcaLoadReport` as the header of HTTP says it in JSON. Throws `invalid-input` whatever the bytes are. */
export function orcaJson(bytes: Uint8Array): string {
  const report = new Cursor(bytes);
  const told: Record<string, number> = {};
  const named = new Map<string, number>();
  while (report.field()) {
    const figure = figures.get(report.number);
    if (figure !== undefined) told[figure] = doubleAt(report, report.fixed(8));
    else if (report.number === namedMetrics) {
      const [name, value] = namedMetric(report.inner());
      if (metrics.has(name)) named.set(name, value);
    } else report.skip();
  }
  return `JSON ${JSON.stringify({ ...told, named_metrics: Object.fromEntries(named) })}`;
}
