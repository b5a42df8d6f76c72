import { type Call, float32View, type Tensor, type Tensors } from "@longshore/core";
import type { Runtime } from "@longshore/engine";
import { type ModelProto, valueInfo } from "../onnx/index.ts";
import { artifactOfModel, typesFor } from "../profile/index.ts";
import { splitGraph } from "../extract/index.ts";
import { knownBytes, type Types } from "../shape/index.ts";
import { ValueHistogram } from "./histogram.ts";

/** Bytes of inner tensors that one run gives out; more are seen in several runs. */
const groupBytes = 128 * 2 ** 20;
/** The assumed size of a tensor of unknown size. */
const guessedBytes = 4 * 2 ** 20;

/** Types of all values for these inputs, as far as rules know them. */
export function typesOf(model: ModelProto, inputs: Tensors): Types {
  return typesFor(
    splitGraph(model),
    [...inputs.values()].map((tensor) => tensor.spec),
  );
}

/**
 * Runs a model on inputs and counts the values of tensors inside it. They are made outputs of the model, as many at a
 * time as a bounded memory holds, so that a large network takes more runs and not more memory.
 */
export async function calibrate(
  model: ModelProto,
  names: readonly string[],
  inputs: readonly Tensors[],
  runtime: Runtime,
  call: Call,
): Promise<ReadonlyMap<string, ValueHistogram>> {
  const types = inputs[0] ? typesOf(model, inputs[0]) : new Map();
  const histograms = new Map(names.map((name) => [name, new ValueHistogram()]));
  await observe(model, names, types, inputs, runtime, call, (name, tensor) =>
    histograms.get(name)?.add(float32View(tensor)),
  );
  return histograms;
}

function grouped(names: readonly string[], types: Types): readonly (readonly string[])[] {
  const groups: string[][] = [[]];
  let bytes = 0;
  for (const name of names) {
    const type = types.get(name);
    const size = (type?.kind === "tensor" && knownBytes(type)) || guessedBytes;
    if (bytes > 0 && bytes + size > groupBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(name);
    bytes += size;
  }
  return groups;
}

type Seen = (name: string, tensor: Tensor) => void;

/** Runs a model on each input and hands out FP32 tensors inside it, some at a time. */
async function observe(
  model: ModelProto,
  names: readonly string[],
  types: Types,
  inputs: readonly Tensors[],
  runtime: Runtime,
  call: Call,
  see: Seen,
): Promise<void> {
  for (const group of grouped(names, types)) await observeGroup(model, group, inputs, runtime, call, see);
}

async function observeGroup(
  model: ModelProto,
  names: readonly string[],
  inputs: readonly Tensors[],
  runtime: Runtime,
  call: Call,
  see: Seen,
): Promise<void> {
  const given = new Set(model.graph?.input.map(({ name }) => name));
  const inner = names.filter((name) => !given.has(name));
  const open = withOutputs(model, inner);
  const session = inner.length > 0 ? await runtime.load(artifactOfModel(open), {}, call) : undefined;
  try {
    for (const feeds of inputs) {
      const made = (await session?.run(feeds, inner, call)) ?? new Map();
      for (const name of names) {
        const tensor = made.get(name) ?? feeds.get(name);
        if (tensor?.spec.datatype === "FP32") see(name, tensor);
      }
    }
  } finally {
    await session?.release();
  }
}

/** The model with other outputs than its own: nodes that only the old ones needed are not run. */
function withOutputs(model: ModelProto, names: readonly string[]): ModelProto {
  const { graph } = model;
  if (!graph) return model;
  return {
    ...model,
    graph: { ...graph, output: names.map((name) => valueInfo(name, undefined, undefined)) },
  };
}
