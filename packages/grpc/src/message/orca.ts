import type { LoadReport } from "@longshore/core";
import { Cursor, wireTypes } from "./cursor.ts";
import { Writer } from "./writer.ts";

/**
 * A load report as ORCA's `xds.data.orca.v3.OrcaLoadReport`: `cpu_utilization` is field 1, the map `named_metrics` field
 * 8. gRPC's own balancers read it from the trailer `endpoint-load-metrics-bin`.
 */
export function encodeOrca(load: LoadReport): Uint8Array {
  const writer = new Writer(64);
  writer.tag(1, wireTypes.eightBytes);
  writer.double(load.cpuRatio);
  for (const [name, value] of [
    ["in_flight", load.inFlight],
    ["queue_ms", load.queueMs],
  ] as const) {
    writer.nested(8, () => {
      writer.text(1, name);
      writer.tag(2, wireTypes.eightBytes);
      writer.double(value);
    });
  }
  return writer.slice(0, writer.at);
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
