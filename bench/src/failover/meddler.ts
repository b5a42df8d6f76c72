import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createRelay, type Socket } from "node:net";
import { ownNetwork } from "./own-network.ts";

/** The behaviour of a relay before a server or gateway. */
export type Mode = "pass" | "silent" | "gone" | "reset" | "wrong shape" | "wrong values";

/** A relay that can misbehave. */
export interface Meddler extends AsyncDisposable {
  readonly address: string;
  mode: Mode;
  /** Whether it can be gone: it is in a network of its own. */
  readonly vanishes: boolean;
  /** Inferences of the model `mean` that were requested so far. */
  readonly asked: number;
  /** Answers whose values were changed. */
  readonly distorted: number;
}

/** A reply that no model of the bench gives. */
const nonsense = JSON.stringify({
  model_name: "mean",
  model_version: "1",
  outputs: [{ name: "y", datatype: "FP32", shape: [1, 7], data: [1, 2, 3, 4, 5, 6, 7] }],
});

/** Passes a reply on with its last number, the mean, a tenth too large. */
function distort(answer: IncomingMessage, reply: ServerResponse): void {
  const chunks: Buffer[] = [];
  answer
    .on("data", (chunk: Buffer) => chunks.push(chunk))
    .on("end", () => {
      const body = Buffer.concat(chunks);
      const at = body.length - 4;
      if (answer.statusCode === 200 && at >= 0) body.writeFloatLE(body.readFloatLE(at) * 1.1, at);
      reply.writeHead(answer.statusCode ?? 502, answer.headers).end(body);
    });
}

/** Opens one before a server or gateway (`host:port`), in a network of its own where it may have one. */
export async function meddler(target: string): Promise<Meddler> {
  const [host = "", port = ""] = target.split(":");
  const sockets = new Set<Socket>();
  let mode: Mode = "pass";
  let distorted = 0;
  let inferences = 0;
  const server = createServer((asked, reply) => {
    if (asked.url?.includes("/models/mean/") === true && asked.url.endsWith("/infer")) inferences++;
    if (mode === "silent") return;
    if (mode === "wrong shape" && asked.url?.endsWith("/infer") === true) {
      asked
        .resume()
        .on("end", () => reply.writeHead(200, { "content-type": "application/json" }).end(nonsense));
      return;
    }
    // A server that gets a loopback name of this machine trusts its clients.
    const headers = { ...asked.headers, host: target };
    const onward = request(
      { host, port: Number(port), method: asked.method, path: asked.url, headers },
      (answer) => {
        if (mode === "wrong values" && asked.url?.endsWith("/infer") === true) {
          distorted++;
          distort(answer, reply);
          return;
        }
        reply.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(reply);
      },
    );
    onward.on("error", () => reply.destroy());
    onward.on("information", () => reply.writeProcessing());
    reply.on("close", () => onward.destroy());
    asked.pipe(onward);
  });
  const network = ownNetwork();
  const listening = network ? await network.listen() : createRelay().listen(0, "127.0.0.1");
  if (!network) await once(listening, "listening");
  listening.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => socket.destroy());
    if (mode === "reset") socket.destroy();
    else server.emit("connection", socket);
  });
  return {
    address: `${network?.host ?? "127.0.0.1"}:${(listening.address() as AddressInfo).port}`,
    vanishes: network !== undefined,
    get asked() {
      return inferences;
    },
    get distorted() {
      return distorted;
    },
    get mode() {
      return mode;
    },
    set mode(next) {
      if ((mode === "gone") !== (next === "gone")) network?.cut(next === "gone");
      mode = next;
      if (next === "reset") for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      listening.close();
      for (const socket of sockets) socket.destroy();
      await once(listening, "close");
      network?.[Symbol.dispose]();
    },
  };
}
