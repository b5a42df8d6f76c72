import fc from "fast-check";
import { allSteps } from "@longshore/core/internal";
import { describe, expect, it } from "vitest";
import { linesOf } from "./lines.ts";

/** The same at once. */
function split(bytes: Uint8Array): readonly string[] {
  const lines = new TextDecoder().decode(bytes).split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

const piece = 2 ** 16;
const encoded = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("lines of a text", () => {
  it("are those of the whole, wherever it is taken apart", () => {
    const around = fc.array(fc.constantFrom("\n", "\r", "a", "\u00e9", "\ud83d\ude00", "\ufeff"), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(around, around, fc.integer({ min: 0, max: 24 }), (before, after, back) => {
        const bytes = encoded(`${before.join("")}${"x".repeat(piece - back)}${after.join("")}`);
        expect(allSteps(linesOf(bytes))).toEqual(split(bytes));
      }),
      { numRuns: 200 },
    );
    for (const text of ["", "\n", "\r", "a\r\n\nb", "a\n\n"]) {
      expect(allSteps(linesOf(encoded(text)))).toEqual(split(encoded(text)));
    }
    for (const end of [[0xc3], [0x0d], [0x0d, 0xc3]]) {
      const bytes = Uint8Array.of(0x61, ...end);
      expect(allSteps(linesOf(bytes))).toEqual(split(bytes));
    }
  });

  it("are read in as many steps as there are pieces", () => {
    const bytes = encoded(Array.from({ length: 50_000 }, (_, at) => `label number ${at}`).join("\n"));
    const work = linesOf(bytes);
    let steps = 1;
    while (work.next().done !== true) steps++;
    expect(steps).toBe(Math.ceil(bytes.byteLength / (piece + "label number 12345\n".length)));
  });
});
