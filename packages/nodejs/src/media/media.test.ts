import {
  bytesTensor,
  codecSet,
  float32Tensor,
  numericTensor,
  rawCodec,
  type Tensor,
  tensorsOf,
} from "@longshore/core";
import { decodeCrossing, encodeCrossing, housekeepingCall, joinElements } from "@longshore/core/internal";
import { type Transform, transformSet } from "@longshore/engine";
import fc from "fast-check";
import sharp, { type Sharp } from "sharp";
import { describe, expect, it } from "vitest";
import { jpegCodec, mediaTransforms, webpCodec } from "./index.ts";

const call = housekeepingCall("media");
const transforms = transformSet(...mediaTransforms());

function transform(name: string): Transform<unknown> {
  const found = transforms.get(name);
  if (!found) throw new Error(`${name} is missing`);
  return found;
}

async function decoded(file: Uint8Array, parameters: unknown = {}): Promise<Tensor> {
  const decode = transform("decode-image");
  const outputs = await decode.run(tensorsOf(bytesTensor("bytes", [file])), decode.parse(parameters));
  const image = outputs.get("image");
  if (!image) throw new Error("no image");
  return image;
}

/** Red, green / blue, white. */
const four = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255);
const quad = (): Sharp => sharp(four, { raw: { width: 2, height: 2, channels: 3 } });

/** A smooth picture, as photographs are: waves in each channel. */
function smooth(height: number, width: number): Uint8Array {
  const data = new Uint8Array(height * width * 3);
  for (let index = 0; index < data.length; index++) {
    const pixel = Math.floor(index / 3);
    const wave = Math.sin((pixel % width) / 9 + (index % 3)) + Math.cos(Math.floor(pixel / width) / 7);
    data[index] = 128 + 60 * wave;
  }
  return data;
}

function worstDifference(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((worst, value, index) => Math.max(worst, Math.abs(value - (b[index] ?? 0))), 0);
}

