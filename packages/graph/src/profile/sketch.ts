import type { Cut, TensorSpec } from "@longshore/core";
import type { CutTable, SplitGraph } from "../extract/index.ts";
import { elementTypeOf } from "../onnx/index.ts";
import { balanced, candidates, crossingTensors, hasNode, type NodeSet } from "../partition/index.ts";
import {
  bytes,
  inferTypes,
  nodeWork,
  tensorType,
  type Types,
  usedNames,
  type ValueType,
} from "../shape/index.ts";

/**
 * The facts of a cut for inputs of given sizes that need no run: enough to choose which cuts are worth measuring, never a
 * prediction of time.
 */
export interface CutSketch {
  readonly cut: Cut;
  /** Multiply-adds before and after the cut, roughly (see `nodeWork`). */
  readonly headWork: number;
  readonly tailWork: number;
  /** Bytes of the crossing as it is. */
  readonly rawBytes: number;
  /** The same with every 32-bit fraction in 8 bits, as a quantising codec sends it. */
  readonly smallBytes: number;
  /** Weights of the head and its largest set of live tensors, in bytes. */
  readonly headMemoryBytes: number;
  /** False when a size could not be known and was guessed. */
  readonly certain: boolean;
  /**
   * It would part operators that runtimes run as one quantised step (quantise, whole-number product, rescale). Both ways
   * are right, but they round differently, and a rounding of 8 bits is seen in the answer.
   */
  readonly delicate: boolean;
}

/** Size that stands for one that is not known even for known inputs (numbers of boxes, lengths of texts). */
export const guessedSize = 16;

/** Sketches all cuts of a table, `start` and `end` included, in order. `inputs` carry the real shapes. */
export function sketchCuts(
  split: SplitGraph,
  table: CutTable,
  inputs: readonly TensorSpec[],
): readonly CutSketch[] {
  const types = typesFor(split, inputs);
  const work = split.nodes.map((node) => nodeWork(node, types, guessedSize));
  const total = work.reduce((sum, one) => sum + one, 0);
  const facts = split.names.map((name) => tensorFacts(types.get(name)));
  const delicate = split.dag.tensors.map(({ producer }) => insideQuantised(split, producer));
  const memory = new MemorySketch(split, types);
  const sketch = (cut: Cut, set: NodeSet | undefined, tensors: readonly number[]): CutSketch => {
    const headWork = set ? work.reduce((sum, one, node) => (hasNode(set, node) ? sum + one : sum), 0) : 0;
    const crossing = tensors.flatMap((tensor) => facts[tensor] ?? []);
    return {
      cut,
      headWork,
      tailWork: total - headWork,
      rawBytes: crossing.reduce((sum, one) => sum + one.rawBytes, 0),
      smallBytes: crossing.reduce((sum, one) => sum + one.smallBytes, 0),
      headMemoryBytes: set ? memory.of(set) : 0,
      certain: crossing.every((one) => one.certain),
      delicate: tensors.some((tensor) => delicate[tensor]),
    };
  };
  return table.cuts.map((cut) => {
    const set = table.sets[Number(cut.id.slice(1)) - 1];
    return sketch(cut, set, set ? crossingTensors(split.dag, set) : []);
  });
}

/** Whether what a node makes lies inside a group of operators that runtimes fuse into one quantised step. */
function insideQuantised(split: SplitGraph, producer: number): boolean {
  const node = split.nodes[producer];
  if (!node) return false;
  if (node.opType === "Cast") {
    const from = split.types.get(node.input[0] ?? "");
    const maker = split.nodes.find((other) => other.output.includes(node.input[0] ?? ""));
    return from?.kind === "tensor" && maker !== undefined && integerProducts.has(maker.opType);
  }
  return (
    node.opType === "DynamicQuantizeLinear" ||
    node.opType === "DequantizeLinear" ||
    integerProducts.has(node.opType)
  );
}

const integerProducts: ReadonlySet<string> = new Set(["MatMulInteger", "ConvInteger"]);

/** Types of all values for inputs of these shapes. */
export function typesFor(split: SplitGraph, inputs: readonly TensorSpec[]): Types {
  const known = new Map<string, ValueType>(
    inputs.map((input) => [input.name, tensorType(elementTypeOf(input.datatype), input.shape)]),
  );
  const model =
    split.graph.node.length === split.order.size ? { ...split.model, graph: ordered(split) } : split.model;
  const exact = inferTypes(model, known);
  // Types learned from a run stay where the rules know none.
  return new Map([...split.types, ...exact]);
}

