import { describe, expect, it } from "vitest";
import { loadHeader, orcaFormatHeader, orcaHeader } from "../protocol/index.ts";
import { loadHeaders, readLoadHeaders } from "./load-headers.ts";

describe("readLoadHeaders", () => {
  it("reads our servers' header, and the same in another order or with more fields", () => {
    const load = { atMs: 5, cpuRatio: 0.125, inFlight: 12, queueMs: 3.5 };
    expect(readLoadHeaders(loadHeaders({ ...load, atMs: 0 }, {}), 5)).toEqual(load);
    for (const text of ["queue-ms=3.5;in-flight=12;cpu=0.125", "cpu=.125;in-flight=12;queue-ms=3.5;new=1"])
      expect(readLoadHeaders({ [loadHeader]: text }, 5)).toEqual(load);
  });

  it("reads how requests are put together, and takes shares that would draw everything there for nothing", () => {
    const load = { atMs: 5, cpuRatio: 0.125, inFlight: 12, queueMs: 3.5 };
    const batch = { requests: 4.5, shareRatio: 0.25 };
    expect(readLoadHeaders(loadHeaders({ ...load, batch }, {}), 5)).toEqual({ ...load, batch });
    const known = "cpu=0.125;in-flight=12;queue-ms=3.5";
    expect(readLoadHeaders({ [loadHeader]: `share=0.25;batch=4.5;${known}` }, 5)).toEqual({ ...load, batch });
    for (const more of [
      "batch=4.5",
      "share=0.25",
      "batch=0.5;share=0.25",
      "batch=4;share=0",
      "batch=4;share=1.5",
    ])
      expect(readLoadHeaders({ [loadHeader]: `${known};${more}` }, 5)).toEqual(load);
    expect(readLoadHeaders({ [loadHeader]: `${known};batch=99999;share=0.1` }, 5)).toEqual(load);
    // The least that is written is the least that is read.
    const none = { ...load, batch: { requests: 8, shareRatio: 0.00001 } };
    expect(readLoadHeaders(loadHeaders(none, {}), 5)?.batch).toEqual({ requests: 8, shareRatio: 0.001 });
  });

  it("reports load and rate in ORCA's formats where a request asks for one, which Envoy's weighted round robin reads", () => {
    const load = { atMs: 0, cpuRatio: 0.125, inFlight: 12, queueMs: 3.5 };
    const asked = (format: string) => loadHeaders(load, { [orcaFormatHeader]: format }, 40.25)[orcaHeader];
    expect(asked("TEXT")).toBe(
      "TEXT cpu_utilization=0.125,rps_fractional=40.25,named_metrics.in_flight=12,named_metrics.queue_ms=3.5",
    );
    expect(asked("json")).toBe(
      'JSON {"cpu_utilization":0.125,"rps_fractional":40.25,"named_metrics":{"in_flight":12,"queue_ms":3.5}}',
    );
    expect(asked("bin")).toBeUndefined();
  });

  it("ignores nonsense, and takes no processor for busier than busy", () => {
    const idle = { atMs: 5, cpuRatio: 0, inFlight: 0, queueMs: 0 };
    for (const text of ["", "cpu=-1;in-flight=x;queue-ms=Infinity", "cpu;in-flight;queue-ms"])
      expect(readLoadHeaders({ [loadHeader]: text }, 5)).toEqual(idle);
    expect(readLoadHeaders({ [loadHeader]: "cpu=7;in-flight=0;queue-ms=0" }, 5)?.cpuRatio).toBe(1);
    expect(readLoadHeaders({}, 5)).toBeUndefined();
    const orca = (text: string) => readLoadHeaders({ [orcaHeader]: `JSON ${text}` }, 5);
    expect(orca('{"cpu_utilization":0.5,"named_metrics":{"in_flight":1e999,"queue_ms":1e999}}')).toEqual({
      ...idle,
      cpuRatio: 0.5,
    });
    expect(orca('{"named_metrics":{"in_flight":3,"queue_ms":1e12}}')?.queueMs).toBe(600_000);
  });
});
