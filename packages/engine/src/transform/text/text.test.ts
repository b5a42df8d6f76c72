import {
  bytesTensor,
  float32Tensor,
  float32View,
  type Tensor,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { int64View } from "@longshore/core/internal";
import { joinElements } from "@longshore/core/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Transform } from "../transform.ts";
import { ctcDecode } from "./ctc-decode.ts";
import { hashNgrams } from "./hash-ngrams.ts";
import { joinLines } from "./join-lines.ts";
import { joinText } from "./join-text.ts";
import { meanInside, regions } from "./regions.ts";
import { textBoxes } from "./text-boxes.ts";
import { tokenise } from "./tokenise.ts";

function run(
  transform: Transform<unknown>,
  parameters: unknown,
  ...inputs: readonly Tensor[]
): ReadonlyMap<string, Tensor> {
  return transform.run(tensorsOf(...inputs), transform.parse(parameters)) as ReadonlyMap<string, Tensor>;
}

const floats = (name: string, shape: readonly number[], ...values: readonly number[]): Tensor =>
  float32Tensor(name, shape, Float32Array.from(values));
const numbers = (tensor: Tensor | undefined): readonly number[] => [...float32View(tensor!)];
const words = (tensor: Tensor | undefined): readonly string[] => textElements(tensor!);
const badInput = expect.objectContaining({ reason: "invalid-input" }) as Error;
const badParameter = expect.objectContaining({ reason: "invalid-configuration" }) as Error;

/** A map of `height` x `width` where `inside` holds, `value` there and 0 elsewhere. */
function drawn(
  height: number,
  width: number,
  value: number,
  inside: (x: number, y: number) => boolean,
): Float32Array {
  return Float32Array.from({ length: height * width }, (_, at) =>
    inside(at % width, Math.floor(at / width)) ? value : 0,
  );
}

describe("regions", () => {
  it("are those that a flood fill finds", () => {
    const map = fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }))
      .chain(([height, width]) =>
        fc
          .array(fc.boolean(), { minLength: height * width, maxLength: height * width })
          .map((cells) => ({ height, width, cells })),
      );
    fc.assert(
      fc.property(map, ({ height, width, cells }) => {
        const seen = new Set<number>();
        let filled = 0;
        for (const [start, set] of cells.entries()) {
          if (!set || seen.has(start)) continue;
          filled++;
          const stack = [start];
          while (stack.length > 0) {
            const at = stack.pop()!;
            if (seen.has(at) || !cells[at]) continue;
            seen.add(at);
            for (let y = -1; y <= 1; y++) {
              for (let x = -1; x <= 1; x++) {
                const [column, row] = [(at % width) + x, Math.floor(at / width) + y];
                if (column >= 0 && column < width && row >= 0 && row < height)
                  stack.push(row * width + column);
              }
            }
          }
        }
        const found = regions(Float32Array.from(cells, Number), height, width, 0.5);
        expect(found).toHaveLength(filled);
        for (const point of found.flat()) expect(cells[point.y * width + point.x]).toBe(true);
      }),
    );
  });

  it("have the mean of the pixels inside a polygon, edges included", () => {
    const map = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
    const square = [
      { x: 0, y: 0 },
      { x: 1, y: 0 },
      { x: 1, y: 1 },
      { x: 0, y: 1 },
    ];
    expect(meanInside(map, 3, 3, square)).toBe(3);
    const diamond = [
      { x: 1, y: 0 },
      { x: 2, y: 1 },
      { x: 1, y: 2 },
      { x: 0, y: 1 },
    ];
    expect(meanInside(map, 3, 3, diamond)).toBe((2 + 4 + 5 + 6 + 8) / 5);
    expect(meanInside(map, 3, 3, [{ x: 0.4, y: 0.4 }])).toBe(0);
  });
});

