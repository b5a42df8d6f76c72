import { connect as connectHttp2 } from "node:http2";
import { createServer } from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { FrameReader } from "./frame-reader.ts";
import { flags, frameTypes, settingsFrame } from "./frame-words.ts";
import { HeaderReader } from "./header-reader.ts";
import type { HeaderField } from "./header-table.ts";
import { headerBlock, noTable } from "./header-writer.ts";

const limits = { bytes: 16_384, fields: 128 };
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const latin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** The headers of some requests over one connection that Node.js's client, with its own HPACK, sends, as they are read here. */
async function asSent(requests: readonly Record<string, string>[]): Promise<HeaderField[][]> {
  const reader = new HeaderReader(limits);
  const read: HeaderField[][] = [];
  const server = createServer();
  const all = new Promise<void>((resolve, reject) => {
    server.on("connection", (socket) => {
      const broken = (code: number): void => reject(new Error(`broken: ${code}`));
      const frames = new FrameReader(
        {
          frame(type, flag, _stream, payload) {
            if (type !== frameTypes.headers) return;
            const from = (flag & flags.priority) === 0 ? 0 : 5;
            const block = reader.read(payload.subarray(from));
            if (!block || block.tooLarge) reject(new Error("the block is broken"));
            else read.push([...block.fields]);
            if (read.length === requests.length) resolve();
          },
          dataBegins: () => undefined,
          data: () => undefined,
          dataEnds: () => undefined,
          broken,
        },
        { data: 16_384, others: 32_768 },
      );
      // Until it has heard how many calls it may make, a client makes no more than a hundred.
      socket.write(settingsFrame([]), "latin1");
      socket.on("error", () => undefined).on("data", (chunk: Uint8Array) => frames.take(chunk));
      closing.push(() => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { port: number };
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  closing.push(() => {
    session.destroy();
    server.close();
  });
  for (const headers of requests) session.request(headers).on("error", () => undefined);
  await all;
  return read;
}

describe("blocks of headers", () => {
  it("are read as another encoder writes them, with its tables and its Huffman code", async () => {
    const every = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");
    const high = String.fromCharCode(...Array.from({ length: 128 }, (_, index) => 128 + index));
    const name = fc.stringMatching(/^x-[a-z0-9-]{1,20}$/);
    const value = fc.stringMatching(/^[!-~]([ -~]{0,300}[!-~])?$/);
    const draws = fc.sample(fc.dictionary(name, value, { maxKeys: 6 }), { numRuns: 60, seed: 5 });
    const requests = [
      { ":path": "/a", "x-every": `a${every}b` },
      { ":path": "/a", "x-high": `a${high}b` },
      ...draws.flatMap((one) => [one, one]).map((one, index) => ({ ":path": `/${index % 7}`, ...one })),
    ];
    const read = await asSent(requests);
    for (const [index, headers] of requests.entries()) {
      const fields = Object.fromEntries(read[index] ?? []);
      expect(fields).toMatchObject({ ":method": "GET", ":scheme": "http", ...headers });
      expect(Object.keys(fields)).toHaveLength(Object.keys(headers).length + 3);
    }
  });

  it("of RFC 7541 decode as it states, one after another", () => {
    const reader = new HeaderReader(limits);
    const first: HeaderField[] = [
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "www.example.com"],
    ];
    // C.4.1 to C.4.3
    expect(reader.read(bytesOf("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"))?.fields).toEqual(first);
    expect(reader.read(bytesOf("8286 84be 5886 a8eb 1064 9cbf"))?.fields).toEqual([
      ...first,
      ["cache-control", "no-cache"],
    ]);
    expect(
      reader.read(bytesOf("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"))?.fields,
    ).toEqual([
      [":method", "GET"],
      [":scheme", "https"],
      [":path", "/index.html"],
      [":authority", "www.example.com"],
      ["custom-key", "custom-value"],
    ]);
  });

  it("forget fields that no longer fit into the table", () => {
    const reader = new HeaderReader(limits);
    // C.5, whose table has 256 bytes
    const sized = bytesOf("3fe1 01");
    expect(reader.read(sized)?.fields).toEqual([]);
    const long = "a".repeat(100);
    const add = (name: string): Uint8Array => latin1(`\x40\x01${name}\x64${long}`);
    for (const name of ["a", "b", "c"]) expect(reader.read(add(name))?.fields).toEqual([[name, long]]);
    expect(reader.read(bytesOf("be"))?.fields).toEqual([["c", long]]);
    expect(reader.read(bytesOf("c0"))).toBeUndefined();
  });

  it.each([
    ["an index that nobody has", "c0"],
    ["the index 0", "80"],
    ["a number without end", "ffffffffffffffffffff"],
    ["a number that is cut short", "ff"],
    ["a text past the end", "400a61"],
    ["a name without a value", "400161"],
    ["Huffman's end of strings", "4084ffffffff0161"],
    ["Huffman code filled up by more than seven ones", "40821fff0161"],
    ["Huffman code filled up by zeros", "4081180161"],
    ["a larger table than was offered", "3fe21f"],
    ["a new table behind a field", "823e"],
  ])("are refused with %s", (_what, hex) => {
    expect(new HeaderReader(limits).read(bytesOf(hex))).toBeUndefined();
  });

  it("that say more than the limits are too large, and those after them are understood", () => {
    const reader = new HeaderReader({ bytes: 200, fields: 3 });
    const bomb = Uint8Array.of(
      ...latin1(`\x40\x01a\x64${"b".repeat(100)}`),
      ...Array.from({ length: 50 }, () => 0xbe),
    );
    const read = reader.read(bomb);
    expect(read?.tooLarge).toBe(true);
    expect(read?.fields).toHaveLength(1);
    expect(reader.read(bytesOf("be"))?.fields).toEqual([["a", "b".repeat(100)]]);
    expect(reader.read(bytesOf("82838485"))?.tooLarge).toBe(true);
  });

  it("of any bytes are refused or read within the limits", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const reader = new HeaderReader({ bytes: 500, fields: 8 });
        for (const block of blocks) {
          const read = reader.read(block);
          if (!read) return;
          expect(read.fields.length).toBeLessThanOrEqual(8);
          const size = read.fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
          expect(size).toBeLessThanOrEqual(500);
        }
      }),
    );
  });

  it("that are written are read as they were meant", () => {
    const name = fc.stringMatching(/^[a-z0-9-]{1,200}$/);
    const value = fc.stringMatching(/^([!-~]([ -~]{0,400}[!-~])?)?$/);
    fc.assert(
      fc.property(
        fc.dictionary(name, value, { maxKeys: 8 }),
        fc.constantFrom(200, 415, undefined),
        (headers, status) => {
          const block = latin1(noTable + headerBlock(status, headers));
          const read = new HeaderReader({ bytes: 2 ** 16, fields: 128 }).read(block);
          const told: HeaderField[] = status === undefined ? [] : [[":status", String(status)]];
          expect(read?.fields).toEqual([...told, ...Object.entries(headers)]);
        },
      ),
    );
    for (const [bad, what] of [
      ["x", "a\nb"],
      ["x", "\u20ac"],
      ["x", " a"],
      ["X", "a"],
      ["", "a"],
    ] as const)
      expect(() => headerBlock(200, { [bad]: what })).toThrow("cannot be sent");
  });
});
