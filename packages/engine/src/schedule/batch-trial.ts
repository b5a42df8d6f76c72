import {
  float32View,
  LongshoreError,
  numericTensor,
  type Random,
  type Tensor,
  type Tensors,
  type Tolerance,
} from "@longshore/core";
import { difference, elementBytes } from "@longshore/core/internal";
import { joinFeeds, splitOutputs } from "../runtime/index.ts";
import { sameTensors } from "./row-samples.ts";
import type { BatchVerdict } from "./verdict.ts";

/*
 * May requests for a graph share runs if its configuration does not enable it? Three things must hold, each shown by runs:
 *
 * - A row's answer is the same, bit for bit, alone and beside any others. The rows are real or golden ones; among their
 *   neighbours are loud and quiet variations of them, because a scale that the whole batch shares hardly shows beside rows of
 *   the same magnitude. Where golden inputs state a tolerance, that is allowed.
 * - It holds at every number of rows that will be used: kernels differ by size, and so may their rounding.
 * - A row takes less time in such a run than alone, just before it. On a processor many convolutional networks take more.
 *
 * The gain is measured first: its absence ends most trials after a few runs.
 */

/** A run of a trial. */
export interface TriedRun {
  readonly outputs: Tensors;
  /** Time inside the runtime. */
  readonly ranMs: number;
}

/** Inputs of a trial. */
export interface TrialParts {
  /** Single rows of equal shapes, at least one. */
  readonly rows: readonly Tensors[];
  /** How far answers may lie apart; undefined: not at all. */
  readonly tolerance: Tolerance | undefined;
  /** Most rows in one run. */
  readonly most: number;
  readonly random: Random;
  /** Runs feeds when that delays no request. Rejects if the run fails. */
  readonly run: (feeds: Tensors) => Promise<TriedRun>;
}

/** A larger run must save this share of the time of each row beside the next smaller one, and in the end beside single rows. */
const leastGainRatio = 0.03;
const leastTotalGainRatio = 0.15;
/** A smaller run is chosen where it is nearly as good: its requests wait for less. */
const nearBestRatio = 1.1;
/** Least runs of each size, of short and of long runs. */
const shortRounds = 5;
const longRounds = 3;
const longRunMs = 5;
/** Runs of each size go on until they took so long together: others may slow all runs of a millisecond. */
const leastTimedMs = 2;
/** Most runs of each size. */
const mostRounds = 40;
/** All runs that compare answers may take so long together. */
const mostCompareMs = 5000;

/** Runs rows alone and together, and says whether requests may be joined. */
export async function tryBatching(parts: TrialParts): Promise<BatchVerdict> {
  try {
    const paying = await worthwhile(parts);
    if (!paying) return { maxRows: 1, because: "it does not pay" };
    let { rows } = paying;
    while (rows > 2 && (paying.ranMs * rows) / 2 > mostCompareMs) rows >>= 1;
    return await compare(parts, rows);
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", "the trial of batching");
    if (error.reason === "run-failed" || error.reason === "invalid-input")
      return { maxRows: 1, because: "runs failed" };
    throw error;
  }
}

/** A number of rows that was tried. */
interface TriedSize {
  readonly rows: number;
  readonly ranMs: number;
  /** The time of a row in such a run, as a share of its time alone. */
  readonly share: number;
}

/** The number of rows that pays most; undefined if none does. */
async function worthwhile({ rows, most, run }: TrialParts): Promise<TriedSize | undefined> {
  const joined = (size: number): Tensors =>
    joinFeeds(Array.from({ length: size }, (_, index) => rows[index % rows.length] ?? new Map()));
  const single = joined(1);
  // A run of one row precedes each run of several: the machine may become slower or faster at any time, for both alike.
  const tried = async (size: number): Promise<TriedSize> => {
    const feeds = joined(size);
    // The first run of a size prepares memory for it.
    let { ranMs: fastest } = await run(feeds);
    const rounds = fastest > longRunMs ? longRounds : shortRounds;
    const ratios: number[] = [];
    let timedMs = 0;
    while (ratios.length < rounds || (timedMs < leastTimedMs && ratios.length < mostRounds)) {
      const { ranMs: aloneMs } = await run(single);
      const { ranMs } = await run(feeds);
      ratios.push(ranMs / aloneMs);
      fastest = Math.min(fastest, ranMs);
      timedMs += ranMs;
    }
    const middle = ratios.sort((one, other) => one - other)[ratios.length >> 1] ?? Infinity;
    return { rows: size, ranMs: fastest, share: middle / size };
  };
  await run(single);
  const sizes: TriedSize[] = [];
  let least = 1;
  let losses = 0;
  for (let size = 2; size <= most && losses < 2; size *= 2) {
    const one = await tried(size);
    sizes.push(one);
    losses = one.share < least * (1 - leastGainRatio) ? 0 : losses + 1;
    least = Math.min(least, one.share);
  }
  return sizes.find(({ share }) => share <= least * nearBestRatio && share <= 1 - leastTotalGainRatio);
}

