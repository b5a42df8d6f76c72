import { bytesTensor, float32Tensor, float32View, type Tensor, tensorsOf } from "@longshore/core";
import { int32View } from "@longshore/core/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeWav } from "./decode-wav.ts";
import { frameAudio } from "./frame-audio.ts";
import { resampled } from "./resampled.ts";

interface WavParts {
  readonly format?: number;
  readonly channels?: number;
  readonly rate?: number;
  readonly bits?: number;
  readonly dataLength?: number;
  readonly before?: Uint8Array;
}

function chunk(name: string, body: Uint8Array, length: number = body.byteLength): Uint8Array {
  const out = new Uint8Array(8 + body.byteLength + (body.byteLength & 1));
  out.set(new TextEncoder().encode(name));
  new DataView(out.buffer).setUint32(4, length, true);
  out.set(body, 8);
  return out;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A RIFF WAVE file with the given raw samples. */
function wav(data: Uint8Array, parts: WavParts = {}): Uint8Array {
  const { format = 1, channels = 1, rate = 16_000, bits = 16, dataLength, before } = parts;
  const head = new DataView(new ArrayBuffer(16));
  head.setUint16(0, format, true);
  head.setUint16(2, channels, true);
  head.setUint32(4, rate, true);
  head.setUint32(8, (rate * channels * bits) / 8, true);
  head.setUint16(12, (channels * bits) / 8, true);
  head.setUint16(14, bits, true);
  const body = joined(
    new TextEncoder().encode("WAVE"),
    chunk("fmt ", new Uint8Array(head.buffer)),
    before ?? new Uint8Array(0),
    chunk("data", data, dataLength),
  );
  return chunk("RIFF", body);
}

function decode(
  file: Uint8Array,
  parameters: unknown = {},
): { samples: readonly number[]; rate: number | undefined } {
  const out = decodeWav.run(
    tensorsOf(bytesTensor("bytes", [file])),
    decodeWav.parse(parameters),
  ) as ReadonlyMap<string, Tensor>;
  return { samples: [...float32View(out.get("samples")!)], rate: int32View(out.get("rate")!)[0] };
}

const bytesFrom = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
const broken = expect.objectContaining({ reason: "invalid-media" }) as Error;

describe("decode-wav", () => {
  it("reads PCM of 8, 16, 24 and 32 bits and floats of 32 and 64", () => {
    expect(decode(wav(Uint8Array.of(0, 128, 192), { bits: 8 })).samples).toEqual([-1, 0, 0.5]);
    expect(decode(wav(bytesFrom(Int16Array.of(-32_768, 0, 16_384)))).samples).toEqual([-1, 0, 0.5]);
    const three = Uint8Array.of(0, 0, 0x80, 0, 0, 0, 0, 0, 0x40, 0xff, 0xff, 0xff);
    expect(decode(wav(three, { bits: 24 })).samples).toEqual([-1, 0, 0.5, -1 / 8_388_608]);
    expect(decode(wav(bytesFrom(Int32Array.of(-(2 ** 31), 2 ** 30)), { bits: 32 })).samples).toEqual([
      -1, 0.5,
    ]);
    expect(decode(wav(bytesFrom(Float32Array.of(-1, 0.25)), { bits: 32, format: 3 })).samples).toEqual([
      -1, 0.25,
    ]);
    expect(decode(wav(bytesFrom(Float64Array.of(-1, 0.25)), { bits: 64, format: 3 })).samples).toEqual([
      -1, 0.25,
    ]);
  });

  it("mixes channels, skips other chunks, and reports the rate", () => {
    const stereo = bytesFrom(Int16Array.of(16_384, 0, -16_384, -16_384));
    const note = chunk("LIST", Uint8Array.of(1, 2, 3));
    expect(decode(wav(stereo, { channels: 2, rate: 44_100, before: note }))).toEqual({
      samples: [0.25, -0.5],
      rate: 44_100,
    });
  });

  it("reads streams that did not know their length", () => {
    const data = bytesFrom(Int16Array.of(16_384, -16_384));
    for (const dataLength of [0, 0xffffffff])
      expect(decode(wav(data, { dataLength })).samples).toEqual([0.5, -0.5]);
    expect(decode(wav(new Uint8Array(0))).samples).toEqual([]);
  });

  it("refuses broken, cut and too long sounds, and unknown formats", () => {
    const good = wav(bytesFrom(Int16Array.of(1, 2, 3, 4)));
    for (const file of [
      new Uint8Array(0),
      new TextEncoder().encode("RIFF    MP3 "),
      good.subarray(0, good.length - 2),
      good.subarray(0, 30),
      good.subarray(0, 20),
      wav(new Uint8Array(4), { format: 2 }),
      wav(new Uint8Array(4), { bits: 12 }),
      wav(new Uint8Array(4), { channels: 0 }),
      wav(new Uint8Array(4), { rate: 0 }),
      joined(new TextEncoder().encode("RIFF1234WAVE"), chunk("data", new Uint8Array(8))),
    ]) {
      expect(() => decode(file)).toThrowError(broken);
    }
    expect(() => decode(good, { maxSamples: 3 })).toThrowError(broken);
    expect(() => decode(good, { maxSamples: 5, rate: 32_000 })).toThrowError(
      expect.objectContaining({ reason: "invalid-input" }),
    );
  });

  it("only ever decodes or refuses the bytes", () => {
    const good = wav(bytesFrom(Int16Array.of(1, 2, 3, 4)));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(good.length),
        (changes, length) => {
          const file = good.slice(0, length);
          for (const [at, value] of changes) if (at < length) file[at] = value;
          try {
            expect(decode(file).samples.length).toBeLessThanOrEqual(8);
          } catch (error) {
            expect((error as { reason: string }).reason).toBe("invalid-media");
          }
        },
      ),
    );
  });
});

