import { loadHeader, orcaFormatHeader, orcaHeader } from "../protocol/index.ts";
import type { LoadReport } from "../endpoint/index.ts";

type Headers = Readonly<Record<string, string>>;

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** Least utilisation in ORCA reports: balancers divide by it, and ignore a report with 0. */
export const leastReportedRatio = 0.001;

/**
 * The load headers of a reply: our own compact one always, and ORCA's (`xds.data.orca.v3.OrcaLoadReport`) in the format that
 * the request wants, so that Envoy and others balance by it.
 *
 * @param perSecond Inferences that the server answers in a second, which weighted round robin divides by the utilisation. 0 if unknown.
 */
export function loadHeaders(load: LoadReport, request: Headers, perSecond = 0): Record<string, string> {
  const cpu = round(load.cpuRatio);
  const queueMs = round(load.queueMs);
  const headers: Record<string, string> = {};
  headers[loadHeader] = `cpu=${cpu};in-flight=${load.inFlight};queue-ms=${queueMs}${batchText(load.batch)}`;
  const format = request[orcaFormatHeader]?.toLowerCase();
  const rate = round(perSecond);
  const used = Math.max(leastReportedRatio, cpu);
  if (format === "json") {
    const report = {
      cpu_utilization: used,
      rps_fractional: rate,
      named_metrics: { in_flight: load.inFlight, queue_ms: queueMs },
    };
    headers[orcaHeader] = `JSON ${JSON.stringify(report)}`;
  } else if (format === "text") {
    headers[orcaHeader] =
      `TEXT cpu_utilization=${used},rps_fractional=${rate},named_metrics.in_flight=${load.inFlight},named_metrics.queue_ms=${queueMs}`;
  }
  return headers;
}

function batchText(batch: LoadReport["batch"]): string {
  return batch
    ? `;batch=${round(batch.requests)};share=${Math.max(leastShareRatio, round(batch.shareRatio))}`
    : "";
}

/** The most requests of a run that are believed. A server that claims more would attract all requests. */
const mostRequests = 1024;
/** The smallest share of a run that is believed, for the same reason. */
const leastShareRatio = 0.001;
/** The longest queue that is believed, in milliseconds: after that time the server is polled again, whatever it said. */
export const mostQueueMs = 600_000;

/** A report of figures, of which some may be missing or make no sense. */
function reportOf(
  nowMs: number,
  cpuRatio = 0,
  inFlight = 0,
  queueMs = 0,
  requests = 0,
  shareRatio = 0,
): LoadReport {
  const used = Math.min(1, cpuRatio);
  const waitMs = Math.min(mostQueueMs, queueMs);
  const told = requests >= 1 && requests <= mostRequests && shareRatio >= leastShareRatio && shareRatio <= 1;
  // Written out, since an object that is spread may get a shape of its own, which each of its readers then looks up anew.
  return told
    ? { atMs: nowMs, cpuRatio: used, inFlight, queueMs: waitMs, batch: { requests, shareRatio } }
    : { atMs: nowMs, cpuRatio: used, inFlight, queueMs: waitMs };
}

/**
 * A load as an endpoint of any make reports it, with its figures in bounds. Undefined for a report with a negative figure or one that is no
 * number: it says nothing.
 */
export function soundLoad(load: LoadReport): LoadReport | undefined {
  const { atMs, cpuRatio, inFlight, queueMs, batch } = load;
  if (!(cpuRatio >= 0 && inFlight >= 0 && inFlight < Infinity && queueMs >= 0)) return undefined;
  const inBounds = cpuRatio <= 1 && queueMs <= mostQueueMs && batch === undefined;
  return inBounds ? load : reportOf(atMs, cpuRatio, inFlight, queueMs, batch?.requests, batch?.shareRatio);
}

const ourLoad =
  /^cpu=([0-9]{1,15}(?:\.[0-9]{1,15})?);in-flight=([0-9]{1,15});queue-ms=([0-9]{1,15}(?:\.[0-9]{1,15})?)(?:;batch=([0-9]{1,15}(?:\.[0-9]{1,15})?);share=([0-9]{1,15}(?:\.[0-9]{1,15})?))?$/;

function pairs(text: string, separator: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const pair of text.slice(0, 4096).split(separator)) {
    const at = pair.indexOf("=");
    const value = Number(pair.slice(at + 1));
    if (at > 0 && Number.isFinite(value) && value >= 0) found.set(pair.slice(0, at).trim(), value);
  }
  return found;
}

/** Figures of an ORCA report in JSON, nested ones under `named_metrics.<name>`. */
function orcaFigures(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const walk = (value: unknown, prefix: string, depth: number): void => {
    if (typeof value === "number" && Number.isFinite(value) && value >= 0) found.set(prefix, value);
    else if (typeof value === "object" && value !== null && depth > 0) {
      for (const [key, item] of Object.entries(value))
        walk(item, prefix ? `${prefix}.${key}` : key, depth - 1);
    }
  };
  try {
    walk(JSON.parse(text.slice(0, 16_384)), "", 2);
  } catch {
    // A load report is advice: one that cannot be read is as good as none.
  }
  return found;
}

/** Requests at a server as vLLM counts them: those that run and those that wait. */
function requestsOf(figures: ReadonlyMap<string, number>): number | undefined {
  const running = figures.get("named_metrics.num_requests_running");
  const waiting = figures.get("named_metrics.num_requests_waiting");
  return running === undefined && waiting === undefined ? undefined : (running ?? 0) + (waiting ?? 0);
}

/** The load of the server that a reply reports; undefined when it reports none that can be read. Never throws. */
export function readLoadHeaders(headers: Headers, nowMs: number): LoadReport | undefined {
  const compact = headers[loadHeader];
  if (compact !== undefined) {
    // As our servers write it; any other text goes through the parser.
    const [, cpu, inFlight, queueMs, batch, share] = ourLoad.exec(compact) ?? [];
    if (cpu !== undefined)
      return reportOf(nowMs, Number(cpu), Number(inFlight), Number(queueMs), Number(batch), Number(share));
    const figures = pairs(compact, ";");
    const [used, there, waitMs] = [figures.get("cpu"), figures.get("in-flight"), figures.get("queue-ms")];
    return reportOf(nowMs, used, there, waitMs, figures.get("batch"), figures.get("share"));
  }
  const orca = headers[orcaHeader];
  if (orca === undefined) return undefined;
  const figures = orca.startsWith("JSON ")
    ? orcaFigures(orca.slice(5))
    : pairs(orca.replace(/^TEXT /, ""), ",");
  const used = figures.get("application_utilization") ?? figures.get("cpu_utilization");
  const inFlight = figures.get("named_metrics.in_flight") ?? requestsOf(figures);
  const queueMs = figures.get("named_metrics.queue_ms");
  // Triton reports only how full the memory of language models is: of other models it says nothing.
  if (used === undefined && inFlight === undefined && queueMs === undefined) return undefined;
  return reportOf(nowMs, used, inFlight, queueMs);
}