describe("text-boxes", () => {
  const boxesOf = (
    map: Float32Array,
    height: number,
    width: number,
    parameters: unknown = {},
    scale = [1, 1],
  ) =>
    run(
      textBoxes,
      parameters,
      float32Tensor("map", [1, 1, height, width], map),
      floats("scale", [2], ...scale),
    );

  it("grows the smallest rectangle around an upright region, in pixels of the source", () => {
    // pixel centres 10..29 by 5..10: 19 x 5, margin 95 * 1.5 / 48
    const map = drawn(20, 50, 0.9, (x, y) => x >= 10 && x < 30 && y >= 5 && y < 11);
    const out = boxesOf(map, 20, 50, {}, [2, 3]);
    const margin = (95 * 1.5) / 48;
    const [left, top, right, bottom] = [10 - margin, 5 - margin, 29 + margin, 10 + margin];
    const wanted = [left, top, right, top, right, bottom, left, bottom].map(
      (value, at) => value * (at % 2 ? 2 : 3),
    );
    for (const [index, value] of numbers(out.get("boxes")).entries())
      expect(value).toBeCloseTo(wanted[index] ?? NaN, 3);
    expect(numbers(out.get("scores"))[0]).toBeCloseTo(0.9, 5);
  });

  it("follows a tilted region as PaddleOCR's steps do in OpenCV", () => {
    // the polygon that OpenCV filled, and the corners of its minAreaRect grown by 9.9529
    const polygon = [
      [19, 27],
      [25, 12],
      [81, 33],
      [75, 48],
    ] as const;
    const inside = (x: number, y: number): boolean =>
      polygon.every(([ax, ay], index) => {
        const [bx, by] = polygon[(index + 1) % 4] ?? polygon[0];
        return (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0;
      });
    const out = numbers(boxesOf(drawn(60, 100, 0.9, inside), 60, 100).get("boxes"));
    const golden = [18.68, 0, 94.31, 26.86, 81.36, 60, 5.73, 33.03];
    for (const [index, value] of golden.entries())
      expect(Math.abs((out[index] ?? NaN) - value)).toBeLessThan(2);
  });

  it("leaves out small and unsure boxes and those below the threshold", () => {
    const at = (value: number, size: number): Float32Array =>
      drawn(40, 40, value, (x, y) => x < size * 2 && y < size);
    const count = (map: Float32Array, parameters: unknown = {}): number | undefined =>
      boxesOf(map, 40, 40, parameters).get("boxes")?.spec.shape[0];
    expect(count(at(0.9, 8))).toBe(1);
    expect(count(at(0.9, 3))).toBe(0);
    expect(count(at(0.5, 8))).toBe(0);
    expect(count(at(0.5, 8), { minScore: 0.4 })).toBe(1);
    expect(count(at(0.2, 8), { minScore: 0 })).toBe(0);
    expect(count(new Float32Array(1600))).toBe(0);
  });

  it("gives boxes in reading order, cut off at the edges", () => {
    const blocks = [
      [40, 2],
      [2, 4],
      [3, 24],
      [42, 22],
    ] as const;
    const map = drawn(40, 64, 0.9, (x, y) =>
      blocks.some(([left, top]) => x >= left && x < left + 20 && y >= top && y < top + 10),
    );
    const out = numbers(boxesOf(map, 40, 64).get("boxes"));
    const lefts = [0, 1, 2, 3].map((box) => Math.round(out[box * 8] ?? -1));
    expect(lefts[0]).toBeLessThan(5);
    expect(lefts[1]).toBeGreaterThan(30);
    expect(lefts[2]).toBeLessThan(5);
    expect(lefts[3]).toBeGreaterThan(30);
    for (const [index, value] of out.entries()) {
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThanOrEqual(index % 2 ? 40 : 64);
    }
  });

  it("survives any map", () => {
    fc.assert(
      fc.property(fc.float32Array({ minLength: 48, maxLength: 48 }), (map) => {
        const out = boxesOf(map, 6, 8, { minSide: 0, minScore: 0 });
        for (const value of numbers(out.get("boxes"))) expect(Number.isFinite(value)).toBe(true);
      }),
    );
  });

  it("refuses a map of several images and a scale that cannot be", () => {
    expect(() =>
      run(textBoxes, {}, floats("map", [2, 1, 1, 1], 0, 0), floats("scale", [2], 1, 1)),
    ).toThrowError(badInput);
    expect(() => boxesOf(new Float32Array(4), 2, 2, {}, [0, 1])).toThrowError(badInput);
    expect(() => boxesOf(new Float32Array(4), 2, 2, {}, [NaN, 1])).toThrowError(badInput);
    expect(() => textBoxes.parse({ threshold: 2 })).toThrowError(badParameter);
  });
});

describe("ctc-decode", () => {
  /** Steps that are sure of the given classes. */
  const sure = (classes: number, ...winners: readonly number[]): Tensor =>
    floats(
      "logits",
      [1, winners.length, classes],
      ...winners.flatMap((winner) =>
        Array.from({ length: classes }, (_, at) => (at === winner ? 0.8 : 0.05)),
      ),
    );

  it("collapses repeats, drops blanks and keeps doubled letters apart by a blank", () => {
    const out = run(ctcDecode, { characters: "abc" }, sure(4, 0, 1, 1, 0, 1, 2, 2, 3, 0, 0));
    expect(words(out.get("text"))).toEqual(["aabc"]);
    expect(numbers(out.get("confidence"))[0]).toBeCloseTo(0.8, 6);
  });

  it("reads any text that was written by its rule", () => {
    const writing = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.nat(2)),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(writing, (letters) => {
        const steps: number[] = [];
        let last = -1;
        for (const [letter, repeats, blanks] of letters) {
          if (letter === last) steps.push(0);
          steps.push(
            ...Array.from({ length: repeats }, () => letter + 1),
            ...Array.from({ length: blanks }, () => 0),
          );
          last = blanks > 0 ? -1 : letter;
        }
        const out = run(ctcDecode, { characters: "äb c" }, sure(5, ...steps));
        expect(words(out.get("text"))).toEqual([letters.map(([letter]) => "äb c"[letter]).join("")]);
      }),
    );
  });

  it("takes lists, a blank anywhere, a trailing space, several rows, and scores that are not probabilities", () => {
    const list = { characters: ["ch", "s"], trailingSpace: true, blank: 3 };
    expect(words(run(ctcDecode, list, sure(4, 0, 3, 2, 1)).get("text"))).toEqual(["ch s"]);
    const rows = floats("logits", [2, 1, 2], 0, 1, 1, 0);
    const out = run(ctcDecode, { characters: "x", softmax: true }, rows);
    expect(words(out.get("text"))).toEqual(["x", ""]);
    expect(numbers(out.get("confidence"))[0]).toBeCloseTo(Math.E / (1 + Math.E), 6);
    expect(numbers(out.get("confidence"))[1]).toBe(0);
    expect(words(run(ctcDecode, { characters: "😀x" }, sure(3, 1)).get("text"))).toEqual(["😀"]);
  });

  it("refuses characters that do not go with the classes", () => {
    expect(() => run(ctcDecode, { characters: "ab" }, sure(4, 1))).toThrowError(
      expect.objectContaining({
        reason: "invalid-input",
        message: "ctc-decode: logits is [1, 1, 4]; [n, steps, 3] goes with the characters and the blank",
      }),
    );
    expect(() => ctcDecode.parse({})).toThrowError(badParameter);
  });
});

