import { createServer } from "node:http";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { plainHead } from "./plain-head.ts";

const head = (...lines: readonly string[]): string => `${lines.join("\r\n")}\r\n\r\n`;
const line = "POST /v2/models/m/infer HTTP/1.1";
const plain = ["host: localhost", "content-length: 3"];

/** Node.js's reading of the same bytes; undefined when it refuses them. */
async function readByNode(text: string): Promise<
  | {
      readonly method: string | undefined;
      readonly path: string | undefined;
      readonly headers: Readonly<Record<string, unknown>>;
    }
  | undefined
> {
  const server = createServer({ requireHostHeader: false });
  const wire = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const read = new Promise<Awaited<ReturnType<typeof readByNode>>>((resolve) => {
    server.on("request", ({ method, url, headers }) =>
      resolve({ method, path: url, headers: { ...headers } }),
    );
    server.on("clientError", () => resolve(undefined));
  });
  server.emit("connection", wire);
  wire.push(Buffer.from(text, "latin1"));
  const found = await read;
  wire.destroy();
  return found;
}

describe("a head that is plain", () => {
  it("gives path, headers and length", () => {
    const text = head(
      line,
      "Host: localhost:80",
      "Content-Length:  12 ",
      "Connection: Keep-Alive",
      "x-a:",
      "Y-b: c, d",
    );
    expect(plainHead(text)).toMatchObject({
      text,
      method: "POST",
      path: "/v2/models/m/infer",
      headers: {
        host: "localhost:80",
        "content-length": "12",
        connection: "Keep-Alive",
        "x-a": "",
        "y-b": "c, d",
      },
      bodyBytes: 12,
    });
  });

  it("gives path and headers of a question, which has no body", () => {
    const text = head("GET /v2/models/m?a=b HTTP/1.1", "host: a", "accept: */*");
    expect(plainHead(text)).toMatchObject({
      text,
      method: "GET",
      path: "/v2/models/m?a=b",
      headers: { host: "a", accept: "*/*" },
      bodyBytes: 0,
    });
  });

  const others: readonly (readonly [string, ...string[]])[] = [
    ["another method", "PUT / HTTP/1.1", ...plain],
    ["a question of which only the head is told", "HEAD / HTTP/1.1", "host: a"],
    ["a question with a body", "GET / HTTP/1.1", ...plain],
    ["a question that says that it has none", "GET / HTTP/1.1", "host: a", "content-length: 0"],
    ["a question with chunks", "GET / HTTP/1.1", "host: a", "transfer-encoding: chunked"],
    ["a question to no host", "GET / HTTP/1.1", "x: a"],
    ["another version", "POST / HTTP/1.0", ...plain],
    ["a whole address", "POST http://a/ HTTP/1.1", ...plain],
    ["blanks in the path", "POST /a b HTTP/1.1", ...plain],
    ["two blanks", "POST  / HTTP/1.1", ...plain],
    ["no host", line, "content-length: 3"],
    ["an empty host", line, "host:", "content-length: 3"],
    ["two hosts", line, "host: a", "Host: a", "content-length: 3"],
    ["no length", line, "host: a"],
    ["two lengths", line, ...plain, "Content-Length: 3"],
    ["a signed length", line, "host: a", "content-length: +3"],
    ["a length as a list", line, "host: a", "content-length: 3, 3"],
    ["chunks", line, ...plain, "transfer-encoding: chunked"],
    ["a compressed body", line, ...plain, "content-encoding: gzip"],
    ["something to expect", line, ...plain, "expect: 100-continue"],
    ["an end of the connection", line, ...plain, "connection: close"],
    ["another protocol", line, ...plain, "upgrade: h2c"],
    ["two credentials", line, ...plain, "authorization: a", "authorization: b"],
    ["a folded line", line, ...plain, "x: a", " b"],
    ["a blank before the colon", line, ...plain, "x : a"],
    ["no colon", line, ...plain, "x"],
    ["no name", line, ...plain, ": a"],
    ["a name of a prototype", line, ...plain, "__proto__: a"],
    ["a lone line feed", line, ...plain, "x: a\ny: b"],
    ["a lone carriage return", line, ...plain, "x: a\rb"],
    ["a line feed for a value", line, ...plain, "x:\n"],
    ["a zero byte", line, ...plain, "x: a\0b"],
    ["letters beyond ASCII", line, ...plain, "x: \u00e9"],
  ];
  it.each(others)("is none with %s", (_, ...lines) => {
    expect(plainHead(head(...lines))).toBeUndefined();
  });

  it("gives the length of a body of nothing", () => {
    expect(plainHead(head(line, "host: a", "content-length: 0"))).toMatchObject({ bodyBytes: 0 });
  });

  it("is read the same after another one, with any parts in common", () => {
    const one = fc.constantFrom(
      "x: 1",
      "X: 1",
      "x: 2",
      "host: a",
      "content-length: 3",
      "te: x",
      "y:",
      "__proto__: a",
    );
    const lines = fc.array(one, { maxLength: 5 });
    const start = fc.constantFrom(line, "GET / HTTP/1.1", "POST /b HTTP/1.1", "PUT / HTTP/1.1");
    fc.assert(
      fc.property(start, lines, start, lines, (first, before, second, after) => {
        const known = plainHead(head(first, ...plain, ...before)) ?? plainHead(head(line, ...plain));
        for (const text of [head(second, ...after), head(second, ...plain, ...after)]) {
          expect(plainHead(text, known)).toEqual(plainHead(text));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("is read as Node.js reads it, with any content", async () => {
    const name = fc.constantFrom(
      "host",
      "Host",
      "content-length",
      "x",
      "accept",
      "Transfer-Encoding",
      "a_b",
      "cookie",
      "te",
    );
    const value = fc.oneof(
      fc.constantFrom("3", "0", "03", "chunked", "localhost", "", "close", "keep-alive"),
      fc.string({ maxLength: 6, unit: "binary-ascii" }),
    );
    const lines = fc.array(fc.tuple(name, fc.constantFrom(":", ": ", " : ", ":\t"), value), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(lines, fc.boolean(), fc.boolean(), async (more, well, asks) => {
        const own = more.map((parts) => parts.join(""));
        const [host, length] = plain as [string, string];
        const start = asks ? ["GET /v2 HTTP/1.1", host] : well ? [line, host, length] : [line];
        const text = head(...start, ...own);
        const found = plainHead(text.slice(0, text.indexOf("\r\n\r\n") + 4));
        if (!found) return;
        const node = await readByNode(`${found.text}${"x".repeat(3)}`);
        const { method, path, headers } = found;
        expect(node).toEqual({ method, path, headers: { ...headers } });
      }),
      { numRuns: 1000 },
    );
  });
});
