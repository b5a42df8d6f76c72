import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, housekeepingCall, LongshoreError, seededRandom } from "../base/index.ts";
import { float32Tensor, float32View } from "../tensor/index.ts";
import { decodeLevels, encodeLevels } from "./entropy.ts";
import { encodePrefix, lengthsFor } from "./huffman.ts";
import {
  type Codec,
  type Encoded,
  int8ChannelCodec,
  int8ChannelEntropyCodec,
  int8Codec,
  int8EntropyCodec,
} from "./index.ts";
import { bitsOf } from "./predict.ts";
import { quantisedSource } from "./quantised-source.ts";
import { decodeSymbols, encodeSymbols, slack } from "./tans.ts";

const call = housekeepingCall("entropy");
const entropy = int8EntropyCodec();
const channelEntropy = int8ChannelEntropyCodec();
const codecs: readonly Codec[] = [entropy, int8ChannelCodec, channelEntropy];

async function back(levels: Uint8Array, zero: number): Promise<{ body: Uint8Array; out: Uint8Array }> {
  const source = quantisedSource(Float32Array.from(levels), { least: 0, most: 255 }, { scale: 1, zero: 0 });
  const body = await encodeLevels(source, zero);
  const out = new Uint8Array(levels.length);
  expect(await decodeLevels(body, out, zero)).toBeUndefined();
  return { body, out };
}

/** Levels of many kinds: any, few values, slow waves, nearly all equal, across the border of two chunks. */
const levelsOf = fc
  .tuple(fc.integer(), fc.nat({ max: 4 }), fc.nat({ max: 400 }), fc.boolean())
  .map(([seed, kind, size, large]) => {
    const random = seededRandom(seed);
    const count = large ? 65_536 + size * 3 : size;
    return Uint8Array.from({ length: count }, (_, index) => {
      const draw = random.next();
      if (kind === 0) return draw * 256;
      if (kind === 1) return draw * 3;
      if (kind === 2) return 128 + 100 * Math.sin(index / 40) + 4 * draw;
      if (kind === 3) return draw < 0.97 ? 7 : draw * 256;
      return index < count / 2 ? 9 : draw * 256;
    });
  });

describe("levels", () => {
  it("come back as they were, whatever they are, and never longer", async () => {
    await fc.assert(
      fc.asyncProperty(levelsOf, fc.nat({ max: 255 }), async (levels, zero) => {
        const { body, out } = await back(levels, zero);
        expect(Buffer.compare(out, levels)).toBe(0);
        expect(body.length).toBeLessThanOrEqual(levels.length);
      }),
      { numRuns: 150 },
    );
  });

  it("take a prefix code within 2 % of the least possible, or a table where that is better", async () => {
    const random = seededRandom(5);
    for (const [spreadOf, first] of [
      [20, 2],
      [0.3, 11],
    ] as const) {
      const levels = Uint8Array.from({ length: 40_000 }, () => Math.round(128 + spreadOf * gaussian(random)));
      const histogram = new Uint32Array(256);
      for (const level of levels) histogram[level]!++;
      const { body } = await back(levels, 128);
      expect(body[0]).toBe(0);
      if (first === 2) expect(body[1]).toBe(2);
      else expect(body[1]).toBeGreaterThan(4);
      expect(body.length).toBeLessThan((bitsOf(histogram) / 8) * 1.02 + 120);
    }
  });

  it("limits the codes of symbols that are very rare", () => {
    const histogram = new Uint32Array(256);
    for (let symbol = 0; symbol < 25; symbol++) histogram[symbol] = 2 ** symbol;
    const { lengths } = lengthsFor(histogram);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(12);
    const space = [...lengths].reduce((sum, length) => sum + (length > 0 ? 2 ** -length : 0), 0);
    expect(space).toBe(1);
    expect(encodePrefix(new Uint8Array(16), lengthsFor(histogram), new Uint8Array(400), 0)).toBe(-1);
  });

  it("have a table for any frequencies of two symbols or more", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 255 }), { minLength: 2, maxLength: 3000 }), (list) => {
        const symbols = Uint8Array.from([0, 255, ...list]);
        const histogram = new Uint32Array(256);
        for (const symbol of symbols) histogram[symbol]!++;
        const out = new Uint8Array(symbols.length + slack);
        const end = encodeSymbols(symbols, histogram, out, 0);
        if (end < 0) return;
        const decoded = new Uint8Array(symbols.length);
        expect(decodeSymbols(out.subarray(0, end), 0, decoded)).toBe(end);
        expect(decoded).toEqual(symbols);
      }),
    );
  });

  it("let others have their turn while a large tensor is coded", async () => {
    let turns = 0;
    const breathing = int8EntropyCodec({ breathe: () => Promise.resolve(void turns++) });
    const values = Float32Array.from({ length: 600_000 }, (_, index) => Math.sin(index / 50));
    const encoded = await breathing.encode(float32Tensor("x", [600_000], values), call);
    expect(turns).toBe(2);
    await breathing.decode(encoded, call);
    expect(turns).toBe(4);
  });
});

