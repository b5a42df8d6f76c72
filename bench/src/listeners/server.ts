/**
 * One server of small calls in a process of its own, which reports its processor time on request: our listeners with a handler
 * that does nothing, or Node.js's servers that do the same and no more.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { emptyBody, type Handler, readBody } from "@longshore/core";
import { listenGrpc } from "@longshore/grpc";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { listen } from "@longshore/server";
import { answerBytes, grpcAnswer } from "./messages.ts";

/** A protocol, and the code that reads it: our listener's own, Node.js's behind our listener, or Node.js's server alone. */
export type ServerKind = `${"http" | "grpc"} ${"own" | "node" | "bare"}`;

const answer = new Uint8Array(answerBytes);

const answerHttp: Handler = async (request) => {
  await readBody(request.body, { maxBytes: 2 ** 20 });
  return {
    status: 200,
    headers: { "content-type": "application/octet-stream" },
    body: { kind: "parts", parts: [answer] },
  };
};

const answerGrpc: Handler = async (request) => {
  const read = await request.message?.read();
  const output = {
    name: "x",
    datatype: "FP32",
    shape: [answerBytes / 4],
    parameters: {},
    bytes: answer,
  } as const;
  return {
    status: 200,
    headers: {},
    body: emptyBody,
    message: { modelName: read?.inputs[0]?.name ?? "", parameters: {}, outputs: [output] },
  };
};

function bareHttp(): Server {
  return createServer(
    { keepAliveTimeout: 60_000, noDelay: true },
    (request: IncomingMessage, response: ServerResponse) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        response.writeHead(200, {
          "content-type": "application/octet-stream",
          "content-length": answer.byteLength,
        });
        response.end(answer);
      });
    },
  );
}

function bareHttp2(): Server {
  const server = createHttp2Server({ settings: { initialWindowSize: 2 ** 20 } });
  server.on("stream", (stream: ServerHttp2Stream) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("error", () => undefined);
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.end(grpcAnswer);
    });
  });
  server.on("sessionError", () => undefined);
  return server;
}

function bare(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

async function portOf(kind: ServerKind): Promise<number> {
  const [protocol, reader] = kind.split(" ");
  if (reader === "bare") return bare(protocol === "http" ? bareHttp() : bareHttp2());
  const options = { clock: systemClock(), random: systemRandom(), port: 0 };
  const http = reader === "own" ? "own" : "node";
  return protocol === "http"
    ? (await listen(answerHttp, { ...options, http })).port
    : (await listenGrpc(answerGrpc, { ...options, http })).port;
}

// The parent passes one of the kinds.
const port = await portOf(process.argv[2] as ServerKind);
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ cpuMicros: user + system });
});
process.on("disconnect", () => process.exit(0));
process.send?.({ port });
