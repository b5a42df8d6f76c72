/**
 * One server of small calls in a process of its own, which reports its processor time on request: our listeners with a handler
 * that does nothing, or Node.js's servers that do the same and no more.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { type Handler, readBody } from "@longshore/core";

import { listenGrpc } from "@longshore/grpc";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { listen } from "@longshore/server";

const [kind = ""] = process.argv.slice(2);
const answer = new Uint8Array(200);

const handler: Handler = async (request) => {
  await readBody(request.body, { maxBytes: 2 ** 20 });
  return {
    status: 200,
    headers: { "content-type": "application/octet-stream" },
    body: { kind: "parts", parts: [answer] },
  };
};

function nodeHttp(): Promise<number> {
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.writeHead(200, {
        "content-type": "application/octet-stream",
        "content-length": answer.byteLength,
      });
      response.end(answer);
    });
  };
  const server = createServer({ keepAliveTimeout: 60_000, noDelay: true }, serve);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

/** Field 1, true: the answer of `ServerLive`. */
const live = Uint8Array.of(0, 0, 0, 0, 2, 8, 1);

function nodeHttp2(): Promise<number> {
  const server = createHttp2Server({ settings: { initialWindowSize: 2 ** 20 } });
  server.on("stream", (stream: ServerHttp2Stream) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("error", () => undefined);
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.end(live);
    });
  });
  server.on("sessionError", () => undefined);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

async function portOf(): Promise<number> {
  const clock = systemClock();
  if (kind === "http") return (await listen(handler, { clock, random: systemRandom(), port: 0 })).port;
  if (kind === "node:http") return nodeHttp();
  if (kind === "node:http2") return nodeHttp2();
  return (await listenGrpc(handler, { clock, random: systemRandom(), port: 0 })).port;
}

const port = await portOf();
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ cpuMicros: user + system });
});
process.on("disconnect", () => process.exit(0));
process.send?.({ port });