/** Compares every row's answers at every number of rows with its answers alone. */
async function compare(parts: TrialParts, maxRows: number): Promise<BatchVerdict> {
  const { rows, tolerance, random, run } = parts;
  const same = (meant: Tensors, given: Tensors): boolean =>
    sameTensors(meant, given) ||
    (tolerance !== undefined && difference(meant, given, tolerance) === undefined);
  const known: { readonly row: Tensors; readonly alone: Tensors }[] = [];
  for (const row of rows) {
    const { outputs: alone } = await run(row);
    if (!sameTensors(alone, (await run(row)).outputs))
      return { maxRows: 1, because: "answers differ from run to run" };
    known.push({ row, alone });
  }
  for (const row of rows.slice(0, 2)) {
    for (const varied of variations(row)) {
      try {
        known.push({ row: varied, alone: (await run(varied)).outputs });
      } catch (thrown) {
        // Not everything that can be made of a row is an input that the graph takes.
        if (!LongshoreError.is(thrown) || thrown.reason === "shutting-down") throw thrown;
      }
    }
  }
  const sizes = Array.from({ length: maxRows - 1 }, (_, index) => index + 2);
  // Few rows meet few neighbours, so small sizes are tried with several.
  for (const size of [...sizes, ...sizes.slice(0, 7), ...sizes.slice(0, 7)]) {
    const members = Array.from(
      { length: size },
      () => known[Math.floor(random.next() * known.length)],
    ).flatMap((one) => one ?? []);
    const { outputs } = await run(joinFeeds(members.map(({ row }) => row)));
    const parted = splitOutputs(
      outputs,
      members.map(() => 1),
    );
    if (!parted) return { maxRows: 1, because: "outputs do not follow the rows" };
    if (!members.every(({ alone }, index) => same(alone, parted[index] ?? new Map())))
      return { maxRows: 1, because: "answers depend on the rows beside them" };
  }
  return { maxRows, because: "equal answers, and it pays" };
}

/** Other inputs of the same shapes: of other magnitudes where values are fractions, in another order where they are not. */
function variations(row: Tensors): readonly Tensors[] {
  const varied = (change: (tensor: Tensor) => Tensor): Tensors =>
    new Map(Array.from(row, ([name, tensor]) => [name, change(tensor)]));
  return [
    varied((tensor) => scaled(tensor, 100)),
    varied((tensor) => scaled(tensor, -0.01)),
    varied((tensor) => scaled(tensor, 1000)),
    varied(reversed),
    varied((tensor) => scaled(tensor, 0)),
  ];
}

function scaled(tensor: Tensor, factor: number): Tensor {
  const { name, datatype, shape } = tensor.spec;
  if (datatype !== "FP32") return tensor;
  return numericTensor(
    name,
    datatype,
    shape,
    float32View(tensor).map((value) => value * factor),
  );
}

/** The elements in reverse order: indices stay indices. */
function reversed(tensor: Tensor): Tensor {
  const width = elementBytes(tensor.spec.datatype);
  if (width === 0) return tensor;
  const { bytes } = tensor;
  const turned = new Uint8Array(bytes.byteLength);
  for (let at = 0; at < bytes.byteLength; at += width)
    turned.set(bytes.subarray(at, at + width), bytes.byteLength - at - width);
  return { spec: tensor.spec, bytes: turned };
}
