import type { Json } from "@longshore/core";
import type { Bad } from "./triton-datatypes.ts";
import type { TritonParameter } from "./triton-life.ts";

/** Settings of an input or output that would change answers if they were implemented. */
export interface TritonPortExtras {
  readonly optional?: boolean;
  readonly allow_ragged_batch?: boolean;
  readonly is_shape_tensor?: boolean;
}

/**
 * Refuses settings of an input or output that this server does not implement, if they affect answers or decide what callers may
 * leave out.
 */
export function refusePortExtras(written: TritonPortExtras, path: string, bad: Bad): void {
  if (written.optional) {
    throw bad(
      `${path} optional`,
      "is true; all inputs of a model are given here. One that has its value in the ONNX file is not named in input",
    );
  }
  if (written.allow_ragged_batch) {
    throw bad(`${path} allow_ragged_batch`, "is true; requests of different shapes are not joined here");
  }
  if (written.is_shape_tensor) {
    throw bad(`${path} is_shape_tensor`, "is true; shape tensors are TensorRT's, which is not run here");
  }
}

/** Refuses inputs that Triton would make from a batch, and outputs that it would part by them. */
export function refuseBatchPorts(fields: { readonly [field: string]: Json }, bad: Bad): void {
  for (const field of ["batch_input", "batch_output"]) {
    const written = fields[field];
    if (Array.isArray(written) && written.length > 0) {
      throw bad(field, "is given; tensors that are made for a batch are not supported here");
    }
  }
}

const unusedFields = [
  "runtime",
  "optimization",
  "cc_model_filenames",
  "metric_tags",
  "model_operations",
  "model_repository_agents",
  "model_metrics",
];

/** Parameters that are read, and those that this server itself writes into a configuration that it shows. */
const own: ReadonlySet<string> = new Set(["keep_loaded", "longshore_digest"]);

/** Whether a field is more than empty, as what a server tells of a model has all of them. */
function saysSomething(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === false || value === 0) return false;
  if (value === "" || value === "PRIORITY_DEFAULT") return false;
  return typeof value !== "object" || Object.values(value).some(saysSomething);
}

/** Names of settings that are read and have no effect here: fields, and parameters that no code here reads. */
export function unusedSettings(
  fields: { readonly [field: string]: Json },
  parameters: readonly TritonParameter[],
): readonly string[] {
  return [
    ...unusedFields.filter((name) => saysSomething(fields[name])),
    ...parameters.flatMap(({ key = "" }) =>
      key.startsWith("version_label.") || own.has(key) ? [] : [`parameters ${key}`],
    ),
  ];
}
