import { request } from "node:http";
import { gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type Handler, readBody, seededRandom, type WireResponse } from "@longshore/core";
import { on } from "../../test/on-port.ts";
import type { Listening } from "./listen.ts";
import type { ListenOptions } from "./options.ts";
import { chosenCoding } from "./reply-coding.ts";

interface Heard {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly bytes: Uint8Array;
}

/** As the bytes are on the wire: nothing is inflated. */
function ask(
  { port }: Listening,
  headers: Record<string, string>,
  method = "GET",
  body?: Uint8Array,
  path = "/",
): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: "127.0.0.1", path, method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) }),
      );
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

function answering(
  parts: readonly Uint8Array[],
  headers: Record<string, string> = {},
  status = 200,
): Handler {
  const reply: WireResponse = {
    status,
    headers: { "inference-header-content-length": "8", ...headers },
    body: { kind: "parts", parts },
  };
  return async () => reply;
}

const json = new TextEncoder().encode('{"a":1} ');
const zeros = new Uint8Array(100_000);
const noise = ((): Uint8Array => {
  const random = seededRandom(3);
  return Uint8Array.from({ length: 100_000 }, () => random.next() * 256);
})();

describe("coded replies", () => {
  it("come as gzip or deflate to clients that accept them, with the JSON length of the bytes before", async () => {
    const server = await on(answering([json, zeros], { vary: "origin" }));
    for (const [coding, undo] of [
      ["gzip", gunzipSync],
      ["deflate", inflateSync],
    ] as const) {
      const heard = await ask(server, { "accept-encoding": coding });
      expect(heard.headers).toMatchObject({
        "content-encoding": coding,
        "inference-header-content-length": "8",
        vary: "origin, accept-encoding",
        "content-length": String(heard.bytes.byteLength),
      });
      expect(heard.bytes.byteLength).toBeLessThan(1000);
      expect(Buffer.compare(undo(heard.bytes), Buffer.concat([json, zeros]))).toBe(0);
    }
  });

  it("do not come to clients that did not accept them, nor if they would not be smaller, nor with a tag", async () => {
    const plain = await on(answering([json, zeros]));
    expect((await ask(plain, {})).headers).not.toHaveProperty("content-encoding");
    expect((await ask(plain, { "accept-encoding": "br" })).bytes).toHaveLength(100_008);
    for (const parts of [[json], [json, noise]]) {
      const heard = await ask(await on(answering(parts)), { "accept-encoding": "gzip" });
      expect(heard.headers).not.toHaveProperty("content-encoding");
      expect(Buffer.compare(heard.bytes, Buffer.concat(parts))).toBe(0);
    }
    const tagged = await ask(await on(answering([zeros], { etag: '"x"' })), { "accept-encoding": "gzip" });
    expect(tagged.bytes).toHaveLength(100_000);
  });

  it("are answers of inference and texts: other JSON comes as it is, which clients that undo these alone can read", async () => {
    const typed = (type: string) => on(answering([json, zeros], { "content-type": type }));
    const accepting = { "accept-encoding": "gzip, deflate" };
    const server = await typed("application/json");
    const post = (to: Listening, path: string) => ask(to, accepting, "POST", undefined, path);
    expect((await ask(server, accepting)).bytes).toHaveLength(100_008);
    // Triton lists its models at this path.
    expect((await post(server, "/v2/repository/index")).bytes).toHaveLength(100_008);
    for (const path of ["/v2/models/m/infer", "/v2/models/m/versions/1/generate?x=1"]) {
      expect((await post(server, path)).headers).toHaveProperty("content-encoding", "gzip");
    }
    const failing = await on(answering([json, zeros], { "content-type": "application/json" }, 404));
    expect((await post(failing, "/v2/models/m/infer")).bytes).toHaveLength(100_008);
    expect((await ask(await typed("text/plain"), accepting)).headers).toHaveProperty(
      "content-encoding",
      "gzip",
    );
  });

  it("have no body for HEAD", async () => {
    const heard = await ask(await on(answering([json, zeros])), {}, "HEAD");
    expect(heard).toMatchObject({ status: 200, headers: { "content-length": "100008" } });
    expect(heard.bytes).toHaveLength(0);
  });

  const accepted: readonly [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ["", undefined],
    ["gzip", "gzip"],
    ["x-gzip", "gzip"],
    ["br, deflate, gzip", "deflate"],
    ["deflate;q=0.5, gzip;q=0.8", "gzip"],
    ["gzip;q=0", undefined],
    ["gzip; q=0.000, deflate", "deflate"],
    ["identity", undefined],
    ["*", "gzip"],
    ["GZIP", "gzip"],
    ["gzip;q=nonsense", undefined],
    ["constructor, __proto__", undefined],
    [`${"x,".repeat(5000)}gzip`, undefined],
  ];
  it.each(accepted)("of %j choose %j", (header, coding) => {
    expect(chosenCoding(header)).toBe(coding);
  });
});

describe("bodies that inflate", () => {
  const reading: Handler = async ({ body }) => {
    try {
      const bytes = await readBody(body, { maxBytes: 2 ** 30 });
      return {
        status: 200,
        headers: {},
        body: { kind: "parts", parts: [new TextEncoder().encode(String(bytes.byteLength))] },
      };
    } catch (thrown) {
      const { reason } = thrown as { reason: string };
      return { status: 413, headers: {}, body: { kind: "parts", parts: [new TextEncoder().encode(reason)] } };
    }
  };
  const bomb = gzipSync(new Uint8Array(20 * 2 ** 20));
  const send = async (change: Partial<ListenOptions>): Promise<string> => {
    const heard = await ask(await on(reading, change), { "content-encoding": "gzip" }, "POST", bomb);
    return new TextDecoder().decode(heard.bytes);
  };

  it("are stopped beyond the allowance when they grow too much, whatever the reader's limit", async () => {
    expect(await send({})).toBe("body-too-large");
    expect(await send({ inflateAllowance: 32 * 2 ** 20 })).toBe(String(20 * 2 ** 20));
    expect(await send({ maxInflateRatio: 2000 })).toBe(String(20 * 2 ** 20));
  });
});
