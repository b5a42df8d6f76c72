import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exchangeWatch, type ObservedExchange } from "./exchange-watch.ts";
import { httpWatch, type WatchedMessage } from "./http-watch.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const requests = bytes(
  [
    "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /v2 HTTP/1.1\r\n\r\n",
    "POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n3\r\nefg\r\n0\r\nTrailer: 1\r\n\r\n",
    "POST /v2/models/m/infer HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
  ].join(""),
);
const replies = bytes(
  [
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "HTTP/1.1 500 No\r\n\r\nuntil the end",
  ].join(""),
);

function chunked(all: Uint8Array, sizes: readonly number[]): readonly Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (let count = 0; at < all.byteLength; count++) {
    const size = sizes[count % sizes.length] ?? 1;
    chunks.push(all.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

describe("watching HTTP/1.1", () => {
  it("sees the same messages however the bytes come", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, sizes, (upSizes, downSizes) => {
        const ended: ObservedExchange[] = [];
        let broke = 0;
        const sink = {
          began: () => undefined,
          ended: (one: ObservedExchange) => ended.push(one),
          broke: () => broke++,
        };
        const watch = exchangeWatch("client", sink);
        for (const chunk of chunked(requests, upSizes)) watch.up.passed(chunk, 1);
        for (const chunk of chunked(replies, downSizes)) watch.down.passed(chunk, 7);
        watch.down.ended(9);
        watch[Symbol.dispose]();
        expect(
          ended.map(({ method, status, requestBytes, replyBytes }) => [
            method,
            status,
            requestBytes,
            replyBytes,
          ]),
        ).toEqual([
          ["POST", 200, 5, 3],
          ["GET", 204, 0, 0],
          ["HEAD", 200, 0, 0],
          ["POST", 200, 7, 10],
          ["POST", 500, 0, 13],
        ]);
        expect(ended.at(-1)).toMatchObject({ atMs: 1, sentMs: 1, answeredMs: 7, endedMs: 9 });
        expect(broke).toBe(0);
      }),
    );
  });

  it.each([
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["nothing of the kind", "\u0000\u0001 hello\r\n\r\n"],
    ["a length that is none", "POST / HTTP/1.1\r\ncontent-length: -3\r\n\r\n"],
    ["a chunk that is none", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
    ["a head without end", `GET / HTTP/1.1\r\n${"x: y\r\n".repeat(20_000)}`],
  ])("gives up at %s, and says nothing of the rest", (_name, text) => {
    const told: WatchedMessage[] = [];
    const watch = httpWatch({ head: () => true, message: (one) => void told.push(one) });
    watch.passed(bytes(text), 1);
    watch.passed(bytes("GET / HTTP/1.1\r\n\r\n"), 2);
    expect([watch.lost, told]).toEqual([true, []]);
  });

  it("reports requests that were never answered", () => {
    let broke = 0;
    const watch = exchangeWatch("c", {
      began: () => undefined,
      ended: () => undefined,
      broke: () => broke++,
    });
    watch.up.passed(requests, 1);
    watch[Symbol.dispose]();
    expect(broke).toBe(5);
  });
});
