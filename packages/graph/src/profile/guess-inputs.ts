import {
  bytesTensor,
  type Datatype,
  numericTensor,
  type Random,
  seededRandom,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import { elementCount, gaussian, toHalf } from "@longshore/core/internal";
import { type SplitGraph, specOf } from "../extract/index.ts";
import type { ValueInfoProto } from "../onnx/index.ts";

/*
 * Inputs for a model of which nothing is known but its file: to check a split, or to try a model before there is data.
 *
 * Sizes that vary have to be chosen so that the model runs at all, and whole numbers so that they are legal indices. The
 * file helps: names of sizes ("sequence_length"), names of inputs ("attention_mask"), and tables that an input indexes.
 * Where it does not help, several guesses are made and the caller tries them until the model accepts one.
 */

/** How many different guesses of sizes there are. */
export const guesses = 12;

/** Sizes tried in turn for spatial axes, lengths, and all other axes. */
const spatial: readonly number[] = [224, 64, 32, 320, 640, 128, 48, 96, 256, 512, 28, 16];
const lengths: readonly number[] = [16, 32, 8, 64, 1, 128, 100, 512, 256, 2, 3000, 16000];
const others: readonly number[] = [8, 16, 1, 4, 64, 3, 128, 2, 32, 256, 512, 10];
const pasts: readonly number[] = [0, 4, 1, 0, 8, 0, 1, 0, 16, 0, 1, 0];

/**
 * Seeded inputs for a model. `guess` (0 to `guesses - 1`) picks another choice of sizes. The same seed and guess give the
 * same inputs. `rows` is the size of a batch that varies. `shapes` are those that the operator states: of sizes that vary in the file, those
 * that are fixed there are not guessed.
 */
export function guessInputs(
  split: SplitGraph,
  seed: number,
  guess = 0,
  rows = 1,
  shapes: ReadonlyMap<string, readonly number[]> = new Map(),
): Tensors {
  const random = seededRandom(seed);
  const sizes = new Map<string, number>();
  const inputs = split.inputs.map((input) => {
    const guessed = guessShape(input, guess, sizes, rows);
    const stated = shapes.get(input.name);
    const shape =
      stated?.length === guessed.length
        ? guessed.map((size, axis) => ((stated[axis] ?? -1) > 0 ? (stated[axis] ?? size) : size))
        : guessed;
    const spec = specOf(split, input.name);
    return guessTensor(split, input.name, spec?.datatype ?? "FP32", shape, random);
  });
  return new Map(inputs.map((input) => [input.spec.name, input]));
}

function guessShape(
  input: ValueInfoProto,
  guess: number,
  sizes: Map<string, number>,
  rows: number,
): readonly number[] {
  const type = input.type?.value;
  const dims = type?.case === "tensorType" ? (type.value.shape?.dim ?? []) : [];
  const fixed = dims.map(({ value }) => value.case === "dimValue" && value.value > 0n);
  const last = dims[3]?.value;
  const channelsLast = dims.length === 4 && last?.case === "dimValue" && last.value <= 4n && !fixed[1];
  const at = (axis: number): Standing => ({ axis, rank: dims.length, channelsLast, rows });
  return dims.map(({ value }, axis) => {
    // A size of 0 means "none yet" in one file and "it varies" in another.
    const none = value.case === "dimValue" && value.value === 0n;
    if (none && guess % 2 === 1) return 0;
    // A size that varies between fixed ones (states of recurrent layers) is the batch.
    if (!fixed[axis] && axis > 0 && fixed[axis - 1] && fixed[axis + 1] && value.case !== "dimParam")
      return rows;
    if (value.case === "dimValue" && value.value > 0n) return Number(value.value);
    if (none && dims.length > 1) return 0;
    const name = value.case === "dimParam" ? value.value : "";
    // A size written as a sum of others is that sum.
    const parts = name.split(/\s*\+\s*/);
    if (parts.length > 1) {
      return parts.reduce((total, part) => {
        return total + (/^\d+$/.test(part) ? Number(part) : named(part, at(axis), guess, sizes));
      }, 0);
    }
    return named(name, at(axis), guess, sizes);
  });
}

/** Where a size stands: its axis, among how many, whether the image's channels come last, and the size of a batch. */
interface Standing {
  readonly axis: number;
  readonly rank: number;
  readonly channelsLast: boolean;
  readonly rows: number;
}

function named(name: string, standing: Standing, guess: number, sizes: Map<string, number>): number {
  const known = name === "" ? undefined : sizes.get(name);
  if (known !== undefined) return known;
  const size = guessSize(name.toLowerCase(), standing, guess);
  if (name !== "") sizes.set(name, size);
  return size;
}

function guessSize(name: string, { axis, rank, channelsLast, rows }: Standing, guess: number): number {
  const from = (list: readonly number[]): number => list[guess % list.length] ?? 1;
  if (/past|cache/.test(name)) return from(pasts);
  if (/batch|^n$|^b$|^bs$/.test(name)) return rows;
  if (/seq|len|time|frames?|tokens?|samples?|^s$|^t$|^l$/.test(name)) return from(lengths);
  if (/chan|^c$/.test(name)) return guess % 2 === 0 ? 3 : 1;
  if (/height|width|^h$|^w$/.test(name)) return from(spatial);
  if (axis === 0 && rank > 1) return rows;
  if (rank === 4) return axis === 1 && !channelsLast ? (guess % 2 === 0 ? 3 : 1) : from(spatial);
  if (rank === 1) return axis === 0 && guess % 3 !== 2 ? 1 : from(others);
  return axis === 1 ? from(lengths) : from(others);
}

function guessTensor(
  split: SplitGraph,
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  random: Random,
): Tensor {
  const count = elementCount(shape, name);
  const values = guessValues(split, name.toLowerCase(), name, shape, random);
  const fill = (next: (index: number) => number): number[] =>
    Array.from({ length: count }, (_unused, index) => next(index));
  switch (datatype) {
    case "FP32":
      return numericTensor(name, datatype, shape, Float32Array.from(fill(values.fraction)));
    case "FP64":
      return numericTensor(name, datatype, shape, Float64Array.from(fill(values.fraction)));
    case "FP16":
    case "BF16":
      return numericTensor(
        name,
        datatype,
        shape,
        Uint16Array.from(fill((index) => toHalf(values.fraction(index)))),
      );
    case "INT64":
      return numericTensor(
        name,
        datatype,
        shape,
        BigInt64Array.from(fill(values.whole), (value) => BigInt(value)),
      );
    case "UINT64":
      return numericTensor(
        name,
        datatype,
        shape,
        BigUint64Array.from(fill(values.whole), (value) => BigInt(value)),
      );
    case "INT32":
      return numericTensor(name, datatype, shape, Int32Array.from(fill(values.whole)));
    case "UINT32":
      return numericTensor(name, datatype, shape, Uint32Array.from(fill(values.whole)));
    case "INT16":
      return numericTensor(name, datatype, shape, Int16Array.from(fill(values.whole)));
    case "UINT16":
      return numericTensor(name, datatype, shape, Uint16Array.from(fill(values.whole)));
    case "INT8":
      return numericTensor(name, datatype, shape, Int8Array.from(fill(values.small)));
    case "UINT8":
      return numericTensor(name, datatype, shape, Uint8Array.from(fill(values.pixel)));
    case "BOOL":
      return numericTensor(name, datatype, shape, Uint8Array.from(fill(values.truth)));
    case "BYTES":
      return bytesTensor(
        name,
        fill(() => random.next()).map((draw) => (draw < 0.5 ? "some text" : "other words")),
        shape,
      );
  }
}

interface GuessedValues {
  fraction(index: number): number;
  whole(index: number): number;
  small(index: number): number;
  pixel(index: number): number;
  truth(index: number): number;
}

function guessValues(
  split: SplitGraph,
  lower: string,
  name: string,
  shape: readonly number[],
  random: Random,
): GuessedValues {
  const pixel = (): number => Math.floor(random.next() * 256);
  const small = (): number => Math.floor(random.next() * 256) - 128;
  if (/mask/.test(lower)) {
    // A mask that hides the last quarter now and then, and never everything.
    const last = shape.at(-1) ?? 1;
    const hides = random.next() < 0.5;
    const one = (index: number): number => (hides && index % last >= Math.ceil(last * 0.75) ? 0 : 1);
    return { fraction: one, whole: one, small: one, pixel: one, truth: one };
  }
  const truth = (): number => Number(random.next() < 0.5);
  const fraction = patterned(shape, random);
  return { fraction, whole: guessWhole(split, lower, name, shape, random), small, pixel, truth };
}

/**
 * Noise on a slow wave with an offset for each plane (channel), in a strength of its own. Noise alone is the same to a network
 * that averages over an image, for any seed.
 */
function patterned(shape: readonly number[], random: Random): (index: number) => number {
  if (shape.length < 3) return () => gaussian(random);
  const plane = Math.max(
    1,
    shape.slice(shape.length === 3 ? 2 : -2).reduce((product, size) => product * size, 1),
  );
  const planes = Math.ceil(elementCount(shape) / plane);
  const offsets = Float32Array.from({ length: planes }, () => gaussian(random));
  const [turns, phase, strength] = [1 + 40 * random.next(), random.next(), 0.5 + 1.5 * random.next()];
  return (index) =>
    strength *
    ((offsets[Math.floor(index / plane)] ?? 0) +
      Math.sin(2 * Math.PI * (((index % plane) / plane) * turns + phase)) +
      0.5 * gaussian(random));
}

function guessWhole(
  split: SplitGraph,
  lower: string,
  name: string,
  shape: readonly number[],
  random: Random,
): (index: number) => number {
  if (/^sr$|sample_?rate|sampling_?rate/.test(lower)) return () => 16000;
  if (/token_type|segment/.test(lower)) return () => 0;
  const last = shape.at(-1) ?? 1;
  if (/position/.test(lower)) return (index) => index % last;
  if (/length|_len$/.test(lower)) return () => 8;
  const rows = indexedRows(split, name);
  const limit = rows ?? (/ids?$|tokens?/.test(lower) ? 100 : 2);
  return () => Math.floor(random.next() * limit);
}

/** Rows of the table that an input indexes, followed through reshaping and casts; undefined when it indexes none. */
function indexedRows(split: SplitGraph, name: string): number | undefined {
  const through = new Set([
    "Cast",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
    "Identity",
    "Flatten",
    "Concat",
    "Slice",
    "Split",
  ]);
  const open = [name];
  const seen = new Set(open);
  let rows: number | undefined;
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const node of split.nodes) {
      if (node.opType === "Gather" && node.input[1] === at) {
        const type = split.types.get(node.input[0] ?? "");
        const size = type?.kind === "tensor" ? type.shape?.[0] : undefined;
        if (size !== undefined && size > 0) rows = Math.min(rows ?? Infinity, size);
      }
      if (node.input[0] !== at || !through.has(node.opType)) continue;
      for (const output of node.output) {
        if (!seen.has(output)) open.push(output);
        seen.add(output);
      }
    }
  }
  return rows;
}
