import type { Call, Clock, Codec, CodingProfile, Encoded, Tensor, Tensors } from "@longshore/core";

/** A crossing under one codec: what travels, how long coding takes, and what arrives. */
export interface CodedCrossing {
  readonly codecs: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  readonly lossless: boolean;
  readonly arrived: Tensors;
}

/** The crossing as it is. */
export function rawCrossing(tensors: Tensors): CodedCrossing {
  let bytes = 0;
  for (const tensor of tensors.values()) bytes += tensor.bytes.byteLength + (tensor.rows?.byteLength ?? 0);
  return { codecs: {}, bytes, encodeMs: 0, decodeMs: 0, lossless: true, arrived: tensors };
}

/**
 * Codes a crossing by one codec, every tensor that it accepts; undefined when it accepts none or saves nothing. The times
 * are of the last of `repeats` runs at the least: the fastest, because coding is short and everything else only delays.
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
  for (const [name, tensor] of tensors) {
    if (!codec.accepts(tensor.spec)) continue;
    const coded = await timedCoding(tensor, codec, repeats, clock, call);
    codecs[name] = codec.id;
    bytes += codedBytes(coded.encoded) - tensor.bytes.byteLength - (tensor.rows?.byteLength ?? 0);
    encodeMs += coded.encodeMs;
    decodeMs += coded.decodeMs;
    arrived.set(name, coded.decoded);
  }
  if (Object.keys(codecs).length === 0 || bytes >= raw.bytes) return undefined;
  return { codecs, bytes, encodeMs, decodeMs, lossless: codec.lossless, arrived };
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
  readonly encodeMs: number;
  readonly decodeMs: number;
}> {
  let began = clock.nowMs();
  let encoded = await codec.encode(tensor, call);
  let encodeMs = clock.nowMs() - began;
  began = clock.nowMs();
  let decoded = await codec.decode(encoded, call);
  let decodeMs = clock.nowMs() - began;
  for (let repeat = 1; repeat < repeats; repeat++) {
    began = clock.nowMs();
    encoded = await codec.encode(tensor, call);
    encodeMs = Math.min(encodeMs, clock.nowMs() - began);
    began = clock.nowMs();
    decoded = await codec.decode(encoded, call);
    decodeMs = Math.min(decodeMs, clock.nowMs() - began);
  }
  return { encoded, decoded, encodeMs, decodeMs };
}

/** One coding over several samples: mean bytes and times, mean agreement. */
export function meanCoding(coded: readonly CodedCrossing[], agreements: readonly number[]): CodingProfile {
  const mean = (values: readonly number[]): number =>
    values.reduce((total, value) => total + value, 0) / Math.max(1, values.length);
  return {
    codecs: coded[0]?.codecs ?? {},
    bytes: Math.round(mean(coded.map((one) => one.bytes))),
    encodeMs: mean(coded.map((one) => one.encodeMs)),
    decodeMs: mean(coded.map((one) => one.decodeMs)),
    agreementRatio: mean(agreements),
    lossless: coded.every((one) => one.lossless),
  };
}
