import { bytesOf, float32View, type Tensor, type TensorSpec } from "../tensor/index.ts";
import type { Codec, Encoded } from "./codec.ts";
import { decodedTensor, encodedAs, codingMismatch, statedCount } from "./counts.ts";
import { affineOf, finiteRange, largest, quantiseInto } from "./eight-bits.ts";
import { decodedPlain, plainly } from "./plain.ts";
import { type DeflateOptions, packLevels, unpackLevels } from "./levels.ts";

/*
 * Levels with a scale and a zero level for each channel, the second axis (of [batch, channels, height, width] and of
 * [batch, steps, features]): channels differ in range by orders of magnitude, and with one scale for all the quiet ones have few
 * levels left. The body begins with the scale of each channel in 16 bits (the upper half of an FP32, rounded up, little
 * endian), then the zero level of each in a byte, then the levels as bytes, value = (level - zero) * scale.
 */

/** Runs of values of one channel: those of channel c are `batch` runs of `run` values, `channels * run` apart. */
interface Channels {
  readonly batch: number;
  readonly channels: number;
  readonly run: number;
}

const bytesPerChannel = 3;

function accepts({ datatype, shape, ragged }: TensorSpec): boolean {
  return datatype === "FP32" && shape.length >= 3 && ragged !== true;
}

function channelsOf({ shape }: TensorSpec): Channels {
  const [batch = 0, channels = 0, ...inner] = shape;
  return { batch, channels, run: inner.reduce((product, size) => product * size, 1) };
}

/** An FP32 that 16 bits hold, from the value up. */
function roundedUp(scale: number): number {
  const bits = new Uint32Array(Float32Array.of(scale).buffer);
  // a scale below the smallest FP32 has become 0
  const rounded = Math.max(1, ((bits[0] as number) + 0xffff) >>> 16);
  return fromUpperHalf(
    Math.fround(scale) < scale && ((bits[0] as number) & 0xffff) === 0 ? rounded + 1 : rounded,
  );
}

function fromUpperHalf(half: number): number {
  return new Float32Array(Uint32Array.of(half << 16).buffer)[0] as number;
}

function upperHalf(scale: number): number {
  return (new Uint32Array(Float32Array.of(scale).buffer)[0] as number) >>> 16;
}

/** The parameters of the levels, as they travel, and the levels; undefined when a value is not finite. */
function quantisedChannels(
  values: Float32Array,
  { batch, channels, run }: Channels,
): { readonly head: Uint8Array; readonly levels: Uint8Array } | undefined {
  const head = new Uint8Array(channels * bytesPerChannel);
  const levels = new Uint8Array(values.length);
  for (let channel = 0; channel < channels; channel++) {
    let [least, most] = [0, 0];
    for (let element = 0; element < batch; element++) {
      const from = (element * channels + channel) * run;
      const range = finiteRange(values.subarray(from, from + run));
      if (!range) return undefined;
      least = Math.min(least, range.least);
      most = Math.max(most, range.most);
    }
    const scale = roundedUp(affineOf({ least, most }).scale);
    const zero = Math.round(-least / scale);
    const half = upperHalf(scale);
    head[2 * channel] = half;
    head[2 * channel + 1] = half >> 8;
    head[2 * channels + channel] = zero;
    for (let element = 0; element < batch; element++) {
      const from = (element * channels + channel) * run;
      quantiseInto(levels, values, { from, to: from + run, factor: 1 / scale, shift: zero, flip: 0 });
    }
  }
  return { head, levels };
}

function valuesOf(encoded: Encoded, levels: Uint8Array): Tensor {
  const { bytes, spec } = encoded;
  const { batch, channels, run } = channelsOf(spec);
  const out = new Float32Array(levels.length);
  for (let channel = 0; channel < channels; channel++) {
    const half = (bytes[2 * channel] as number) + (bytes[2 * channel + 1] as number) * 256;
    const zero = bytes[2 * channels + channel] as number;
    const scale = fromUpperHalf(half);
    if (!(scale > 0 && scale < Infinity))
      throw codingMismatch(encoded, `channel ${channel} has the scale ${scale}`);
    // rounding up to a level must not turn what was finite into an infinity
    const careful = scale * 255 > largest;
    for (let element = 0; element < batch; element++) {
      const from = (element * channels + channel) * run;
      for (let index = from; index < from + run; index++) {
        const value = ((levels[index] as number) - zero) * scale;
        out[index] = careful ? Math.min(Math.max(value, -largest), largest) : value;
      }
    }
  }
  return decodedTensor(encoded, bytesOf(out));
}

function headBytes(encoded: Encoded): number {
  if (!accepts(encoded.spec)) throw codingMismatch(encoded, "it makes FP32 of three axes or more");
  // checks that the sizes are sane before they are multiplied
  statedCount(encoded);
  const head = (encoded.spec.shape[1] ?? 0) * bytesPerChannel;
  if (encoded.bytes.byteLength < head) throw codingMismatch(encoded, "the scales of its channels are cut");
  return head;
}

function withHead(head: Uint8Array, levels: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(head.length + levels.length);
  bytes.set(head);
  bytes.set(levels, head.length);
  return bytes;
}

/**
 * Affine quantisation with a scale and a zero level for each channel, the second of three axes or more. Errs by at most half
 * of the channel's scale, its range over 255 and up to 0.8 % more. Tensors with NaN or infinities travel as FP32 (`plain`).
 */
export const int8ChannelCodec: Codec = {
  id: "int8-channel",
  lossless: false,
  accepts,
  async encode(tensor) {
    const quantised = quantisedChannels(float32View(tensor), channelsOf(tensor.spec));
    if (!quantised) return plainly("int8-channel", tensor);
    return encodedAs("int8-channel", tensor, withHead(quantised.head, quantised.levels), {});
  },
  async decode(encoded) {
    const plain = decodedPlain(encoded);
    if (plain) return plain;
    const head = headBytes(encoded);
    const count = statedCount(encoded);
    if (encoded.bytes.byteLength !== head + count) {
      throw codingMismatch(encoded, `${count} levels with their scales take ${head + count} bytes`);
    }
    return valuesOf(encoded, encoded.bytes.subarray(head));
  },
};

/** `int8-channel` whose levels are deflated as those of `int8-deflate`. */
export function int8ChannelDeflateCodec(options: DeflateOptions): Codec {
  const id = "int8-channel-deflate";
  return {
    id,
    lossless: false,
    accepts,
    async encode(tensor) {
      const quantised = quantisedChannels(float32View(tensor), channelsOf(tensor.spec));
      if (!quantised) return plainly(id, tensor);
      const body = await packLevels(quantised.levels, options.compressor);
      return encodedAs(id, tensor, withHead(quantised.head, body), {});
    },
    async decode(encoded) {
      const plain = decodedPlain(encoded);
      if (plain) return plain;
      return valuesOf(encoded, await unpackLevels(encoded, headBytes(encoded), options));
    },
  };
}
