import { request } from "node:http";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { plainHead, requestHead } from "./plain-head.ts";

const head = (...lines: readonly string[]): string => `${lines.join("\r\n")}\r\n\r\n`;
const line = "HTTP/1.1 200 OK";

interface ReadByNode {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly rest: boolean;
}

/** What Node.js reads of the same bytes; undefined when it refuses them. */
function readByNode(text: string): Promise<ReadByNode | undefined> {
  const wire = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const read = new Promise<ReadByNode | undefined>((resolve) => {
    const asking = request({ createConnection: () => wire });
    asking.on("error", () => resolve(undefined));
    asking.on("response", (response) => {
      let body = "";
      response.on("error", () => resolve(undefined));
      response.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
      response.on("end", () => {
        const { statusCode: status, headers } = response;
        resolve({ status, headers: { ...headers }, body, rest: response.complete });
      });
    });
    asking.end();
  });
  wire.push(Buffer.from(text, "latin1"));
  wire.push(null);
  return read;
}

describe("the head of a reply that is plain", () => {
  it("gives status, headers and length, and how long the connection is kept", () => {
    const lines = ["Content-Length:  12 ", "Connection: Keep-Alive", "Keep-Alive: timeout=30", "x-a:"];
    const found = plainHead(head(line, ...lines, "set-cookie: a=1", "Set-Cookie: b=2"));
    expect(found).toMatchObject({
      status: 200,
      headers: { "content-length": "12", connection: "Keep-Alive", "keep-alive": "timeout=30", "x-a": "" },
      bodyBytes: 12,
      keeps: true,
      keepsMs: 30_000,
    });
    const ends = plainHead(head("HTTP/1.1 503 ", "transfer-encoding: Chunked", "connection: close"));
    expect(ends).toMatchObject({ status: 503, bodyBytes: undefined, keeps: false, keepsMs: Infinity });
    expect(plainHead(head("HTTP/1.1 204 No Content"))).toMatchObject({ status: 204, bodyBytes: 0 });
    expect(plainHead(head("HTTP/1.1 102 Processing", "longshore-acknowledged: 7"))).toMatchObject({
      status: 102,
      headers: { "longshore-acknowledged": "7" },
    });
  });

  const others: readonly (readonly [string, ...string[]])[] = [
    ["another version", "HTTP/1.0 200 OK", "content-length: 3"],
    ["another protocol's name", "ICY 200 OK", "content-length: 3"],
    ["no status", "HTTP/1.1 OK", "content-length: 3"],
    ["a status of four digits", "HTTP/1.1 2000 OK", "content-length: 3"],
    ["a change of protocol", "HTTP/1.1 101 Switching Protocols", "upgrade: h2c"],
    ["the length of something else", "HTTP/1.1 304 Not Modified", "content-length: 3"],
    ["a body that ends with the connection", line],
    ["two lengths", line, "content-length: 3", "Content-Length: 3"],
    ["a signed length", line, "content-length: +3"],
    ["a length as a list", line, "content-length: 3, 3"],
    ["a length with zeros before it", line, "content-length: 03"],
    ["an empty length", line, "content-length:"],
    ["a length and chunks", line, "content-length: 3", "transfer-encoding: chunked"],
    ["chunks and another coding", line, "transfer-encoding: gzip, chunked"],
    ["a coding without chunks", line, "transfer-encoding: gzip"],
    ["an interim reply with a body", "HTTP/1.1 103 Early", "content-length: 3"],
    ["a body where there is none", "HTTP/1.1 204 No Content", "content-length: 3"],
    ["a connection that becomes another", line, "content-length: 3", "connection: upgrade"],
    ["a header twice", line, "content-length: 3", "vary: a", "Vary: b"],
    ["a folded line", line, "content-length: 3", "x: a", " b"],
    ["a blank before the colon", line, "content-length : 3"],
    ["no colon", line, "content-length: 3", "x"],
    ["no name", line, "content-length: 3", ": a"],
    ["a lone line feed", line, "content-length: 3\nx: a"],
    ["a lone carriage return", line, "content-length: 3\rx: a"],
    ["a zero byte", line, "content-length: 3", "x: a\0b"],
    ["letters beyond ASCII", line, "content-length: 3", "x: \u00e9"],
  ];
  it.each(others)("is none with %s", (_, ...lines) => {
    expect(plainHead(head(...lines))).toBeUndefined();
  });

  it("is read the same behind another one, whatever the two have of each other", () => {
    const one = fc.constantFrom(
      "x: 1",
      "X: 1",
      "x: 2",
      "content-length: 3",
      "set-cookie: a=1",
      "te : x",
      "y:",
    );
    const lines = fc.array(one, { maxLength: 5 });
    const start = fc.constantFrom(line, "HTTP/1.1 204 N", "HTTP/1.1 101 S", "HTTP/1.0 200 OK");
    fc.assert(
      fc.property(start, lines, start, lines, (first, before, second, after) => {
        const known =
          plainHead(head(first, ...before)) ?? plainHead(head(line, "content-length: 3", ...before));
        const text = head(second, ...after);
        expect(plainHead(text, known)).toEqual(plainHead(text));
      }),
      { numRuns: 2000 },
    );
  });

  it("is read as Node.js reads it, whatever it says", async () => {
    const name = fc.constantFrom(
      "content-length",
      "Content-Length",
      "Transfer-Encoding",
      "connection",
      "x",
      "a_b",
      "set-cookie",
      "trailer",
      "upgrade",
    );
    const value = fc.oneof(
      fc.constantFrom("3", "0", "03", "chunked", "", "close", "keep-alive"),
      fc.string({ maxLength: 6, unit: "binary-ascii" }),
    );
    const lines = fc.array(fc.tuple(name, fc.constantFrom(":", ": ", " : ", ":\t"), value), { maxLength: 4 });
    const first = fc.constantFrom(
      line,
      "HTTP/1.1 204 N",
      "HTTP/1.1 404",
      "HTTP/1.1 500 \tx",
      "HTTP/1.0 200 OK",
    );
    await fc.assert(
      fc.asyncProperty(first, lines, async (start, more) => {
        const text = head(start, ...more.map((parts) => parts.join("")));
        const whole = text.slice(0, text.indexOf("\r\n\r\n") + 4);
        const found = plainHead(whole);
        if (!found) return;
        const body = "abc".slice(0, found.bodyBytes ?? 3);
        const framed = found.bodyBytes === undefined ? `3\r\n${body}\r\n0\r\n\r\n` : body;
        if ((found.bodyBytes ?? 3) > 3) return;
        const node = await readByNode(`${whole}${framed}`);
        if (node) delete (node.headers as Record<string, unknown>)["set-cookie"];
        expect(node).toEqual({ status: found.status, headers: { ...found.headers }, body, rest: true });
      }),
      { numRuns: 1000 },
    );
  });
});

