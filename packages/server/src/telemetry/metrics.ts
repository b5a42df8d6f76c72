import type { LoadReport } from "@longshore/core";
import type { Counters, ModelCounters } from "./counters.ts";

type Family = readonly [name: string, help: string, value: (one: ModelCounters) => number];

const microseconds = (ns: number): number => Math.round(ns / 1000);

/** Triton's names, so that its dashboards and autoscalers read this server as they are. */
const families: readonly Family[] = [
  ["nv_inference_request_success", "Requests that were answered", (one) => one.times.success.count],
  ["nv_inference_request_failure", "Requests that failed", (one) => one.times.fail.count],
  ["nv_inference_count", "Inferences", (one) => one.inferences],
  [
    "nv_inference_request_duration_us",
    "Time from arrival to answer",
    (one) => microseconds(one.times.success.ns),
  ],
  ["nv_inference_queue_duration_us", "Time in queues", (one) => microseconds(one.times.queue.ns)],
  [
    "nv_inference_compute_input_duration_us",
    "Time to prepare inputs",
    (one) => microseconds(one.times.compute_input.ns),
  ],
  [
    "nv_inference_compute_infer_duration_us",
    "Time of runs",
    (one) => microseconds(one.times.compute_infer.ns),
  ],
  [
    "nv_inference_compute_output_duration_us",
    "Time to prepare outputs",
    (one) => microseconds(one.times.compute_output.ns),
  ],
];

function label(value: string): string {
  return value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n");
}

/** All counters in Prometheus' text format. */
export function metricsText(counters: Counters, load: LoadReport | undefined): string {
  const lines: string[] = [];
  const models = counters.all();
  for (const [name, help, value] of families) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
    for (const one of models) {
      lines.push(`${name}{model="${label(one.model)}",version="${label(one.version)}"} ${value(one)}`);
    }
  }
  lines.push(
    "# HELP longshore_replies_total Replies by HTTP status",
    "# TYPE longshore_replies_total counter",
  );
  for (const [status, count] of counters.replies)
    lines.push(`longshore_replies_total{status="${status}"} ${count}`);
  if (load) {
    const gauges = { cpu_ratio: load.cpuRatio, in_flight: load.inFlight, queue_ms: load.queueMs };
    for (const [name, value] of Object.entries(gauges)) {
      lines.push(`# TYPE longshore_load_${name} gauge`, `longshore_load_${name} ${value}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
