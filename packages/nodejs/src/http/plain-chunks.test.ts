import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlainChunks } from "./plain-chunks.ts";

/** Reads a text in pieces of so many letters. */
function readIn(pieces: readonly string[]): { data: string; reader: PlainChunks; left: string } {
  const reader = new PlainChunks();
  let data = "";
  let left = "";
  for (const piece of pieces) {
    const bytes = Buffer.from(piece, "latin1");
    const read = reader.read(bytes, (part) => (data += part.toString("latin1")));
    left += bytes.toString("latin1", read);
  }
  return { data, reader, left };
}

const read = (text: string): ReturnType<typeof readIn> => readIn([text]);

describe("a body in chunks", () => {
  it("is the same in whatever pieces it comes", () => {
    const chunk = fc.string({ minLength: 1, maxLength: 40, unit: "binary-ascii" });
    const cuts = fc.array(fc.nat(60), { maxLength: 12 });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 5 }), cuts, fc.boolean(), (chunks, sizes, upper) => {
        const size = (one: string): string => {
          const hex = one.length.toString(16);
          return upper ? hex.toUpperCase() : hex;
        };
        let text = `${chunks.map((one) => `${size(one)}\r\n${one}\r\n`).join("")}0\r\n\r\nbehind`;
        const pieces: string[] = [];
        for (const cut of sizes) {
          pieces.push(text.slice(0, cut));
          text = text.slice(cut);
        }
        const { data, reader, left } = readIn([...pieces, text]);
        expect({ data, left }).toEqual({ data: chunks.join(""), left: "behind" });
        expect([reader.done, reader.odd]).toEqual([true, false]);
      }),
    );
  });

  it("is odd with extensions and trailers, which mean nothing here", () => {
    const extended = read("3;a=b\r\nabc\r\n0\r\n\r\n");
    expect([extended.data, extended.reader.done, extended.reader.odd]).toEqual(["abc", true, true]);
    const trailed = read("3\r\nabc\r\n0\r\nx-sum: 7\r\ny:\r\n\r\n");
    expect([trailed.data, trailed.reader.done, trailed.reader.odd]).toEqual(["abc", true, true]);
  });

  it.each([
    ["a size that is none", "xyz\r\n"],
    ["a signed size", "+3\r\nabc\r\n0\r\n\r\n"],
    ["a size with 0x before it", "0x3\r\nabc\r\n"],
    ["a blank before the size", " 3\r\nabc\r\n"],
    ["an empty size", "\r\n"],
    ["a size beyond all limits", "fffffffff\r\n"],
    ["a size that ends with a lone line feed", "3\nabc\r\n0\r\n\r\n"],
    ["a chunk that is longer than it says", "3\r\nabcd\r\n0\r\n\r\n"],
    ["a chunk that ends with a lone line feed", "3\r\nabc\n0\r\n\r\n"],
    ["an endless size", "1".repeat(300)],
    ["an endless extension", `3;${"a".repeat(300)}\r\n`],
    ["a trailer that is none", "0\r\nnonsense\r\n\r\n"],
    ["a folded trailer", "0\r\nx: a\r\n b\r\n\r\n"],
    ["too many trailers", `0\r\n${"x: y\r\n".repeat(2000)}\r\n`],
  ])("is refused with %s", (_, text) => {
    expect(() => read(text)).toThrow(/./);
  });
});
