import { once } from "node:events";
import { type AddressInfo, connect, createServer, isIP, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type ConnectionOptions } from "node:tls";
import { LongshoreError } from "@longshore/core";
import { giveUp } from "@longshore/nodejs";
import { type ListenTls, nodeTls } from "@longshore/server";

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
  readonly target: RelayTarget;
  /** Clients come by TLS with this certificate. Default: as they are. */
  readonly tls?: ListenTls;
  /** The protocol agreed on inside TLS. */
  readonly protocol: "http/1.1" | "h2";
  /** Called for each connection. */
  watch(client: string): Watching;
  /** Called with the reason why a connection could not be passed on; default: no call. */
  broke?(because: string): void;
}

/** Where bytes go. */
export interface RelayTarget {
  readonly host: string;
  readonly port: number;
  /** By TLS, believing these authorities (default: the platform's) and showing this certificate. */
  readonly tls?: Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername">;
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
  from.on("error", () => giveUp(to));
  from.on("close", () => {
    // A side that broke, rather than ended, breaks the other.
    if (!from.readableEnded) giveUp(to);
  });
}

function dialled({ target, protocol }: RelayOptions): Socket {
  const { host, port, tls } = target;
  const socket = connect({ host, port, allowHalfOpen: true });
  if (!tls) return socket;
  // A name for the certificate, where the address has one.
  const servername = tls.servername ?? (isIP(host) === 0 ? host : "");
  return connectTls({ ...tls, socket, host, servername, ALPNProtocols: [protocol] });
}

function listener({ tls, protocol }: RelayOptions, took: (client: Socket) => void): Server {
  if (!tls) return createServer({ allowHalfOpen: true, pauseOnConnect: true }, took);
  try {
    return createTlsServer({ ...nodeTls(tls), ALPNProtocols: [protocol], allowHalfOpen: true }, took);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `the certificate or key cannot be used: ${why}`,
      {
        cause: thrown,
      },
    );
  }
}

/**
 * Passes on every byte of connections as it is, both ways, and gives an observer a copy afterwards; TLS ends here on each side
 * that has it, and its content is passed on. Throws `port-taken`, and `invalid-configuration` for a certificate of no use.
 */
export async function relay(options: RelayOptions): Promise<Relay> {
  const { host, port, watch, broke } = options;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  };
  const server = listener(options, (client) => {
    const upstream = dialled(options);
    upstream.on("error", ({ message }) => broke?.(message));
    const watching = watch(client.remoteAddress ?? "unknown");
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      keep(socket);
    }
    pass(client, upstream, (chunk) => watching.up(chunk));
    pass(upstream, client, (chunk) => watching.down(chunk));
    upstream.on("end", () => watching.downEnded());
    upstream.on("close", () => watching[Symbol.dispose]());
    client.resume();
  });
  // By TLS a client is passed on later, or never.
  server.on("connection", keep);
  server.on("tlsClientError", ({ message }: Error) => broke?.(message));
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
