import { LongshoreError } from "@longshore/core";

/** A sound in memory: one channel, values from -1 to 1. */
export interface Sound {
  readonly samples: Float32Array;
  /** Samples per second. */
  readonly rate: number;
}

/** How the samples of a WAV file are laid out. */
interface Layout {
  readonly kind: "integer" | "float";
  readonly channels: number;
  readonly rate: number;
  readonly bits: number;
}

function broken(message: string): LongshoreError {
  return new LongshoreError("invalid-media", "execute", `WAV: ${message}`);
}

const integerFormat = 1;
const floatFormat = 3;
const extensibleFormat = 0xfffe;

function readLayout(view: DataView, at: number, length: number): Layout {
  if (length < 16) throw broken(`its format chunk has ${length} bytes; 16 or more are needed`);
  const tag = view.getUint16(at, true);
  const format = tag === extensibleFormat && length >= 26 ? view.getUint16(at + 24, true) : tag;
  const channels = view.getUint16(at + 2, true);
  const rate = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  const kind = format === integerFormat ? "integer" : format === floatFormat ? "float" : undefined;
  const possible = kind === "float" ? [32, 64] : [8, 16, 24, 32];
  if (!kind || !possible.includes(bits)) {
    throw broken(
      `format ${format} with ${bits} bits is not read; PCM of 8, 16, 24, 32 bits and float of 32, 64 are`,
    );
  }
  if (channels < 1 || channels > 64) throw broken(`it says ${channels} channels; 1 to 64 are read`);
  if (rate < 1 || rate > 1_000_000)
    throw broken(`it says ${rate} samples per second; 1 to 1,000,000 are read`);
  return { kind, channels, rate, bits };
}

/** The function that reads one sample as -1..1. PCM of 8 bits is unsigned, all other PCM signed, by the format's rule. */
function reader(view: DataView, { kind, bits }: Layout): (at: number) => number {
  if (kind === "float")
    return bits === 32 ? (at) => view.getFloat32(at, true) : (at) => view.getFloat64(at, true);
  switch (bits) {
    case 8:
      return (at) => (view.getUint8(at) - 128) / 128;
    case 16:
      return (at) => view.getInt16(at, true) / 32_768;
    case 24:
      return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65_536) / 8_388_608;
    default:
      return (at) => view.getInt32(at, true) / 2_147_483_648;
  }
}

/**
 * Reads a RIFF WAVE file. Channels are mixed by their mean. A data chunk of length 0 or 0xffffffff, as programs write that
 * stream, takes the rest of the file; any other length that runs past the end is a broken file. Throws `invalid-media`,
 * also when there are more than `maxSamples` per channel.
 */
export function readWav(bytes: Uint8Array, maxSamples: number): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): string =>
    at + 4 <= bytes.byteLength ? String.fromCharCode(...bytes.subarray(at, at + 4)) : "";
  if (word(0) !== "RIFF" || word(8) !== "WAVE") throw broken("the file does not begin with RIFF and WAVE");
  let layout: Layout | undefined;
  let at = 12;
  while (at + 8 <= bytes.byteLength) {
    const chunk = word(at);
    const length = view.getUint32(at + 4, true);
    const body = at + 8;
    const rest = bytes.byteLength - body;
    if (chunk === "data") {
      if (!layout) throw broken("its data comes before its format");
      const streamed = length === 0xffffffff || (length === 0 && rest > 0);
      if (!streamed && length > rest) throw broken(`it says ${length} bytes of sound but ${rest} are there`);
      return readSamples(view, body, streamed ? rest : length, layout, maxSamples);
    }
    if (length > rest) break;
    if (chunk === "fmt ") layout = readLayout(view, body, length);
    at = body + length + (length & 1);
  }
  throw broken("the file ends before its sound begins");
}

function readSamples(
  view: DataView,
  begin: number,
  length: number,
  layout: Layout,
  maxSamples: number,
): Sound {
  const { channels, bits, rate } = layout;
  const width = bits / 8;
  const count = Math.floor(length / (width * channels));
  if (count > maxSamples)
    throw broken(`it holds ${count} samples per channel; at most ${maxSamples} are read`);
  const read = reader(view, layout);
  const samples = new Float32Array(count);
  for (let index = 0, at = begin; index < count; index++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++, at += width) sum += read(at);
    samples[index] = sum / channels;
  }
  return { samples, rate };
}
