import { float32Tensor, float32View, numericTensor, type Tensor, tensorsOf } from "@longshore/core";
import { splitElements } from "@longshore/core/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Transform } from "../transform.ts";
import { centreCrop, sliced } from "./centre-crop.ts";
import { cropImage } from "./crop-image.ts";
import { normaliseImage } from "./normalise-image.ts";
import { rectified } from "./perspective.ts";
import { resizePixels } from "./resample.ts";
import { resizeImage, targetSize } from "./resize-image.ts";
import { scaleBoxes } from "./scale-boxes.ts";
import { turned, turnUpright } from "./turn-upright.ts";

interface Image {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** The picture whose resized versions were computed with OpenCV 4: (31 y + 17 x + 53 c + 7 (x y mod 11)) mod 256. */
function picture(height: number, width: number, channels = 3): Image {
  const data = Uint8Array.from({ length: height * width * channels }, (_, index) => {
    const [c, x, y] = [
      index % channels,
      Math.floor(index / channels) % width,
      Math.floor(index / channels / width),
    ];
    return (y * 31 + x * 17 + c * 53 + ((x * y) % 11) * 7) % 256;
  });
  return { height, width, channels, data };
}

const tensorFor = ({ height, width, channels, data }: Image, name = "image"): Tensor =>
  numericTensor(name, "UINT8", [height, width, channels], data);

function run(
  transform: Transform<unknown>,
  parameters: unknown,
  ...inputs: readonly Tensor[]
): ReadonlyMap<string, Tensor> {
  return transform.run(tensorsOf(...inputs), transform.parse(parameters)) as ReadonlyMap<string, Tensor>;
}

const numbers = (tensor: Tensor | undefined): readonly number[] => [...float32View(tensor!)];
const pixels = (tensor: Tensor | undefined): readonly number[] => [...tensor!.bytes];
const every = (values: Uint8Array, step: number): readonly number[] =>
  [...values].filter((_, at) => at % step === 0);

const refusal = (message: string): Error =>
  expect.objectContaining({ reason: "invalid-configuration", message }) as Error;
const badInput = expect.objectContaining({ reason: "invalid-input" }) as Error;

const image = fc
  .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 4 }))
  .chain(([height, width, channels]) =>
    fc
      .uint8Array({ minLength: height * width * channels, maxLength: height * width * channels })
      .map((data): Image => ({ height, width, channels, data })),
  );
const side = fc.integer({ min: 1, max: 30 });
const method = fc.constantFrom("bilinear" as const, "area" as const);

