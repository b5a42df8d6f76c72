import { inflateRawSync } from "node:zlib";
import { memoryCompressor } from "@longshore/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, housekeepingCall, LongshoreError, seededRandom } from "../base/index.ts";
import { float32Tensor, float32View } from "../tensor/index.ts";
import type { Codec, Encoded } from "./codec.ts";
import { int8ChannelCodec, int8ChannelDeflateCodec } from "./int8-channel.ts";
import { int8Codec } from "./int8.ts";
import { int8DeflateCodec } from "./int8-deflate.ts";

const call = housekeepingCall("deflate");
const compressor = memoryCompressor();
const deflate = int8DeflateCodec({ compressor });
const channelDeflate = int8ChannelDeflateCodec({ compressor });
const codecs: readonly Codec[] = [deflate, int8ChannelCodec, channelDeflate];

describe("int8 without a compressor that deflates", () => {
  it("sends the levels as they are, which any other reads", async () => {
    const plain = int8DeflateCodec({ compressor: { inflate: memoryCompressor().inflate } });
    const values = Float32Array.from({ length: 600 }, (_, index) => Math.sin(index / 50));
    const encoded = await plain.encode(float32Tensor("x", [600], values), call);
    expect(encoded.bytes.byteLength).toBe(600);
    const decoded = await deflate.decode(encoded, call);
    expect(decoded).toEqual(
      await int8Codec.decode(await int8Codec.encode(float32Tensor("x", [600], values), call), call),
    );
  });
});

describe("the body of deflated levels", () => {
  it("is raw deflate of the differences between neighbours, the first from 0", async () => {
    const values = Float32Array.from({ length: 256 }, (_, level) => level);
    const { bytes, parameters } = await deflate.encode(float32Tensor("x", [256], values), call);
    expect(parameters).toEqual({ scale: 1, zeroPoint: -128 });
    expect([...inflateRawSync(bytes)]).toEqual([0, ...Array.from({ length: 255 }, () => 1)]);
  });

  it("is the levels where deflating saves nothing", async () => {
    const random = seededRandom(8);
    const values = Float32Array.from({ length: 900 }, () => random.next());
    const encoded = await deflate.encode(float32Tensor("x", [900], values), call);
    expect(encoded.bytes.byteLength).toBe(900);
    const fewValues = await deflate.encode(float32Tensor("x", [3], Float32Array.of(7, 7, 7)), call);
    expect(fewValues.bytes.byteLength).toBe(3);
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

describe("int8 by channel and deflated", () => {
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
          const largest = codec === deflate ? whole : own;
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

  it("gives the values of int8", async () => {
    const random = seededRandom(11);
    const values = Float32Array.from({ length: 70_000 }, (_, index) =>
      Math.max(0, Math.sin(index / 30) + 0.02 * gaussian(random)),
    );
    const tensor = float32Tensor("x", [70_000], values);
    const coded = await deflate.encode(tensor, call);
    expect(await deflate.decode(coded, call)).toEqual(
      await int8Codec.decode(await int8Codec.encode(tensor, call), call),
    );
    expect(coded.bytes.length).toBeLessThan(70_000 * 0.6);
  });

  it("makes a tensor of the stated size or says body-mismatch for any changed bytes", async () => {
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

  it("refuses bytes that would inflate beyond the limit, and more values than its bytes can hold", async () => {
    const encoded = await deflate.encode(float32Tensor("x", [4], Float32Array.of(1, 2, 3, 4)), call);
    await expect(int8DeflateCodec({ compressor, maxBytes: 15 }).decode(encoded, call)).rejects.toMatchObject({
      reason: "body-too-large",
    });
    const spec = { ...encoded.spec, shape: [60_000_000] };
    await expect(deflate.decode({ ...encoded, spec }, call)).rejects.toMatchObject({
      reason: "body-mismatch",
    });
  });

  it("takes tensors of three axes by channel, and no others", () => {
    for (const codec of [int8ChannelCodec, channelDeflate]) {
      expect(codec.accepts({ name: "x", datatype: "FP32", shape: [1, 4, 9] })).toBe(true);
      expect(codec.accepts({ name: "x", datatype: "FP32", shape: [4, 9] })).toBe(false);
      expect(codec.accepts({ name: "x", datatype: "INT64", shape: [1, 4, 9] })).toBe(false);
    }
  });
});
