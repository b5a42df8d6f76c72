import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameReader, number31 } from "./frame-reader.ts";
import { codes, flags, frameHead, frameTypes, numberFrame, preface } from "./frame-words.ts";

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

/** All events for some bytes that come in pieces, pieces of data joined. */
function told(pieces: readonly Uint8Array[]): readonly (readonly unknown[])[] {
  const seen: unknown[][] = [];
  let data = "";
  const reader: FrameReader = new FrameReader(
    {
      frame: (type, flag, stream, payload) =>
        seen.push([type, flag, stream, Buffer.from(payload).toString("latin1")]),
      dataBegins(stream, length, padding) {
        seen.push(["data", stream, length, padding]);
        data = "";
      },
      data(chunk) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        data += Buffer.from(chunk).toString("latin1");
      },
      dataEnds: (last) => seen.push([data, last]),
      broken(code) {
        seen.push(["broken", code]);
        reader.stop();
      },
    },
    { data: 1000, others: 100 },
  );
  for (const piece of pieces) reader.take(piece);
  return seen;
}

const data = (payload: string, flag: number): string =>
  frameHead(payload.length, frameTypes.data, flag, 3) + payload;

describe("frames", () => {
  const stream =
    preface +
    frameHead(0, frameTypes.settings, 0, 0) +
    numberFrame(frameTypes.window, 0, 5) +
    data("hello", 0) +
    data("", 0) +
    data("\x02padded\0\0", flags.padded) +
    data("\0", flags.padded) +
    data("last", flags.endStream) +
    frameHead(3, 99, 7, 9) +
    "abc";
  const expected = [
    [frameTypes.settings, 0, 0, ""],
    [frameTypes.window, 0, 0, "\0\0\0\x05"],
    ["data", 3, 5, 0],
    ["hello", false],
    ["data", 3, 0, 0],
    ["", false],
    ["data", 3, 9, 3],
    ["padded", false],
    ["data", 3, 1, 1],
    ["", false],
    ["data", 3, 4, 0],
    ["last", true],
    [99, 7, 9, "abc"],
  ];

  it("are the same wherever they are cut", () => {
    const whole = bytesOf(stream);
    fc.assert(
      fc.property(fc.array(fc.nat(whole.byteLength), { maxLength: 30 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), whole.byteLength];
        expect(told(at.slice(1).map((end, index) => whole.slice(at[index], end)))).toEqual(expected);
      }),
    );
    expect(told(Array.from(whole, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  });

  it.each([
    ["another protocol", "GET / HTTP/1.1\r\n\r\n", codes.protocol],
    ["too large a frame", preface + frameHead(101, frameTypes.headers, 0, 1), codes.frameSize],
    ["too large a frame of data", preface + frameHead(1001, frameTypes.data, 0, 1), codes.frameSize],
    ["more padding than frame", preface + data("\x05abcd", flags.padded), codes.protocol],
    ["padding without a length", preface + data("", flags.padded), codes.protocol],
  ])("end with %s", (_what, text, code) => {
    expect(told([bytesOf(text + frameHead(0, frameTypes.settings, 0, 0))])).toEqual([["broken", code]]);
  });

  it("leave out the bit that numbers of streams do not have", () => {
    expect(number31(Uint8Array.of(0x80, 0, 0, 7), 0)).toBe(7);
  });
});