describe("the head of a request", () => {
  const plain = { "x-tag": "a b", accept: "*/*" };

  it("names the server and the length of its body, if it has one", () => {
    expect(requestHead("POST", "/v2?x=1", "edge:8000", plain, 5)).toBe(
      head(
        "POST /v2?x=1 HTTP/1.1",
        "host: edge:8000",
        "connection: keep-alive",
        "x-tag: a b",
        "accept: */*",
        "content-length: 5",
      ),
    );
    expect(requestHead("GET", "/v2", "edge", {}, undefined)).toBe(
      head("GET /v2 HTTP/1.1", "host: edge", "connection: keep-alive"),
    );
  });

  it.each([
    ["a line end in a value", "/", { x: "a\r\nhost: b" }],
    ["a lone line feed in a value", "/", { x: "a\nb" }],
    ["a line end in a name", "/", { "x\r\ny": "a" }],
    ["a name of nothing", "/", { "": "a" }],
    ["a capital in a name", "/", { X: "a" }],
    ["letters beyond ASCII", "/", { x: "\u00e9" }],
    ["a length of its own", "/", { "content-length": "7" }],
    ["a way of its own to send the body", "/", { "transfer-encoding": "chunked" }],
    ["something to expect", "/", { expect: "100-continue" }],
    ["another host", "/", { host: "b" }],
    ["a blank in its path", "/a b", {}],
    ["a line end in its path", "/a\r\nx: y", {}],
    ["a path that is none", "*", {}],
  ])("is not written here with %s", (_, path, headers) => {
    expect(requestHead("POST", path, "edge", headers as Record<string, string>, 5)).toBeUndefined();
  });
});
