import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonEntries } from "./json-entries.ts";

/** All entries, the pieces that they came in, and the object around them. */
function read(text: string) {
  const entries: unknown[] = [];
  let pieces = 0;
  const work = jsonEntries(text, "keys");
  for (;;) {
    const step = work.next();
    if (step.done === true) return { entries, pieces, around: step.value };
    pieces += 1;
    entries.push(...step.value);
  }
}

const long = "x".repeat(20_000);

describe("jsonEntries", () => {
  it("gives the same as JSON.parse, for any entries and neighbours", () => {
    const around = fc.dictionary(fc.string(), fc.jsonValue()).filter((object) => !("keys" in object));
    fc.assert(
      fc.property(around, around, fc.array(fc.jsonValue()), fc.boolean(), (before, after, keys, pretty) => {
        const whole = JSON.parse(JSON.stringify({ ...before, keys, ...after })) as object;
        const { entries, around: rest } = read(JSON.stringify(whole, undefined, pretty ? 2 : 0));
        expect({ ...(rest as object), keys: entries }).toEqual(whole);
      }),
    );
  });

  it("cuts a long list between its entries", () => {
    const keys = Array.from({ length: 10 }, (_, index) => ({ id: `${long},]}"${index}`, of: [index, {}] }));
    const { entries, pieces } = read(JSON.stringify({ keys, version: 1 }));
    expect(entries).toEqual(keys);
    expect(pieces).toBe(5);
  });

  it.each([
    "",
    "{",
    `{"keys":[`,
    `{"keys":[1,]}`,
    `{"keys":[,]}`,
    `{"keys":["a" "b"]}`,
    `{"keys":["${long}${long}",]}`,
    `{"keys":["${long}${long}",,1]}`,
    `{"keys":["${long}${long}",1}]`,
    `{"keys":["${long}${long}",1]`,
    `{"keys":["${long}${long}",1]]}`,
    `{"keys":[{"a":1]}]}`,
    `{"keys":[1]} {}`,
    `{"keys":["a]}`,
  ])("refuses text that is not JSON (%#)", (text) => {
    expect(() => read(text)).toThrow(SyntaxError);
  });

  it("leaves a field that is no list unchanged", () => {
    expect(read(`{"keys":1}`)).toEqual({ entries: [], pieces: 0, around: { keys: 1 } });
    expect(read(`[{"keys":[1]}]`)).toEqual({ entries: [], pieces: 0, around: [{ keys: [1] }] });
    expect(read(`{"a":{"keys":[1]}}`)).toEqual({ entries: [], pieces: 0, around: { a: { keys: [1] } } });
  });
});
