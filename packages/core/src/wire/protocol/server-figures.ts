import { type Sample, samplesOf } from "../../words/base/index.ts";

/** A server's counts of one version of a model since it started. Times in milliseconds, added up over requests. */
export interface ModelFigures {
  /** Requests that are over. */
  readonly finished: number;
  /** In runs, without waiting. */
  readonly runMs: number;
  /** Requests that wait for a run now; undefined where the server does not say. */
  readonly waiting?: number;
}

/** One reading of a server's metrics. */
export interface ServerFigures {
  /** By `<model>` or `<model>/<version>`. */
  readonly models: ReadonlyMap<string, ModelFigures>;
  /** Requests at the server now, of any model; undefined where it does not say. */
  readonly inFlight?: number;
  /** 0..1 of its processors; undefined where it does not say. */
  readonly cpuRatio?: number;
}

/** The figure that one sample adds to. */
type Part = "finished" | "runMs" | "waiting" | "inFlight" | "cpuRatio";

/** A metric that means something here: which part, times what. */
interface Meaning {
  readonly part: Part;
  readonly factor: number;
  /** Only samples with this label's value. */
  readonly only?: readonly [label: string, value: string];
}

/** Triton (microseconds), MLServer and KServe's Python server (seconds), as their real servers write them. */
const meanings: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ["nv_inference_request_success", { part: "finished", factor: 1 }],
  ["nv_inference_request_failure", { part: "finished", factor: 1 }],
  ["nv_inference_compute_input_duration_us", { part: "runMs", factor: 1e-3 }],
  ["nv_inference_compute_infer_duration_us", { part: "runMs", factor: 1e-3 }],
  ["nv_inference_compute_output_duration_us", { part: "runMs", factor: 1e-3 }],
  ["nv_inference_pending_request_count", { part: "waiting", factor: 1 }],
  ["nv_cpu_utilization", { part: "cpuRatio", factor: 1 }],
  ["model_infer_request_success_total", { part: "finished", factor: 1 }],
  ["model_infer_request_failure_total", { part: "finished", factor: 1 }],
  ["model_infer_request_duration_sum", { part: "runMs", factor: 1000 }],
  ["rest_server_requests_in_progress", { part: "inFlight", factor: 1, only: ["method", "POST"] }],
  ["grpc_server_started_total", { part: "inFlight", factor: 1, only: ["grpc_method", "ModelInfer"] }],
  ["grpc_server_handled_total", { part: "inFlight", factor: -1, only: ["grpc_method", "ModelInfer"] }],
  ["request_predict_seconds_count", { part: "finished", factor: 1 }],
  ["request_preprocess_seconds_sum", { part: "runMs", factor: 1000 }],
  ["request_predict_seconds_sum", { part: "runMs", factor: 1000 }],
  ["request_postprocess_seconds_sum", { part: "runMs", factor: 1000 }],
]);
/** A larger figure is none that anything was counted to; sums of these stay numbers. */
const mostFigure = Number.MAX_SAFE_INTEGER;
const wanted: ReadonlySet<string> = new Set(meanings.keys());

/** Models beyond this are not followed. */
export const maxModels = 4096;

/** MLServer says `None` of a model without a version. */
function keyOf({ labels }: Sample): string | undefined {
  const model = labels.get("model") ?? labels.get("model_name");
  const version = labels.get("version");
  return model === undefined || version === undefined || version === "" || version === "None"
    ? model
    : `${model}/${version}`;
}

interface Sums {
  finished: number;
  runMs: number;
  waiting: number | undefined;
}

/** The figures in a server's metrics; undefined if none of them is known here. */
export function serverFigures(text: string): ServerFigures | undefined {
  const models = new Map<string, Sums>();
  let inFlight: number | undefined;
  let cpuRatio: number | undefined;
  for (const sample of samplesOf(text, wanted)) {
    // Not undefined: only samples of these names come.
    const { part, factor, only } = meanings.get(sample.name) as Meaning;
    if (only && sample.labels.get(only[0]) !== only[1]) continue;
    const value = Math.min(mostFigure, Math.max(-mostFigure, sample.value * factor));
    if (part === "cpuRatio") cpuRatio = Math.min(1, Math.max(0, value));
    else if (part === "inFlight") inFlight = (inFlight ?? 0) + value;
    else {
      const key = keyOf(sample);
      if (key === undefined || (!models.has(key) && models.size >= maxModels)) continue;
      const sums = models.get(key) ?? { finished: 0, runMs: 0, waiting: undefined };
      models.set(key, sums);
      sums[part] = (sums[part] ?? 0) + value;
    }
  }
  if (models.size === 0 && inFlight === undefined && cpuRatio === undefined) return undefined;
  return {
    models: new Map(
      Array.from(models, ([key, { finished, runMs, waiting }]) => [
        key,
        waiting === undefined ? { finished, runMs } : { finished, runMs, waiting },
      ]),
    ),
    ...(inFlight === undefined ? {} : { inFlight: Math.max(0, inFlight) }),
    ...(cpuRatio === undefined ? {} : { cpuRatio }),
  };
}