describe("resampling", () => {
  const tone = (hertz: number, rate: number, seconds: number): Float32Array =>
    Float32Array.from({ length: rate * seconds }, (_, index) =>
      Math.sin((2 * Math.PI * hertz * index) / rate),
    );

  it.each([
    [44_100, 16_000, 1000],
    [8000, 16_000, 1000],
    [48_000, 16_000, 3000],
    [16_000, 16_001, 440],
  ])("%i to %i samples per second keeps a tone of %i Hz", (from, to, hertz) => {
    const { samples, rate } = resampled({ samples: tone(hertz, from, 0.25), rate: from }, to);
    expect(rate).toBe(to);
    expect(samples.length).toBe(Math.ceil(0.25 * to));
    const wanted = tone(hertz, to, 0.25);
    for (let index = 200; index < samples.length - 200; index++) {
      expect(Math.abs((samples[index] ?? NaN) - (wanted[index] ?? NaN))).toBeLessThan(2e-3);
    }
  });

  it("takes away a tone that the lower rate cannot carry", () => {
    const { samples } = resampled({ samples: tone(15_000, 48_000, 0.25), rate: 48_000 }, 16_000);
    for (const sample of samples.subarray(100, -100)) expect(Math.abs(sample)).toBeLessThan(1e-3);
  });

  it("keeps a constant exactly that, away from the ends", () => {
    const { samples } = resampled({ samples: new Float32Array(500).fill(0.5), rate: 22_050 }, 16_000);
    for (const sample of samples.subarray(40, -40)) expect(sample).toBeCloseTo(0.5, 6);
  });

  it("does nothing at the same rate", () => {
    const sound = { samples: tone(100, 8000, 0.1), rate: 8000 };
    expect(resampled(sound, 8000)).toEqual(sound);
  });
});

describe("frame-audio", () => {
  const frames = (count: number, parameters: unknown): readonly (readonly number[])[] => {
    const samples = float32Tensor(
      "samples",
      [count],
      Float32Array.from({ length: count }, (_, index) => index + 1),
    );
    const out = frameAudio.run(tensorsOf(samples), frameAudio.parse(parameters)) as ReadonlyMap<
      string,
      Tensor
    >;
    const tensor = out.get("frames")!;
    const [rows = 0, width = 0] = tensor.spec.shape;
    const values = [...float32View(tensor)];
    return Array.from({ length: rows }, (_, row) => values.slice(row * width, (row + 1) * width));
  };

  it("cuts windows, each led by the samples before it", () => {
    expect(frames(7, { size: 3 })).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(frames(6, { size: 3, context: 2 })).toEqual([
      [0, 0, 1, 2, 3],
      [2, 3, 4, 5, 6],
    ]);
    expect(frames(5, { size: 3, hop: 1 })).toEqual([
      [1, 2, 3],
      [2, 3, 4],
      [3, 4, 5],
    ]);
  });

  it("drops or pads the rest", () => {
    expect(frames(2, { size: 3 })).toEqual([]);
    expect(frames(0, { size: 3, tail: "pad" })).toEqual([]);
    expect(frames(4, { size: 3, tail: "pad" })).toEqual([
      [1, 2, 3],
      [4, 0, 0],
    ]);
    expect(frames(4, { size: 3, hop: 2, tail: "pad", context: 1 })).toEqual([
      [0, 1, 2, 3],
      [2, 3, 4, 0],
    ]);
  });

  it("padded windows hold every sample", () => {
    fc.assert(
      fc.property(
        fc.nat(40),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (count, size, hop) => {
          const held = new Set(frames(count, { size, hop: Math.min(hop, size), tail: "pad" }).flat());
          held.delete(0);
          expect(held.size).toBe(count);
        },
      ),
    );
  });

  it("refuses more than its limit, and parameters out of range", () => {
    expect(() => frames(10, { size: 2, hop: 1, maxElements: 5 })).toThrowError(
      expect.objectContaining({ reason: "invalid-input" }),
    );
    expect(() => frameAudio.parse({ size: 0 })).toThrowError(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
    expect(() => frameAudio.parse({})).toThrowError(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
  });
});
