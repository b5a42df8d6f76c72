import { type Clock, LongshoreError, readBody, type Transport } from "@longshore/core";
import {
  housekeepingCall,
  parseJson,
  read,
  readWireError,
  type Sample,
  samplesOf,
  withTime,
} from "@longshore/core/internal";

/** The metrics that `longshore top` reads. */
export const topMetrics: ReadonlySet<string> = new Set([
  "longshore_request_duration_seconds_bucket",
  "longshore_tenant_requests_total",
  "longshore_failures_total",
  "longshore_legs_total",
  "longshore_sent_request_duration_seconds_bucket",
  "longshore_cost_micros_total",
  "longshore_energy_joules_total",
  "longshore_batch_rows_sum",
  "longshore_batch_rows_count",
  "longshore_resident_memory_bytes",
  "longshore_event_loop_delay_seconds",
  "longshore_load_cpu_ratio",
  "longshore_load_in_flight",
  "longshore_load_queue_seconds",
  "longshore_directory_entries",
  "longshore_directory_age_seconds",
  "nv_inference_request_success",
  "nv_inference_request_failure",
  "nv_inference_request_duration_us",
  "nv_inference_queue_duration_us",
  "nv_inference_pending_request_count",
]);

/** The metrics and state of a server at one moment. */
export interface Scrape {
  /** Of the monotonic clock. */
  readonly atMs: number;
  readonly samples: readonly Sample[];
  readonly isReady: boolean;
  /** Such as `longshore 0.1.0`; empty where the port does not say. */
  readonly server: string;
}

/** A page of a few thousand series has some hundred kB. */
const maxPageBytes = 64 * 2 ** 20;
const mostMs = 5000;

/** Reads a server's metrics, its readiness and its name. Throws what it answers as an error. */
export function scraper(
  transport: Transport,
  clock: Clock,
  name: string,
): (stop: AbortSignal) => Promise<Scrape> {
  const get = async (path: string, stop: AbortSignal): Promise<{ status: number; bytes: Uint8Array }> => {
    const late = (): LongshoreError =>
      new LongshoreError("no-answer", "transport", `${name} did not answer within ${mostMs} ms`);
    using own = withTime(housekeepingCall("top", stop), clock, mostMs, late);
    const body = { kind: "parts", parts: [] } as const;
    const {
      status,
      headers,
      body: sent,
    } = await transport.send({ method: "GET", path, headers: {}, body }, own.call);
    const bytes = await readBody(sent, { maxBytes: maxPageBytes });
    if (status !== 200 && path === "/metrics") throw readWireError(status, headers, bytes, name);
    return { status, bytes };
  };
  const nameOf = (bytes: Uint8Array): string => {
    const told = read.objectAt(parseJson(bytes, "the server's name"), "the server's name");
    return `${String(read.own(told, "name"))} ${String(read.own(told, "version"))}`.slice(0, 60);
  };
  let server: string | undefined;
  return async (stop) => {
    const page = await get("/metrics", stop);
    const samples = [...samplesOf(new TextDecoder().decode(page.bytes), topMetrics)];
    // Read after the page, which takes longest: figures are of the moment when it was written.
    const atMs = clock.nowMs();
    if (samples.length === 0) {
      const what = `${name} has metrics at /metrics, and none of a server of models: name the port of a longshore server or gateway`;
      throw new LongshoreError("invalid-input", "decode", what);
    }
    const { status } = await get("/v2/health/ready", stop);
    if (server === undefined) {
      const told = await get("/v2", stop);
      server = told.status === 200 ? nameOf(told.bytes) : "";
    }
    return { atMs, samples, isReady: status === 200, server };
  };
}