function ordered(split: SplitGraph): SplitGraph["graph"] {
  return { ...split.graph, node: [...split.order.keys()] };
}

function tensorFacts(type: ValueType | undefined): {
  readonly rawBytes: number;
  readonly smallBytes: number;
  readonly certain: boolean;
} {
  const rawBytes = bytes(type, guessedSize);
  const fraction = type?.kind === "tensor" && type.element === elementTypeOf("FP32");
  const certain = type?.kind === "tensor" && type.shape !== undefined && !type.shape.includes(-1);
  return { rawBytes, smallBytes: fraction ? rawBytes / 4 : rawBytes, certain };
}

/** Weights by node, and how many bytes are alive while each node runs, in the order of the file. */
class MemorySketch {
  readonly #weights: readonly (readonly string[])[];
  readonly #weightBytes = new Map<string, number>();
  readonly #peak: readonly number[];

  constructor(split: SplitGraph, types: Types) {
    const made = new Set(split.names);
    this.#weights = split.nodes.map((node) => usedNames(node).filter((name) => !made.has(name)));
    for (const names of this.#weights) {
      for (const name of names) this.#weightBytes.set(name, bytes(types.get(name), guessedSize));
    }
    this.#peak = peaks(split, types);
  }

  of(set: NodeSet): number {
    const used = new Set<string>();
    let peak = 0;
    for (const [node, names] of this.#weights.entries()) {
      if (!hasNode(set, node)) continue;
      for (const name of names) used.add(name);
      peak = Math.max(peak, this.#peak[node] ?? 0);
    }
    let total = peak;
    for (const name of used) total += this.#weightBytes.get(name) ?? 0;
    return total;
  }
}

function peaks(split: SplitGraph, types: Types): readonly number[] {
  const last = split.dag.tensors.map((tensor) => (tensor.kept ? Infinity : Math.max(...tensor.consumers)));
  const sizes = split.names.map((name) => bytes(types.get(name), guessedSize));
  const change = new Float64Array(split.nodes.length + 1);
  for (const [index, tensor] of split.dag.tensors.entries()) {
    const from = Math.max(0, tensor.producer);
    const to = Math.min(split.nodes.length, (last[index] ?? 0) + 1);
    change[from] = (change[from] ?? 0) + (sizes[index] ?? 0);
    change[to] = (change[to] ?? 0) - (sizes[index] ?? 0);
  }
  let live = 0;
  return split.nodes.map((_node, index) => (live += change[index] ?? 0));
}

/**
 * The sketched cuts that are worth measuring, at most `limit`: those that can be the cheapest, raw or made small, or
 * with the least memory before them, also where the input itself may not leave.
 * Delicate ones are passed over as long as there are others.
 */
export function promising(all: readonly CutSketch[], limit: number): readonly CutSketch[] {
  const robust = all.filter((sketch) => !sketch.delicate);
  const sketches = robust.length > 0 ? robust : all;
  const point = (sketch: CutSketch, transfer: number) => ({
    head: sketch.headWork,
    tail: sketch.tailWork,
    transfer,
  });
  const raw = sketches.map((sketch) => point(sketch, sketch.rawBytes));
  const small = sketches.map((sketch) => point(sketch, sketch.smallBytes));
  // An endpoint short of memory chooses by that instead of time.
  const memory = sketches.map((sketch) => ({
    ...point(sketch, sketch.smallBytes),
    head: sketch.headMemoryBytes,
  }));
  const share = Math.ceil(limit / 3);
  // If rules keep the input here, the best of the other cuts is wanted.
  const inner = sketches.flatMap(({ cut }, index) => (cut.reveals === "input" ? [] : [index]));
  const innerOnes = inner.flatMap((index) => small[index] ?? []);
  const ofInner = (chosen: readonly number[]): readonly number[] =>
    chosen.flatMap((index) => inner[index] ?? []);
  const best = [
    ...candidates(raw, share),
    ...candidates(small, share),
    // Frames one after another want stages that balance.
    ...balanced(small),
    ...ofInner(balanced(innerOnes)),
    ...ofInner(candidates(innerOnes, share)),
    ...candidates(memory, limit - 2 * share),
    // A cut that several choose leaves room for more.
    ...candidates(small, limit),
  ];
  const chosen = new Set<number>();
  for (const index of best) if (chosen.size < limit) chosen.add(index);
  return sketches.filter((_sketch, index) => chosen.has(index));
}