describe("resizing", () => {
  it.each([
    [
      "bilinear",
      5,
      6,
      8,
      9,
      11,
      [0, 137, 129, 37, 183, 86, 94, 113, 139, 163, 178, 168, 213, 201, 188, 131, 44, 40, 206, 69],
    ],
    [
      "bilinear",
      7,
      9,
      5,
      6,
      5,
      [11, 144, 146, 149, 162, 194, 180, 72, 213, 197, 104, 176, 189, 113, 119, 196, 124, 117],
    ],
    ["area", 12, 15, 4, 5, 4, [55, 152, 109, 124, 137, 77, 61, 181, 107, 115, 212, 70, 145, 169, 81]],
    ["area", 12, 15, 5, 4, 4, [54, 174, 97, 144, 98, 137, 157, 95, 167, 96, 169, 76, 111, 211, 74]],
  ] as const)(
    "%s from %i x %i to %i x %i agrees with OpenCV, to the level",
    (how, h, w, height, width, step, golden) => {
      const out = every(resizePixels(picture(h, w), height, width, how).data, step);
      expect(out).toHaveLength(golden.length);
      for (const [index, value] of out.entries())
        expect(Math.abs(value - (golden[index] ?? 0))).toBeLessThanOrEqual(1);
    },
  );

  it("of one channel agrees with OpenCV, to the level", () => {
    const golden = [
      36, 86, 132, 175, 147, 162, 116, 179, 192, 126, 63, 81, 176, 121, 64, 74, 99, 146, 135, 71, 102, 135,
      167, 213,
    ];
    const out = resizePixels(picture(9, 14, 1), 4, 6, "area").data;
    for (const [index, value] of golden.entries())
      expect(Math.abs(value - (out[index] ?? 0))).toBeLessThanOrEqual(1);
  });

  it("to the same size changes nothing and shares nothing", () => {
    fc.assert(
      fc.property(image, method, (source, how) => {
        const same = resizePixels(source, source.height, source.width, how);
        expect(same.data).toEqual(source.data);
        expect(same.data.buffer).not.toBe(source.data.buffer);
      }),
    );
  });

  it("never leaves the range of the levels that came, and keeps a plain image plain", () => {
    fc.assert(
      fc.property(image, side, side, method, (source, height, width, how) => {
        const out = resizePixels(source, height, width, how).data;
        expect(out).toHaveLength(height * width * source.channels);
        const [least, most] = [Math.min(...source.data), Math.max(...source.data)];
        for (const level of out) expect(level >= least && level <= most).toBe(true);
      }),
    );
  });

  it("by area to one pixel is the mean", () => {
    fc.assert(
      fc.property(image, (source) => {
        const out = resizePixels({ ...source }, 1, 1, "area").data;
        const count = source.height * source.width;
        for (let channel = 0; channel < source.channels; channel++) {
          const sum = source.data.reduce(
            (total, level, at) => total + (at % source.channels === channel ? level : 0),
            0,
          );
          expect(Math.abs((out[channel] ?? -1) - sum / count)).toBeLessThanOrEqual(0.5 + 1e-9);
        }
      }),
    );
  });

  it("commutes with turning upside down", () => {
    fc.assert(
      fc.property(image, side, side, method, (source, height, width, how) => {
        const a = turned(resizePixels(source, height, width, how)).data;
        const b = resizePixels(turned(source), height, width, how).data;
        for (const [index, level] of a.entries())
          expect(Math.abs(level - (b[index] ?? 0))).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("resize-image", () => {
  const size = (height: number, width: number, parameters: Record<string, unknown>): readonly number[] => {
    const out = targetSize(height, width, { multiple: 1, enlarge: false, ...parameters });
    return [out.height, out.width];
  };

  it("follows longest, shortest, height, width, both, and multiple", () => {
    expect(size(1080, 1920, { longest: 640 })).toEqual([360, 640]);
    expect(size(1080, 1920, { longest: 640, multiple: 32 })).toEqual([352, 640]);
    expect(size(100, 60, { longest: 640 })).toEqual([100, 60]);
    expect(size(100, 60, { longest: 640, enlarge: true })).toEqual([640, 384]);
    expect(size(700, 700, { longest: 660, multiple: 32 })).toEqual([640, 640]);
    expect(size(480, 640, { shortest: 256 })).toEqual([256, 341]);
    expect(size(30, 100, { height: 48 })).toEqual([48, 160]);
    expect(size(30, 1000, { height: 48, maxWidth: 192 })).toEqual([48, 192]);
    expect(size(30, 100, { width: 50 })).toEqual([15, 50]);
    expect(size(30, 100, { height: 224, width: 224 })).toEqual([224, 224]);
    expect(size(5, 70, { multiple: 32 })).toEqual([32, 64]);
    expect(size(1, 10_000, { longest: 100 })).toEqual([1, 100]);
  });

  it("reports the source pixels per output pixel, and pads to the right and below", () => {
    const out = run(
      resizeImage,
      { height: 2, padTo: { width: 4, height: 3, value: 9 } },
      tensorFor(picture(4, 6, 1)),
    );
    expect(numbers(out.get("scale"))).toEqual([2, 2]);
    expect(out.get("image")?.spec.shape).toEqual([3, 4, 1]);
    const levels = pixels(out.get("image"));
    expect([levels[3], levels[7], ...levels.slice(8)]).toEqual([9, 9, 9, 9, 9, 9]);
  });

  it("says beforehand which shape it will make", () => {
    fc.assert(
      fc.property(
        image,
        fc.constantFrom({ longest: 5 }, { height: 3, padTo: { width: 9 } }, { multiple: 4 }),
        (one, rule) => {
          const spec = tensorFor(one).spec;
          const stated = resizeImage.specs(new Map([["image", spec]]), resizeImage.parse(rule));
          const out = run(resizeImage, rule, tensorFor(one));
          expect(stated.map(({ name, shape }) => [name, shape])).toEqual(
            [...out.values()].map(({ spec: { name, shape } }) => [name, shape]),
          );
        },
      ),
    );
    const unknown = new Map([["image", { name: "image", datatype: "UINT8" as const, shape: [-1, -1, 3] }]]);
    expect(resizeImage.specs(unknown, resizeImage.parse({ height: 48 }))[0]?.shape).toEqual([48, -1, 3]);
  });

  it("names the parameter at fault, its value and the permitted range", () => {
    expect(() => resizeImage.parse({ longest: 0 })).toThrowError(
      refusal("transform resize-image: parameter longest is 0; allowed is a whole number from 1 to 32768"),
    );
    expect(() => resizeImage.parse({ longest: 640, sharpen: true })).toThrowError(
      refusal("transform resize-image: there is no parameter sharpen"),
    );
    expect(() => resizeImage.parse({ height: 4, padTo: { value: 256 } })).toThrowError(
      refusal(
        "transform resize-image: parameter padTo.value is 256; allowed is a whole number from 0 to 255",
      ),
    );
    for (const wrong of [undefined, {}, { longest: 5, height: 5 }, { height: 4, method: "cubic" }, []]) {
      expect(() => resizeImage.parse(wrong)).toThrowError(
        expect.objectContaining({ reason: "invalid-configuration" }),
      );
    }
  });

  it("refuses bytes that are no image", () => {
    const wrong = [
      numericTensor("image", "UINT8", [2, 2], new Uint8Array(4)),
      numericTensor("image", "UINT8", [2, 2, 5], new Uint8Array(20)),
      numericTensor("image", "UINT8", [0, 2, 3], new Uint8Array(0)),
      float32Tensor("image", [1, 1, 3], new Float32Array(3)),
      { spec: { name: "image", datatype: "UINT8" as const, shape: [9, 9, 3] }, bytes: new Uint8Array(3) },
    ];
    for (const one of wrong) expect(() => run(resizeImage, { height: 4 }, one)).toThrowError(badInput);
    expect(() => run(resizeImage, { height: 4 })).toThrowError(badInput);
  });
});

describe("normalise-image", () => {
  const two = numericTensor("image", "UINT8", [1, 2, 3], Uint8Array.of(0, 51, 102, 153, 204, 255));

  it("scales, centres and lays channels out in planes", () => {
    const parameters = { mean: [0.5, 0.25, 0], std: [0.5, 0.25, 1] };
    const out = run(normaliseImage, parameters, two).get("tensor");
    expect(out?.spec.shape).toEqual([1, 3, 1, 2]);
    const golden = [-1, 0.2, -0.2, 2.2, 0.4, 1];
    for (const [index, value] of numbers(out).entries()) expect(value).toBeCloseTo(golden[index] ?? NaN, 6);
  });

  it("swaps colours, keeps channels last, leaves levels alone", () => {
    const out = run(normaliseImage, { scale: 1, order: "bgr", layout: "nhwc" }, two).get("tensor");
    expect(out?.spec.shape).toEqual([1, 1, 2, 3]);
    expect(numbers(out)).toEqual([102, 51, 0, 255, 204, 153]);
  });

  it("makes halves", () => {
    const out = run(normaliseImage, { scale: 1, datatype: "FP16" }, two).get("tensor");
    expect(out?.spec.datatype).toBe("FP16");
    // 51 = 1.59375 * 2^5
    expect(new DataView(out!.bytes.buffer).getUint16(4, true)).toBe(0x5260);
  });

  it("refuses figures that do not go with the channels, and a deviation of 0", () => {
    expect(() => run(normaliseImage, { mean: [1, 2] }, two)).toThrowError(badInput);
    expect(() => normaliseImage.parse({ std: [0] })).toThrowError(
      expect.objectContaining({
        reason: "invalid-configuration",
        message: expect.stringContaining("std.0 is 0;"),
      }),
    );
  });
});

describe("crop-image", () => {
  it("of an upright box with whole corners is a slice", () => {
    fc.assert(
      fc.property(image, fc.nat(), fc.nat(), fc.nat(), fc.nat(), (source, a, b, c, d) => {
        const left = a % source.width;
        const top = b % source.height;
        const width = 1 + (c % (source.width - left));
        const height = 1 + (d % (source.height - top));
        const [right, bottom] = [left + width, top + height];
        const boxes = float32Tensor(
          "boxes",
          [1, 4, 2],
          Float32Array.of(left, top, right, top, right, bottom, left, bottom),
        );
        const [crop] = splitElements(
          run(cropImage, { turnTall: false }, tensorFor(source), boxes).get("crops")!,
        );
        expect(crop?.spec.shape).toEqual([height, width, source.channels]);
        expect([...(crop?.bytes ?? [])]).toEqual([...sliced(source, top, left, height, width).data]);
        const edges = float32Tensor("boxes", [1, 4], Float32Array.of(left, top, right, bottom));
        const [same] = splitElements(
          run(cropImage, { turnTall: false }, tensorFor(source), edges).get("crops")!,
        );
        expect([...(same?.bytes ?? [])]).toEqual([...(crop?.bytes ?? [])]);
      }),
    );
  });

  it("straightens a quadrilateral as OpenCV's perspective does", () => {
    const [height, width] = [30, 40];
    const data = new Uint8Array(height * width);
    for (const [index] of data.entries()) {
      data[index] = 128 + 60 * Math.sin((index % width) / 5) + 50 * Math.cos(Math.floor(index / width) / 4);
    }
    const corners = [
      { x: 8, y: 5 },
      { x: 31, y: 9 },
      { x: 28, y: 22 },
      { x: 5, y: 19 },
    ] as const;
    const out = rectified({ height, width, channels: 1, data }, corners, 14, 24).data;
    const golden = [
      203.0, 64.07, 181.91, 42.55, 153.52, 30.0, 122.23, 27.12, 91.95, 35.34, 65.2, 51.89, 44.8, 137.52,
      33.65, 136.11, 32.46, 132.55, 41.13, 127.2, 57.9, 121.02, 81.71, 115.33, 168.39, 110.94,
    ];
    for (const [index, value] of golden.entries()) {
      // OpenCV rounds source positions to 1/32 of a pixel
      expect(Math.abs((out[index * 13] ?? 0) - value)).toBeLessThan(1.2);
    }
  });

  it("turns tall crops against the clock and resizes to a height", () => {
    const tall = { height: 4, width: 2, channels: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) };
    const boxes = float32Tensor("boxes", [1, 4], Float32Array.of(0, 0, 2, 4));
    const [crop] = splitElements(run(cropImage, {}, tensorFor(tall), boxes).get("crops")!);
    expect(crop?.spec.shape).toEqual([2, 4, 1]);
    expect([...(crop?.bytes ?? [])]).toEqual([2, 4, 6, 8, 1, 3, 5, 7]);
    const [high] = splitElements(
      run(cropImage, { height: 48, maxWidth: 80 }, tensorFor(tall), boxes).get("crops")!,
    );
    expect(high?.spec.shape).toEqual([48, 80, 1]);
  });

  it("cuts nothing for no boxes, and cuts boxes off at the edges", () => {
    const source = tensorFor(picture(6, 6));
    const none = run(
      cropImage,
      { height: 8 },
      source,
      float32Tensor("boxes", [0, 4, 2], new Float32Array(0)),
    ).get("crops");
    expect(none?.spec).toMatchObject({ shape: [0, 8, -1, 3], ragged: true });
    const far = float32Tensor("boxes", [1, 4], Float32Array.of(-1e30, -5, 1e30, 3));
    expect(run(cropImage, {}, source, far).get("crops")?.spec.shape).toEqual([1, 3, 6, 3]);
  });

  it("survives any finite corners", () => {
    const corner = fc.float({ min: -20, max: 40, noNaN: true });
    fc.assert(
      fc.property(image, fc.array(corner, { minLength: 8, maxLength: 8 }), (source, corners) => {
        const boxes = float32Tensor("boxes", [1, 4, 2], Float32Array.from(corners));
        const [crop] = splitElements(run(cropImage, { height: 7 }, tensorFor(source), boxes).get("crops")!);
        expect(crop?.spec.shape[0]).toBe(7);
      }),
    );
  });

  it("refuses boxes that are not finite, of another shape, too many or too large", () => {
    const source = tensorFor(picture(6, 6));
    const boxes = (shape: readonly number[], ...values: readonly number[]): Tensor =>
      float32Tensor("boxes", shape, Float32Array.from(values));
    expect(() => run(cropImage, {}, source, boxes([1, 4], 0, 0, NaN, 3))).toThrowError(badInput);
    expect(() => run(cropImage, {}, source, boxes([1, 5], 0, 0, 1, 3, 1))).toThrowError(badInput);
    const two = boxes([2, 4], 0, 0, 6, 6, 0, 0, 6, 6);
    expect(() => run(cropImage, { maxBoxes: 1 }, source, two)).toThrowError(badInput);
    expect(() => run(cropImage, { maxPixels: 71 }, source, two)).toThrowError(badInput);
    expect(run(cropImage, { maxPixels: 72 }, source, two).get("crops")?.spec.shape[0]).toBe(2);
  });
});

describe("turn-upright", () => {
  const row = numericTensor("image", "UINT8", [1, 2, 3], Uint8Array.of(1, 2, 3, 4, 5, 6));
  const scores = (...values: readonly number[]): Tensor =>
    float32Tensor("scores", [1, values.length], Float32Array.from(values));

  it("turns only images that are surely upside down", () => {
    expect(pixels(run(turnUpright, {}, row, scores(0.05, 0.95)).get("image"))).toEqual([4, 5, 6, 1, 2, 3]);
    expect(pixels(run(turnUpright, {}, row, scores(0.2, 0.8)).get("image"))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(pixels(run(turnUpright, { threshold: 0.5 }, row, scores(0.2, 0.8)).get("image"))).toEqual([
      4, 5, 6, 1, 2, 3,
    ]);
    expect(pixels(run(turnUpright, {}, row, scores(NaN, NaN)).get("image"))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("needs two scores", () => {
    expect(() => run(turnUpright, {}, row, scores(1))).toThrowError(badInput);
  });
});

describe("centre-crop and scale-boxes", () => {
  it("take the middle, and refuse one that is larger than the image", () => {
    const levels = Uint8Array.from({ length: 20 }, (_, index) => index);
    const source = numericTensor("image", "UINT8", [4, 5, 1], levels);
    expect(pixels(run(centreCrop, { height: 2, width: 3 }, source).get("image"))).toEqual([
      6, 7, 8, 11, 12, 13,
    ]);
    expect(() => run(centreCrop, { height: 5, width: 3 }, source)).toThrowError(badInput);
    expect(() => centreCrop.parse({ height: 5 })).toThrowError(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
  });

  it("give boxes back in pixels of the source", () => {
    const boxes = float32Tensor("boxes", [1, 4], Float32Array.of(1, 2, 3, 4));
    const scale = float32Tensor("scale", [2], Float32Array.of(10, 2));
    expect(numbers(run(scaleBoxes, {}, boxes, scale).get("boxes"))).toEqual([2, 20, 6, 40]);
    const odd = float32Tensor("boxes", [3], Float32Array.of(1, 2, 3));
    expect(() => run(scaleBoxes, {}, odd, scale)).toThrowError(badInput);
  });
});
