import {
  type Batching,
  bytesElements,
  bytesTensor,
  type Call,
  type Datatype,
  float32View,
  LongshoreError,
  numericTensor,
  type Random,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { elementBytes, gaussian } from "@longshore/core/internal";
import { type InferenceSession, joinFeeds, splitOutputs } from "../runtime/index.ts";

/** The result of the test of a graph. */
export interface InvarianceResult {
  readonly passed: boolean;
  /** Largest difference of an output value from the one of the row alone, over what is allowed; at most 1 when passed. */
  readonly worstRatio: number;
  /** Why it did not pass. */
  readonly problem?: string;
}

/**
 * Differences up to this, plus the same share of the value, come from the order of sums and say nothing about the neighbours.
 */
const absolute = 1e-5;
const relative = 1e-4;
/** Sizes that are tried for axes that vary: networks want multiples of their strides. */
export const sizesToTry: readonly number[] = [16, 32, 64, 8, 1];
/** Neighbours far from the row's own range, which is what shifts a scale that the whole batch shares. */
const loudness = [1, 100, 1, 0.01, 30, 1, 1000];

/**
 * Runs random rows alone and beside others, and compares: a graph passes when no output of a row depends on its neighbours.
 * Graphs that quantise dynamically take the scale of their activations from the whole batch and fail, as do those that
 * normalise over it. The neighbours are of other magnitudes, because those of the same one hardly show.
 */
export async function testInvariance(
  session: InferenceSession,
  { maxBatchSize, buckets }: Batching,
  random: Random,
  call: Call,
): Promise<InvarianceResult> {
  const declared = buckets?.axes.flatMap(({ sizes }) => sizes) ?? [];
  let problem = "no sizes were found with which it runs";
  for (const size of [...declared, ...sizesToTry]) {
    const row = randomRow(session.inputs, size, 1, random);
    if (!row) return { passed: false, worstRatio: Infinity, problem: "its inputs have no batch axis" };
    try {
      const alone = await session.run(row, [], call);
      return await compare(session, row, alone, Math.min(8, maxBatchSize), size, random, call);
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "execute", "the test of batch invariance");
      if (error.reason !== "run-failed" && error.reason !== "invalid-input") throw error;
      problem = error.message;
    }
  }
  return { passed: false, worstRatio: Infinity, problem };
}

async function compare(
  session: InferenceSession,
  row: Tensors,
  alone: Tensors,
  rows: number,
  size: number,
  random: Random,
  call: Call,
): Promise<InvarianceResult> {
  let worstRatio = 0;
  // First, last and in the middle of a batch.
  for (const position of new Set([0, rows - 1, rows >> 1])) {
    const members: Tensors[] = [];
    for (let index = 0; index < rows; index++) {
      const loud = loudness[index % loudness.length] ?? 1;
      members.push(index === position ? row : (randomRow(session.inputs, size, loud, random) ?? row));
    }
    const outputs = await session.run(joinFeeds(members), [], call);
    const own = splitOutputs(
      outputs,
      Array.from({ length: rows }, () => 1),
    )?.[position];
    if (!own)
      return { passed: false, worstRatio: Infinity, problem: "an output does not follow the batch axis" };
    for (const [name, tensor] of alone) worstRatio = Math.max(worstRatio, difference(tensor, own.get(name)));
  }
  if (worstRatio <= 1) return { passed: true, worstRatio };
  return { passed: false, worstRatio, problem: "the answers for a row depend on the rows beside it" };
}

/** The largest difference over what is allowed. */
function difference(alone: Tensor, beside: Tensor | undefined): number {
  if (!beside || beside.bytes.byteLength !== alone.bytes.byteLength) return Infinity;
  if (alone.spec.datatype === "FP32") {
    const [a, b] = [float32View(alone), float32View(beside)];
    let worst = 0;
    for (let index = 0; index < a.length; index++) {
      const [x, y] = [a[index] ?? 0, b[index] ?? 0];
      if (Object.is(x, y)) continue;
      const ratio = Math.abs(x - y) / (absolute + relative * Math.abs(x));
      worst = Math.max(worst, Number.isNaN(ratio) ? Infinity : ratio);
    }
    return worst;
  }
  if (alone.spec.datatype === "BYTES") {
    const [a, b] = [bytesElements(alone), bytesElements(beside)];
    return a.every((one, index) => sameBytes(one, b[index])) ? 0 : Infinity;
  }
  // Whole numbers are equal or not; half-precision values are compared by their bits, which is stricter than need be.
  return sameBytes(alone.bytes, beside.bytes) ? 0 : Infinity;
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b?.byteLength === a.byteLength && a.every((byte, index) => byte === b[index]);
}

/** One row for every input; undefined when an input has no batch axis. */
function randomRow(
  inputs: readonly TensorSpec[],
  size: number,
  loud: number,
  random: Random,
): Tensors | undefined {
  const row = new Map<string, Tensor>();
  for (const { name, datatype, shape } of inputs) {
    if (shape[0] !== -1) return undefined;
    const sizes = [1, ...shape.slice(1).map((one) => (one === -1 ? size : one))];
    row.set(name, randomTensor(name, datatype, sizes, loud, random));
  }
  return row;
}

/** Random content: numbers around 0 for floats, 0 or 1 for whole numbers, one letter for each text. */
export function randomTensor(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  loud: number,
  random: Random,
): Tensor {
  const count = shape.reduce((product, one) => product * one, 1);
  if (datatype === "FP32")
    return numericTensor(
      name,
      datatype,
      shape,
      Float32Array.from({ length: count }, () => gaussian(random) * loud),
    );
  if (datatype === "BYTES")
    return bytesTensor(
      name,
      Array.from({ length: count }, () => Uint8Array.of(97 + Math.floor(random.next() * 26))),
      shape,
    );
  // Whole numbers may index a table, so they are small: 0 or 1 exist in any.
  const bytes = new Uint8Array(count * elementBytes(datatype));
  const width = elementBytes(datatype);
  const whole = datatype.startsWith("INT") || datatype.startsWith("UINT") || datatype === "BOOL";
  for (let index = 0; index < count; index++) {
    if (whole) bytes[index * width] = random.next() < 0.5 ? 0 : 1;
  }
  if (datatype === "FP64") {
    new Float64Array(bytes.buffer).forEach((_, index, all) => void (all[index] = gaussian(random) * loud));
  }
  return { spec: { name, datatype, shape }, bytes };
}
