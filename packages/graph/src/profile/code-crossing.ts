import {
  type Call,
  type Clock,
  type Codec,
  type CodingProfile,
  type Encoded,
  estimateOf,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import { errorRatioOf, type Squares, squaresOf } from "./coding-error.ts";

/** A crossing under one codec: the encoded tensors, the time of coding, and the decoded tensors. */
export interface CodedCrossing {
  readonly codecs: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  /** The time of each run, all tensors together, in the order of the runs. */
  readonly encodeRunsMs: readonly number[];
  readonly decodeRunsMs: readonly number[];
  readonly lossless: boolean;
  readonly arrived: Tensors;
  readonly squares: Squares;
}

/** The crossing as it is. */
export function rawCrossing(tensors: Tensors): CodedCrossing {
  let bytes = 0;
  for (const tensor of tensors.values()) bytes += tensor.bytes.byteLength + (tensor.rows?.byteLength ?? 0);
  return {
    codecs: {},
    bytes,
    encodeMs: 0,
    decodeMs: 0,
    encodeRunsMs: [],
    decodeRunsMs: [],
    lossless: true,
    arrived: tensors,
    squares: { apart: 0, sent: 0 },
  };
}

/**
 * Codes a crossing by one codec, every tensor that it accepts; undefined when it accepts none or saves nothing. Its time is
 * that of the quickest of `repeats` runs, because coding is short and all other work only delays it; the others tell the
 * spread.
 */
export async function codeCrossing(
  tensors: Tensors,
  codec: Codec,
  repeats: number,
  clock: Clock,
  call: Call,
): Promise<CodedCrossing | undefined> {
  const codecs: Record<string, string> = {};
  const arrived = new Map(tensors);
  const raw = rawCrossing(tensors);
  let { bytes } = raw;
  let [encodeMs, decodeMs] = [0, 0];
  const encodeRunsMs = Array.from({ length: repeats }, () => 0);
  const decodeRunsMs = Array.from({ length: repeats }, () => 0);
  for (const [name, tensor] of tensors) {
    if (!codec.accepts(tensor.spec)) continue;
    const coded = await timedCoding(tensor, codec, repeats, clock, call);
    codecs[name] = codec.id;
    bytes += codedBytes(coded.encoded) - tensor.bytes.byteLength - (tensor.rows?.byteLength ?? 0);
    encodeMs += Math.min(...coded.encodeRunsMs);
    decodeMs += Math.min(...coded.decodeRunsMs);
    for (let run = 0; run < repeats; run++) {
      encodeRunsMs[run] = (encodeRunsMs[run] ?? 0) + (coded.encodeRunsMs[run] ?? 0);
      decodeRunsMs[run] = (decodeRunsMs[run] ?? 0) + (coded.decodeRunsMs[run] ?? 0);
    }
    arrived.set(name, coded.decoded);
  }
  if (Object.keys(codecs).length === 0 || bytes >= raw.bytes) return undefined;
  return {
    codecs,
    bytes,
    encodeMs,
    decodeMs,
    encodeRunsMs,
    decodeRunsMs,
    lossless: codec.lossless,
    arrived,
    squares: squaresOf(tensors, arrived, new Set(Object.keys(codecs))),
  };
}

function codedBytes(encoded: Encoded): number {
  return encoded.bytes.byteLength + (encoded.rows?.byteLength ?? 0);
}

async function timedCoding(
  tensor: Tensor,
  codec: Codec,
  repeats: number,
  clock: Clock,
  call: Call,
): Promise<{
  readonly encoded: Encoded;
  readonly decoded: Tensor;
  readonly encodeRunsMs: readonly number[];
  readonly decodeRunsMs: readonly number[];
}> {
  const encodeRunsMs: number[] = [];
  const decodeRunsMs: number[] = [];
  for (;;) {
    let began = clock.nowMs();
    const encoded = await codec.encode(tensor, call);
    encodeRunsMs.push(clock.nowMs() - began);
    began = clock.nowMs();
    const decoded = await codec.decode(encoded, call);
    decodeRunsMs.push(clock.nowMs() - began);
    if (encodeRunsMs.length >= repeats) return { encoded, decoded, encodeRunsMs, decodeRunsMs };
  }
}

/** One coding over several samples: mean bytes and times, their spread, mean agreement, and the error of all together. */
export function meanCoding(coded: readonly CodedCrossing[], agreements: readonly number[]): CodingProfile {
  const errorRatio = errorRatioOf(coded.map((one) => one.squares));
  const encodeSpreadMs = spreadOf(coded.map((one) => one.encodeRunsMs));
  const decodeSpreadMs = spreadOf(coded.map((one) => one.decodeRunsMs));
  return {
    codecs: coded[0]?.codecs ?? {},
    bytes: Math.round(meanOrZero(coded.map((one) => one.bytes))),
    encodeMs: meanOrZero(coded.map((one) => one.encodeMs)),
    decodeMs: meanOrZero(coded.map((one) => one.decodeMs)),
    ...(encodeSpreadMs && { encodeSpreadMs }),
    ...(decodeSpreadMs && { decodeSpreadMs }),
    ...(errorRatio !== undefined && { errorRatio }),
    agreementRatio: meanOrZero(agreements),
    lossless: coded.every((one) => one.lossless),
  };
}

/** 0 of none. */
export function meanOrZero(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / Math.max(1, values.length);
}

/**
 * Quantile values of the runs of all samples, but for the very first, which warms. Three digits: profiles travel, and there
 * are many codings in one.
 */
function spreadOf(runs: readonly (readonly number[])[]): readonly number[] | undefined {
  const all = runs.flat();
  if (all.length === 0) return undefined;
  const { values } = estimateOf(all.slice(all.length > 1 ? 1 : 0), { observedAtMs: 0, origin: "measured" });
  return Array.from(values, (value) => Number(value.toPrecision(3)));
}
