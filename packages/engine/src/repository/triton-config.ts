import type { Batching, InstanceGroup, Json } from "@longshore/core";
import { type DeclaredPort, defaults, type ModelConfig, type VersionPolicy } from "./config.ts";
import { badConfiguration, isFileName } from "./names.ts";
import { parseTextProto, TextProtoError } from "./text-proto.ts";
import { type Bad, datatypeOf } from "./triton-datatypes.ts";
import { decodeTriton } from "./triton-schema.ts";
import { ensemblePipeline, type TritonEnsembleStep } from "./triton-ensemble.ts";
import { sequenceBatching, type TritonSequence, tritonSequence } from "./triton-sequence.ts";

interface TritonPort {
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
  readonly version_policy?: {
    readonly latest?: { readonly num_versions?: number };
    readonly all?: object;
    readonly specific?: { readonly versions?: readonly number[] };
  };
  readonly input?: readonly TritonPort[];
  readonly output?: readonly TritonPort[];
  readonly instance_group?: readonly {
    readonly count?: number;
    readonly kind?: string;
    readonly passive?: boolean;
  }[];
  readonly default_model_filename?: string;
  readonly dynamic_batching?: {
    readonly preferred_batch_size?: readonly number[];
    readonly max_queue_delay_microseconds?: number;
  };
  readonly sequence_batching?: TritonSequence;
  readonly ensemble_scheduling?: { readonly step?: readonly TritonEnsembleStep[] };
}

/** Backends whose models the engine can run: ONNX files, and ensembles of them. */
const backends = ["onnxruntime", "onnxruntime_onnx", "ensemble", ""];
const file = "config.pbtxt";

/** Reads Triton's configuration as it is. Throws `invalid-configuration`, or `unsupported` for another backend. */
export function parseTritonConfig(model: string, text: string): ModelConfig {
  const bad = (path: string, problem: string): Error => badConfiguration(model, file, path, problem);
  let fields: { readonly [field: string]: Json };
  try {
    fields = decodeTriton(parseTextProto(text));
  } catch (thrown) {
    if (thrown instanceof TextProtoError) throw badConfiguration(model, file, "", thrown.message, thrown);
    throw thrown;
  }
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
  const steps = config.ensemble_scheduling?.step;
  const inputs = (config.input ?? []).map(port("input"));
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
      : batchingOf(config, maxBatchSize),
    // Triton joins requests only when it is told to; a batch axis alone lets one request bring several rows.
    joinsRequests: config.dynamic_batching !== undefined || config.sequence_batching !== undefined,
    instances: instancesOf(config, bad),
    ...(config.sequence_batching
      ? { sequence: tritonSequence(config.sequence_batching, maxBatchSize, bad) }
      : {}),
    ...(steps ? { pipeline: ensemblePipeline(model, steps, inputs, config.output ?? []) } : {}),
    variants: defaults.variants,
    versions: policyOf(config),
    aside: asideOf(fields),
  };
}

function portOf(written: TritonPort, kind: string, batched: boolean, bad: Bad): DeclaredPort {
  const name = written.name ?? "";
  const path = `${kind} ${JSON.stringify(name)}`;
  if (name === "") throw bad(kind, "has no name");
  const withBatch = (sizes: readonly number[]): readonly number[] => (batched ? [-1, ...sizes] : sizes);
  const dims = written.dims ?? [];
  if (dims.some((size) => size < -1))
    throw bad(`${path} dims`, `are [${dims.join(", ")}]; -1 or more is allowed`);
  if (written.label_filename !== undefined && !isFileName(written.label_filename)) {
    throw bad(`${path} label_filename`, "must be a file inside the model's folder");
  }
  return {
    name,
    datatype: datatypeOf(written.data_type, path, bad),
    shape: withBatch(dims),
    ...(written.label_filename ? { labelsFile: written.label_filename } : {}),
    ...(written.reshape ? { graphShape: withBatch(written.reshape.shape ?? []) } : {}),
  };
}

function batchingOf(config: TritonConfig, maxBatchSize: number): Batching {
  const { dynamic_batching: dynamic } = config;
  if (!dynamic) return { maxBatchSize };
  return {
    maxBatchSize,
    ...(dynamic.preferred_batch_size ? { preferredSizes: dynamic.preferred_batch_size } : {}),
    maxQueueDelayMs: (dynamic.max_queue_delay_microseconds ?? 0) / 1000,
  };
}

function instancesOf(config: TritonConfig, bad: Bad): readonly InstanceGroup[] {
  return (config.instance_group ?? [])
    .filter(({ passive }) => passive !== true)
    .map(({ count = 1 }) => {
      if (count < 1 || count > 64) throw bad("instance_group count", `is ${count}; 1 to 64 is allowed`);
      return { count };
    });
}

function policyOf({ version_policy: policy }: TritonConfig): VersionPolicy {
  if (policy?.all) return { kind: "all" };
  if (policy?.specific) return { kind: "specific", versions: (policy.specific.versions ?? []).map(String) };
  return { kind: "latest", count: Math.max(1, policy?.latest?.num_versions ?? 1) };
}

const used = [
  "name",
  "platform",
  "backend",
  "max_batch_size",
  "version_policy",
  "input",
  "output",
  "instance_group",
];
const usedToo = ["default_model_filename", "dynamic_batching", "sequence_batching", "ensemble_scheduling"];

function asideOf(fields: { readonly [field: string]: Json }): Readonly<Record<string, Json>> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => ![...used, ...usedToo].includes(name)));
}
