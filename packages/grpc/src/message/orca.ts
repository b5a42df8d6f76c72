import type { LoadReport } from "@longshore/core";
import { wireTypes } from "./cursor.ts";
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
