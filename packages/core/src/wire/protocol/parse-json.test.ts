import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJson } from "./parse-json.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const parsed = (text: string, most?: number): unknown => parseJson(bytesOf(text), "the request", most);

describe("parseJson", () => {
  it("gives the result of JSON.parse for every text with each key once", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 0, max: 2 }), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        expect(parsed(text)).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it("refuses a key that comes twice, at any depth, in any spelling and with any neighbours", () => {
    const twice = [
      '{"a":1,"a":1}',
      '{"a":1,"\\u0061":2}',
      '[0,{"b":{"":1,"c":[],"":2}}]',
      '{"__proto__":1,"__proto__":2}',
      '{"\\\\":":","\\\\":"\\""}',
    ];
    for (const text of twice) expect(() => parsed(text), text).toThrow("has a key twice");
    const once = '{"a":{"a":[{"a":"\\"a\\":{\\\\"}]},"A":":","__proto__":{"x":1},"constructor":0}';
    expect(JSON.stringify(parsed(once))).toBe(once);
    expect(Object.getPrototypeOf(parsed(once))).toBe(Object.prototype);
  });

  it("refuses nesting beyond 32, closed or not, and takes brackets in text", () => {
    const nested = (open: string, close: string, depth: number): string =>
      `${open.repeat(depth)}1${close.repeat(depth)}`;
    expect(() => parsed(nested("[", "]", 32))).not.toThrow();
    expect(() => parsed(nested('{"a":', "}", 32))).not.toThrow();
    for (const text of [
      nested("[", "]", 33),
      nested('{"a":', "}", 33),
      "[".repeat(1e6),
      '{"a":'.repeat(1e5),
    ]) {
      expect(() => parsed(text)).toThrow("is nested more than 32 deep");
    }
    expect(parsed(JSON.stringify("[{".repeat(100)))).toBe("[{".repeat(100));
  });

  it("refuses more values than the limit, without quoting any", () => {
    expect(parsed("[1,[2],{}]", 6)).toEqual([1, [2], {}]);
    expect(() => parsed("[1,[2],{},4]", 5)).toThrow("the request has more than 5 values");
    for (const text of [
      "",
      "secret",
      '"secret',
      '{"secret"',
      '["\\',
      "[1]]",
      "1,2",
      '{"a" "b":1}',
      "\ud800{",
    ]) {
      expect(() => parsed(text), text).toThrow(/^the request is not valid JSON in UTF-8$/);
    }
    expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22), "it")).toThrow("it is not valid JSON in UTF-8");
  });
});
