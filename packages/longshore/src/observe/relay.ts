import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { LongshoreError } from "@longshore/core";

/** Looks at what passes on one connection. */
export interface Watching extends Disposable {
  up(chunk: Uint8Array): void;
  down(chunk: Uint8Array): void;
  /** The server has ended its side. */
  downEnded(): void;
}

/** Between whom bytes are passed on. */
export interface RelayOptions {
  readonly host: string;
  readonly port: number;
  readonly target: { readonly host: string; readonly port: number };
  /** Called for each connection. */
  watch(client: string): Watching;
}

/** A relay that listens. */
export interface Relay extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

/** Passes on what comes out of one socket into the other, as fast as that takes it. */
function pass(from: Socket, to: Socket, look: (chunk: Uint8Array) => void): void {
  from.on("data", (chunk: Uint8Array) => {
    if (!to.write(chunk)) {
      from.pause();
      to.once("drain", () => from.resume());
    }
    look(chunk);
  });
  from.on("end", () => to.end());
  from.on("error", () => to.resetAndDestroy());
  from.on("close", () => {
    // A side that broke, rather than ended, breaks the other.
    if (!from.readableEnded) to.resetAndDestroy();
  });
}

/**
 * Passes on every byte of TCP connections as it is, both ways, and lets somebody look at them afterwards. Throws `port-taken`.
 */
export async function relay({ host, port, target, watch }: RelayOptions): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const upstream = connect({ ...target, allowHalfOpen: true });
    const watching = watch(client.remoteAddress ?? "unknown");
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    }
    pass(client, upstream, (chunk) => watching.up(chunk));
    pass(upstream, client, (chunk) => watching.down(chunk));
    upstream.on("end", () => watching.downEnded());
    upstream.on("close", () => watching[Symbol.dispose]());
    client.resume();
  });
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (thrown) {
    const taken = thrown instanceof Error && "code" in thrown && thrown.code === "EADDRINUSE";
    if (!taken) throw LongshoreError.from(thrown, "transport", `listening on port ${port}`);
    throw new LongshoreError("port-taken", "transport", `port ${port} is in use; choose another`);
  }
  return {
    host,
    // An address of TCP: the server listens on a port.
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