describe("decode-image", () => {
  it("reads PNG and lossless WebP exactly, and JPEG closely", async () => {
    for (const file of [await quad().png().toBuffer(), await quad().webp({ lossless: true }).toBuffer()]) {
      const image = await decoded(file);
      expect(image.spec).toEqual({ name: "image", datatype: "UINT8", shape: [2, 2, 3] });
      expect([...image.bytes]).toEqual([...four]);
    }
    const photo = smooth(64, 48);
    const jpeg = await sharp(photo, { raw: { width: 48, height: 64, channels: 3 } })
      .jpeg({ quality: 95 })
      .toBuffer();
    expect(worstDifference((await decoded(jpeg)).bytes, photo)).toBeLessThan(24);
  });

  it("turns pictures upright by their EXIF orientation", async () => {
    // 6: the camera was turned a quarter to the left, the first row is the right column
    const turned = await quad().withMetadata({ orientation: 6 }).png().toBuffer();
    expect([...(await decoded(turned)).bytes]).toEqual([0, 0, 255, 255, 0, 0, 255, 255, 255, 0, 255, 0]);
  });

  it("makes colours of grey, transparent and 16-bit pictures", async () => {
    const grey = await sharp(Uint8Array.of(7, 200), { raw: { width: 2, height: 1, channels: 1 } })
      .png()
      .toBuffer();
    expect([...(await decoded(grey)).bytes]).toEqual([7, 7, 7, 200, 200, 200]);
    const clear = Uint8Array.of(10, 20, 30, 255, 10, 20, 30, 0);
    const alpha = await sharp(clear, { raw: { width: 2, height: 1, channels: 4 } })
      .png()
      .toBuffer();
    expect([...(await decoded(alpha)).bytes]).toEqual([10, 20, 30, 255, 255, 255]);
    expect([...(await decoded(alpha, { background: 0 })).bytes]).toEqual([10, 20, 30, 0, 0, 0]);
    const deep = Uint16Array.of(0, 257 * 100, 65_535);
    const sixteen = await sharp(deep, { raw: { width: 1, height: 1, channels: 3 } })
      .toColourspace("rgb16")
      .png()
      .toBuffer();
    expect((await sharp(sixteen).metadata()).depth).toBe("ushort");
    expect([...(await decoded(sixteen)).bytes]).toEqual([0, 100, 255]);
  });

  it("makes grey when one channel is wanted", async () => {
    const image = await decoded(await quad().png().toBuffer(), { channels: 1 });
    expect(image.spec.shape).toEqual([2, 2, 1]);
    expect(image.bytes[3]).toBe(255);
  });

  it("refuses broken, cut and foreign files", async () => {
    const jpeg = await sharp(smooth(64, 64), { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    const svg = new TextEncoder().encode("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>");
    const gif = await quad().gif().toBuffer();
    const files = [jpeg.subarray(0, jpeg.length >> 1), jpeg.subarray(0, 3), svg, gif, new Uint8Array(0)];
    for (const file of files) {
      await expect(decoded(file)).rejects.toMatchObject({ reason: "invalid-media" });
    }
    const png = await quad().png().toBuffer();
    await expect(decoded(png.subarray(0, png.length - 20))).rejects.toMatchObject({
      reason: "invalid-media",
    });
  });

  it("refuses more pixels than its limit", async () => {
    const big = await sharp({ create: { width: 3000, height: 3000, channels: 3, background: "#fff" } })
      .png()
      .toBuffer();
    expect(big.byteLength).toBeLessThan(100_000);
    await expect(decoded(big, { maxPixels: 1_000_000 })).rejects.toMatchObject({ reason: "invalid-media" });
  });

  it("only ever decodes or refuses the bytes", async () => {
    const jpeg = await sharp(smooth(24, 24), { raw: { width: 24, height: 24, channels: 3 } })
      .jpeg()
      .toBuffer();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(jpeg.length - 1),
        fc.nat(255),
        fc.nat(jpeg.length),
        async (at, value, length) => {
          const file = Uint8Array.from(jpeg).subarray(0, length);
          if (at < file.length) file[at] = value;
          try {
            expect((await decoded(file, { maxPixels: 4096 })).spec.shape).toHaveLength(3);
          } catch (error) {
            expect((error as { reason: string }).reason).toBe("invalid-media");
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("refuses parameters out of range", () => {
    const refusal = expect.objectContaining({ reason: "invalid-configuration" }) as Error;
    for (const wrong of [{ channels: 2 }, { maxPixels: 0 }, { colour: true }]) {
      expect(() => transform("decode-image").parse(wrong)).toThrowError(refusal);
    }
    expect(() => transform("encode-image").parse({ quality: 0 })).toThrowError(refusal);
  });
});

describe("encode-image", () => {
  const encode = transform("encode-image");
  const image = numericTensor("image", "UINT8", [2, 2, 3], four);

  it("writes files that decode again", async () => {
    const outputs = await encode.run(tensorsOf(image), encode.parse({ format: "png" }));
    const file = outputs.get("bytes");
    expect(file?.spec).toEqual({ name: "bytes", datatype: "BYTES", shape: [1] });
    const again = await transform("decode-image").run(
      new Map([["bytes", file as Tensor]]),
      transform("decode-image").parse({}),
    );
    expect([...(again.get("image")?.bytes ?? [])]).toEqual([...four]);
  });

  it("refuses an image that the format cannot hold", async () => {
    const long = numericTensor("image", "UINT8", [1, 17_000, 3], new Uint8Array(51_000));
    await expect(encode.run(tensorsOf(long), encode.parse({ format: "webp" }))).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });
});

describe.each([jpegCodec(90), webpCodec(90)])("$id", (codec) => {
  const [height, width] = [40, 56];
  const image = numericTensor("image", "UINT8", [height, width, 3], smooth(height, width));
  const crops = joinElements(
    "crops",
    [
      numericTensor("a", "UINT8", [16, 24, 3], smooth(16, 24)),
      numericTensor("b", "UINT8", [8, 9, 3], smooth(8, 9)),
      numericTensor("c", "UINT8", [0, 9, 3], new Uint8Array(0)),
    ],
    { datatype: "UINT8", shape: [-1, -1, 3] },
  );

  it("carries an image in fewer bytes, close to the original", async () => {
    const encoded = await codec.encode(image, call);
    expect(encoded.bytes.byteLength).toBeLessThan(image.bytes.byteLength / 4);
    const back = await codec.decode(encoded, call);
    expect(back.spec).toEqual(image.spec);
    expect(worstDifference(back.bytes, image.bytes)).toBeLessThan(40);
  });

  it("carries ragged crops, each a file of its own", async () => {
    const encoded = await codec.encode(crops, call);
    const back = await codec.decode(encoded, call);
    expect(back.spec).toEqual(crops.spec);
    expect(back.rows).toEqual(crops.rows);
    expect(worstDifference(back.bytes, crops.bytes)).toBeLessThan(60);
    const none = joinElements("crops", [], { datatype: "UINT8", shape: [-1, -1, 3] });
    expect((await codec.decode(await codec.encode(none, call), call)).spec.shape).toEqual([0, -1, -1, 3]);
  });

  it("takes colour images only", () => {
    const takes = (datatype: "UINT8" | "FP32", shape: readonly number[], ragged = false): boolean =>
      codec.accepts({ name: "x", datatype, shape, ragged });
    expect(takes("UINT8", [4, 4, 3])).toBe(true);
    expect(takes("UINT8", [2, -1, -1, 3], true)).toBe(true);
    expect(takes("UINT8", [4, 4, 1])).toBe(false);
    expect(takes("UINT8", [2, 4, 4, 3])).toBe(false);
    expect(takes("FP32", [4, 4, 3])).toBe(false);
  });

  it("refuses a file that is cut, of another size, or of another format", async () => {
    const encoded = await codec.encode(image, call);
    const png = await quad().png().toBuffer();
    const wrong = [
      { bytes: encoded.bytes.subarray(0, encoded.bytes.byteLength >> 1) },
      { bytes: new Uint8Array(0) },
      { bytes: png },
      { spec: { ...image.spec, shape: [height, width - 1, 3] } },
      { spec: { ...image.spec, shape: [width, height, 3] } },
      { spec: { ...image.spec, shape: [0, width, 3] } },
      { spec: { ...image.spec, shape: [-1, width, 3] } },
    ];
    for (const change of wrong) {
      await expect(codec.decode({ ...encoded, ...change }, call)).rejects.toMatchObject({
        reason: "body-mismatch",
      });
    }
    const ragged = await codec.encode(crops, call);
    const { rows: _, ...without } = ragged;
    await expect(
      codec.decode({ ...without, spec: { ...crops.spec, shape: [3, 8, 8, 3] } }, call),
    ).rejects.toMatchObject({ reason: "body-mismatch" });
    const fewer = {
      ...ragged,
      spec: { ...crops.spec, shape: [2, -1, -1, 3] },
      rows: crops.rows!.subarray(0, 6),
    };
    await expect(codec.decode(fewer, call)).rejects.toMatchObject({ reason: "body-mismatch" });
  });

  it("refuses sizes beyond its limit before decoding", async () => {
    const encoded = await codec.encode(image, call);
    const spec = { ...image.spec, shape: [30_000, 30_000, 3] };
    await expect(codec.decode({ ...encoded, spec }, call)).rejects.toMatchObject({
      reason: "body-too-large",
    });
  });
});

describe("image codecs", () => {
  it("refuse a quality out of range and an image that the format cannot hold", async () => {
    expect(() => jpegCodec(0)).toThrowError(expect.objectContaining({ reason: "invalid-configuration" }));
    const long = numericTensor("image", "UINT8", [1, 17_000, 3], new Uint8Array(51_000));
    await expect(webpCodec(80).encode(long, call)).rejects.toMatchObject({ reason: "unsupported" });
  });

  it("go with others in a crossing", async () => {
    const image = numericTensor("image", "UINT8", [16, 16, 3], smooth(16, 16));
    const scale = float32Tensor("scale", [2], Float32Array.of(1, 2));
    const set = codecSet(rawCodec, jpegCodec(85));
    const encoded = await encodeCrossing(tensorsOf(image, scale), { image: "jpeg-85" }, set, call);
    const decoded = await decodeCrossing(encoded, set, call);
    expect(decoded.get("scale")).toEqual(scale);
    expect(decoded.get("image")?.bytes.byteLength).toBe(768);
  });
});