describe("join-text and join-lines", () => {
  it("join ragged texts and leave empty ones out", () => {
    const ragged = joinElements("texts", [bytesTensor("t", ["Brot", ""]), bytesTensor("t", ["Milch"])], {
      datatype: "BYTES",
      shape: [1],
    });
    expect(words(run(joinText, { separator: ", " }, ragged).get("text"))).toEqual(["Brot, Milch"]);
    expect(words(run(joinText, { separator: ",", skipEmpty: false }, ragged).get("text"))).toEqual([
      "Brot,,Milch",
    ]);
    const none = joinElements("texts", [], { datatype: "BYTES", shape: [1] });
    expect(words(run(joinText, {}, none).get("text"))).toEqual([""]);
  });

  it("join boxes in a row by spaces, rows by line feeds, and drop unsure ones", () => {
    const at = (left: number, top: number): readonly number[] => [
      left,
      top,
      left + 50,
      top,
      left + 50,
      top + 10,
      left,
      top + 10,
    ];
    const boxes = floats("boxes", [4, 4, 2], ...at(100, 1), ...at(0, 0), ...at(0, 40), ...at(100, 40));
    const texts = bytesTensor("texts", ["2,49", "Brot", "Summe", "###"]);
    const out = run(joinLines, {}, texts, boxes, floats("confidences", [4], 0.9, 0.8, 0.9, 0.3));
    expect(words(out.get("text"))).toEqual(["Brot 2,49\nSumme"]);
    expect(() => run(joinLines, {}, texts, boxes, floats("confidences", [1], 1))).toThrowError(badInput);
  });
});

