import type { Json } from "@longshore/core";
import { type DeclaredPort, defaults, type ModelConfig, type PipelineConfig } from "./config.ts";
import { badConfiguration, isFileName } from "./names.ts";
import { parseTextProto, TextProtoError } from "./text-proto.ts";
import { type Bad, datatypeOfTriton } from "./triton-datatypes.ts";
import { decodeTriton, tritonJson } from "./triton-schema.ts";
import { ensemblePipeline, type TritonEnsembleStep } from "./triton-ensemble.ts";
import { dynamicBatching, type TritonDynamicBatching } from "./triton-queue.ts";
import {
  flagOf,
  instancesOf,
  policyOf,
  type TritonInstances,
  type TritonParameter,
  type TritonVersionPolicy,
  type TritonWarmUp,
  versionLabelsOf,
  warmUpsOf,
} from "./triton-life.ts";
import { sequenceBatching, type TritonSequence, tritonSequence } from "./triton-sequence.ts";
import {
  refuseBatchPorts,
  refusePortExtras,
  type TritonPortExtras,
  unusedSettings,
} from "./triton-unused.ts";

interface TritonPort extends TritonPortExtras {
  readonly name?: string;
  readonly data_type?: string;
  readonly dims?: readonly number[];
  readonly reshape?: { readonly shape?: readonly number[] };
  readonly label_filename?: string;
}

interface TritonConfig {
  readonly name?: string;
  readonly platform?: string;
  readonly backend?: string;
  readonly max_batch_size?: number;
  readonly version_policy?: TritonVersionPolicy;
  readonly input?: readonly TritonPort[];
  readonly output?: readonly TritonPort[];
  readonly instance_group?: readonly TritonInstances[];
  readonly model_warmup?: readonly TritonWarmUp[];
  readonly parameters?: readonly TritonParameter[];
  readonly default_model_filename?: string;
  readonly dynamic_batching?: TritonDynamicBatching;
  readonly sequence_batching?: TritonSequence;
  readonly ensemble_scheduling?: {
    readonly step?: readonly TritonEnsembleStep[];
    readonly max_inflight_requests?: number;
  };
  readonly response_cache?: { readonly enable?: boolean };
  readonly model_transaction_policy?: { readonly decoupled?: boolean };
}

/** Backends whose models the engine can run: ONNX files, and ensembles of them. */
const backends = ["onnxruntime", "onnxruntime_onnx", "ensemble", ""];
const file = "config.pbtxt";

/** Reads Triton's configuration as it is. Throws `invalid-configuration`, or `unsupported` for another backend. */
export function parseTritonConfig(model: string, text: string): ModelConfig {
  try {
    return tritonModelConfig(model, decodeTriton(parseTextProto(text)));
  } catch (thrown) {
    if (thrown instanceof TextProtoError) throw badConfiguration(model, file, "", thrown.message, thrown);
    throw thrown;
  }
}

/** The configuration from its decoded fields. Throws `invalid-configuration`, or `unsupported` for another backend. */
export function tritonModelConfig(model: string, fields: { readonly [field: string]: Json }): ModelConfig {
  const bad = (path: string, problem: string): Error => badConfiguration(model, file, path, problem);
  // The table in triton-schema.ts has checked every name and type, and this interface is that table in types.
  const config = fields as unknown as TritonConfig;
  const backend = config.platform ?? config.backend ?? "";
  if (!backends.includes(backend)) {
    throw bad("platform", `is ${JSON.stringify(backend)}; supported: onnxruntime_onnx, ensemble`);
  }
  const maxBatchSize = config.max_batch_size ?? 0;
  if (maxBatchSize < 0 || maxBatchSize > 4096)
    throw bad("max_batch_size", `is ${maxBatchSize}; 0 to 4096 is allowed`);
  const port = (kind: string) => (written: TritonPort) => portOf(written, kind, maxBatchSize > 0, bad);
  if (config.dynamic_batching && config.sequence_batching) {
    throw bad("dynamic_batching", "and sequence_batching cannot both be given");
  }
  refuseBatchPorts(fields, bad);
  const steps = config.ensemble_scheduling?.step;
  const inputs = (config.input ?? []).map(port("input"));
  const pipelineOf = (written: readonly TritonEnsembleStep[]): PipelineConfig => {
    const maxInFlight = config.ensemble_scheduling?.max_inflight_requests ?? 0;
    if (maxInFlight < 0)
      throw bad("ensemble_scheduling max_inflight_requests", `is ${maxInFlight}; 0 or more is allowed`);
    const pipeline = ensemblePipeline(model, written, inputs, config.output ?? []);
    // Triton's 0 means no limit.
    return maxInFlight === 0 ? pipeline : { ...pipeline, maxInFlight };
  };
  const graph = config.default_model_filename ?? defaults.graph;
  if (!isFileName(graph))
    throw bad("default_model_filename", `is ${JSON.stringify(graph)}; it must be a file here`);
  return {
    file,
    ...(config.name ? { name: config.name } : {}),
    trusted: true,
    inputs,
    outputs: (config.output ?? []).map(port("output")),
    graph,
    batching: config.sequence_batching
      ? sequenceBatching(config.sequence_batching, maxBatchSize, bad)
      : config.dynamic_batching
        ? dynamicBatching(config.dynamic_batching, maxBatchSize, bad)
        : { maxBatchSize },
    // Triton joins requests only when configured to; a batch axis alone lets one request bring several rows.
    joinsRequests: config.dynamic_batching !== undefined || config.sequence_batching !== undefined,
    // Left out it says nothing; a written 0 or 1 says that a run has one request.
    forbidsJoining: config.max_batch_size !== undefined && config.max_batch_size < 2,
    instances: instancesOf(config.instance_group ?? [], bad),
    ...(config.sequence_batching
      ? { sequence: tritonSequence(config.sequence_batching, maxBatchSize, bad) }
      : {}),
    ...(steps ? { pipeline: pipelineOf(steps) } : {}),
    variants: defaults.variants,
    versions: policyOf(config.version_policy, bad),
    versionLabels: versionLabelsOf(config.parameters ?? [], bad),
    warmUps: warmUpsOf(config.model_warmup ?? [], maxBatchSize > 0, bad),
    keepLoaded: flagOf(config.parameters ?? [], "keep_loaded", bad),
    responseCache: config.response_cache?.enable ?? false,
    decoupled: config.model_transaction_policy?.decoupled ?? false,
    unused: unusedSettings(fields, config.parameters ?? []),
    written: tritonJson(fields),
  };
}

function portOf(written: TritonPort, kind: string, batched: boolean, bad: Bad): DeclaredPort {
  const name = written.name ?? "";
  const path = `${kind} ${JSON.stringify(name)}`;
  if (name === "") throw bad(kind, "has no name");
  refusePortExtras(written, path, bad);
  const withBatch = (sizes: readonly number[]): readonly number[] => (batched ? [-1, ...sizes] : sizes);
  const dims = written.dims ?? [];
  if (dims.some((size) => size < -1))
    throw bad(`${path} dims`, `are [${dims.join(", ")}]; -1 or more is allowed`);
  if (written.label_filename && !isFileName(written.label_filename)) {
    throw bad(`${path} label_filename`, "must be a file inside the model's folder");
  }
  return {
    name,
    datatype: datatypeOfTriton(written.data_type, path, bad),
    shape: withBatch(dims),
    ...(written.label_filename ? { labelsFile: written.label_filename } : {}),
    ...(written.reshape ? { graphShape: withBatch(written.reshape.shape ?? []) } : {}),
  };
}
