import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** When a crash happens to a step. `none`: not to the next one. */
export type Moment = "before it leaves" | "after it left" | "after it ran" | "after the answer";
/** What is at the address afterwards: nothing, a server that remembers nothing, or the same one. */
export type Aftermath = "gone" | "started again" | "back";

/** How long an exchange takes longer over a way that has become slow, in milliseconds. */
const slowMs = 250;

/** Stands before a server and crashes when told to. */
export interface CrashRelay extends AsyncDisposable {
  readonly address: string;
  /** Crashes at this moment of the next inference. */
  arm(moment: "after it left" | "after it ran", aftermath: Aftermath, crashes: () => void): void;
  disarm(): void;
  /** Crashes now. */
  crash(aftermath: Aftermath): void;
  /** From now on it refuses new work as a server that is told to stop does. */
  drain(): void;
  /** From now on each exchange takes a quarter of a second longer, as at the edge of a cell; or no longer. */
  slow(isSlow: boolean): void;
}

/** Opens one before `target`; `fresh` is a server of the same models that has seen none of the sequences. */
export async function crashRelay(target: string, fresh: string): Promise<CrashRelay> {
  const sockets = new Set<Socket>();
  let to: string | undefined = target;
  let armed:
    | { readonly moment: Moment; readonly aftermath: Aftermath; readonly crashes: () => void }
    | undefined;
  const crash = (aftermath: Aftermath): void => {
    to = aftermath === "gone" ? undefined : aftermath === "started again" ? fresh : to;
    for (const socket of sockets) socket.destroy();
  };
  let isDraining = false;
  let delayMs = 0;
  const server = createServer((asked, reply) => {
    if (isDraining) {
      asked.resume();
      const body = JSON.stringify({
        error: "the server is stopping",
        reason: "shutting-down",
        stage: "admission",
      });
      reply
        .writeHead(503, { "content-type": "application/json", "retry-after": "1", connection: "close" })
        .end(body);
      return;
    }
    const [host = "", port = ""] = (to ?? "").split(":");
    const plan = asked.url?.endsWith("/infer") === true ? armed : undefined;
    // One endpoint crashes, whoever else was asked meanwhile.
    plan?.crashes();
    let fell = false;
    const fall = (): void => {
      if (!plan || fell) return;
      fell = true;
      crash(plan.aftermath);
    };
    const onward = request(
      {
        host,
        port: Number(port),
        method: asked.method,
        path: asked.url,
        headers: asked.headers,
        agent: false,
      },
      (answer) => {
        if (plan) {
          answer.resume().on("end", fall);
          return;
        }
        setTimeout(() => {
          reply.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(reply);
        }, delayMs);
      },
    );
    onward.on("error", () => reply.destroy());
    // Whoever has left, the server has the request and goes on with it.
    if (!plan) reply.on("close", () => onward.destroy());
    asked.pipe(onward);
    if (plan?.moment === "after it left") onward.on("finish", fall);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => socket.destroy());
    if (to === undefined) socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    arm(moment, aftermath, crashes) {
      armed = { moment, aftermath, crashes };
    },
    disarm() {
      armed = undefined;
    },
    crash,
    drain() {
      isDraining = true;
    },
    slow(isSlow) {
      delayMs = isSlow ? slowMs : 0;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}