describe("tokenise", () => {
  const pieces = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "till",
    "##s",
    "is",
    "open",
    "##ed",
    "re",
    "!",
    "strasse",
    "caf",
    "##e",
  ];
  const special = pieces.slice(0, 4).map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const frame = (...parts: readonly unknown[]): unknown => parts;
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special,
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: frame(
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
      ),
      pair: frame(
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
        { Sequence: { id: "B", type_id: 1 } },
        { SpecialToken: { id: "[SEP]", type_id: 1 } },
      ),
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    },
  };
  const ids = (parameters: Record<string, unknown>, ...texts: readonly string[]): readonly number[] => {
    const out = run(tokenise, { tokenizer, ...parameters }, bytesTensor("text", texts));
    return Array.from(int64View(out.get("ids")!), Number);
  };

  it("gives the numbers that the reference implementation gives", () => {
    expect(ids({}, "The tills is reopened!")).toEqual([2, 4, 5, 6, 7, 1, 11, 3]);
    expect(ids({}, "Café zebra")).toEqual([2, 13, 14, 1, 3]);
    expect(ids({}, "")).toEqual([2, 3]);
    expect(ids({ specialTokens: false }, "open")).toEqual([8]);
  });

  it("cuts so that the special tokens stay", () => {
    expect(ids({ maxLength: 5 }, "The tills is reopened!")).toEqual([2, 4, 5, 6, 3]);
    expect(ids({ maxLength: 3, specialTokens: false }, "The tills is")).toEqual([4, 5, 6]);
    expect(ids({ maxLength: 1 }, "The tills is")).toHaveLength(1);
  });

  it("pads several texts under a mask", () => {
    const out = run(tokenise, { tokenizer }, bytesTensor("text", ["the", "open till"]));
    expect(out.get("ids")?.spec.shape).toEqual([2, 4]);
    expect(Array.from(int64View(out.get("ids")!), Number)).toEqual([2, 4, 3, 0, 2, 8, 5, 3]);
    expect(Array.from(int64View(out.get("mask")!), Number)).toEqual([1, 1, 1, 0, 1, 1, 1, 1]);
    expect(Array.from(int64View(out.get("types")!), Number)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(ids({ padTo: 6, padId: 9 }, "the")).toEqual([2, 4, 3, 9, 9, 9]);
  });

  it("refuses texts that are too long and tokenizers that are none", () => {
    expect(() => ids({ maxCharacters: 3 }, "open")).toThrowError(badInput);
    expect(() => tokenise.parse({})).toThrowError(badParameter);
    expect(() => tokenise.parse({ tokenizer: { model: { type: "Astrology" } } })).toThrowError(badParameter);
  });
});

describe("hash-ngrams", () => {
  const vector = (text: string, parameters: Record<string, unknown>): Record<number, number> => {
    const values = numbers(run(hashNgrams, parameters, bytesTensor("text", [text])).get("tensor"));
    return Object.fromEntries(
      [...values.entries()]
        .filter(([, value]) => value !== 0)
        .map(([at, value]) => [at, Number(value.toFixed(6))]),
    );
  };

  it("gives the buckets that an independent implementation gives", () => {
    expect(vector("Größe  L", { n: [1, 2], buckets: 64 })).toEqual({
      9: 0.371391,
      11: 0.185695,
      15: 0.185695,
      17: 0.371391,
      18: 0.185695,
      23: 0.185695,
      25: 0.185695,
      29: 0.371391,
      39: 0.185695,
      46: 0.185695,
      52: 0.557086,
      60: 0.185695,
    });
    expect(vector("日本 😀", {})).toEqual({
      129: 0.218218,
      406: 0.218218,
      504: 0.218218,
      1120: 0.218218,
      1533: 0.218218,
      1870: 0.218218,
      2082: 0.218218,
      2500: 0.218218,
      3124: 0.654654,
      3356: 0.218218,
      3497: 0.218218,
      3673: 0.218218,
      3771: 0.218218,
    });
  });

  it("has length 1 for any text with a letter, and is the same for composed and lower-case forms", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme", minLength: 1 }),
        fc.constantFrom("count", "log", "presence"),
        (text, weighting) => {
          const values = Object.values(vector(text, { weighting, buckets: 512 }));
          expect(values.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(1, 3);
        },
      ),
    );
    expect(vector("CAFÉ", {})).toEqual(vector("cafe\u0301", {}));
    expect(vector("CAFÉ", { lowercase: false })).not.toEqual(vector("café", { lowercase: false }));
  });

  it("makes a row for each text, zeros for none", () => {
    const out = run(hashNgrams, { buckets: 8, boundaries: false }, bytesTensor("text", ["", "a"])).get(
      "tensor",
    );
    expect(out?.spec.shape).toEqual([2, 8]);
    expect(numbers(out).slice(0, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("refuses texts that are too long, and lengths out of range", () => {
    expect(() => vector("abcd", { maxCharacters: 3 })).toThrowError(badInput);
    expect(() => vector("abcd", { buckets: 10, maxElements: 9 })).toThrowError(badInput);
    expect(() => hashNgrams.parse({ n: [0] })).toThrowError(badParameter);
    expect(() => hashNgrams.parse({ n: [] })).toThrowError(badParameter);
  });
});