/** Tensors of three axes: waves of a strength for each channel, some rectified, some with NaN or infinities, some empty. */
const tensors = fc
  .tuple(fc.integer(), fc.nat({ max: 2 }), fc.nat({ max: 9 }), fc.nat({ max: 60 }), fc.nat({ max: 5 }))
  .map(([seed, batch, channels, run, kind]) => {
    const random = seededRandom(seed);
    const values = Float32Array.from({ length: batch * channels * run }, (_, index) => {
      const channel = Math.floor(index / Math.max(1, run)) % Math.max(1, channels);
      const wave = 10 ** (channel - 4) * (Math.sin(index / 7) + 0.1 * random.next());
      if (kind === 1) return Math.max(0, wave);
      if (kind === 2) return 3;
      if (kind === 3 && index === 5) return random.next() < 0.5 ? NaN : -Infinity;
      if (kind === 4) return wave * 1e35;
      return kind === 5 ? wave * 1e-38 : wave;
    });
    return float32Tensor("x", [batch, channels, run], values);
  });

describe("int8 by channel and under an entropy code", () => {
  it("gives any tensor back, each channel to within half of a step of its own range", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...codecs), tensors, async (codec, tensor) => {
        const decoded = await codec.decode(await codec.encode(tensor, call), call);
        expect(decoded.spec).toEqual(tensor.spec);
        const [given, got] = [float32View(tensor), float32View(decoded)];
        const [batch = 0, channels = 0, run = 0] = tensor.spec.shape;
        if (!given.every(Number.isFinite)) {
          expect(got).toEqual(given);
          return;
        }
        const whole = given.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        for (let channel = 0; channel < channels; channel++) {
          const places = Array.from({ length: batch * run }, (_, index) => {
            return (Math.floor(index / run) * channels + channel) * run + (index % run);
          });
          const own = places.reduce((most, place) => Math.max(most, Math.abs(given[place]!)), 0);
          const largest = codec === entropy ? whole : own;
          for (const place of places) {
            const error = Math.abs(got[place]! - given[place]!);
            // a step is at most twice the largest over 255; 1e-40 is below what 16 bits of a scale tell apart
            expect(error).toBeLessThanOrEqual(largest * 0.00397 + 1e-38);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it("says what int8 says", async () => {
    const random = seededRandom(11);
    const values = Float32Array.from({ length: 70_000 }, () => Math.max(0, gaussian(random)));
    const tensor = float32Tensor("x", [70_000], values);
    const coded = await entropy.encode(tensor, call);
    expect(await entropy.decode(coded, call)).toEqual(
      await int8Codec.decode(await int8Codec.encode(tensor, call), call),
    );
    expect(coded.bytes.length).toBeLessThan(70_000 * 0.6);
  });

  it("makes a tensor of the stated size or says body-mismatch of whatever was done to the bytes", async () => {
    const random = seededRandom(4);
    const values = Float32Array.from(
      { length: 3000 },
      (_, index) => Math.sin(index / 30) + 0.05 * gaussian(random),
    );
    const sparse = values.map((value) => (value > 0.9 ? value : 0));
    const bodies: { codec: Codec; encoded: Encoded }[] = [];
    for (const codec of codecs) {
      for (const one of [values, sparse]) {
        bodies.push({ codec, encoded: await codec.encode(float32Tensor("x", [2, 5, 300], one), call) });
      }
    }
    const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...bodies),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: -40, max: 40 }),
        async ({ codec, encoded }, changes, longer) => {
          const bytes = new Uint8Array(Math.max(0, encoded.bytes.length + (longer % 3 === 0 ? longer : 0)));
          bytes.set(encoded.bytes.subarray(0, bytes.length));
          // near the front lie the tables, which are worth more tries than the middle
          for (const [at, byte] of changes) bytes[at % (at % 2 === 0 ? 120 : bytes.length)] = byte;
          try {
            expect((await codec.decode({ ...encoded, bytes }, call)).bytes.byteLength).toBe(12_000);
          } catch (error) {
            if (!LongshoreError.is(error)) throw error;
            expect(error).toMatchObject({ reason: "body-mismatch" });
          }
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("refuses what would become larger than its limit, and more than its bytes can say", async () => {
    const encoded = await entropy.encode(float32Tensor("x", [4], Float32Array.of(1, 2, 3, 4)), call);
    await expect(int8EntropyCodec({ maxBytes: 15 }).decode(encoded, call)).rejects.toMatchObject({
      reason: "body-too-large",
    });
    const spec = { ...encoded.spec, shape: [60_000_000] };
    await expect(entropy.decode({ ...encoded, spec }, call)).rejects.toMatchObject({
      reason: "body-mismatch",
    });
  });

  it("takes tensors of three axes by channel, and no others", () => {
    for (const codec of [int8ChannelCodec, channelEntropy]) {
      expect(codec.accepts({ name: "x", datatype: "FP32", shape: [1, 4, 9] })).toBe(true);
      expect(codec.accepts({ name: "x", datatype: "FP32", shape: [4, 9] })).toBe(false);
      expect(codec.accepts({ name: "x", datatype: "INT64", shape: [1, 4, 9] })).toBe(false);
    }
  });
});
