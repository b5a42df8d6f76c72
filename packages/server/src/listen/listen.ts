import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from "node:http";
import { createServer as createSecureServer, type Server as SecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { type Handler, LongshoreError } from "@longshore/core";
import { releaser, UnderWay } from "@longshore/core/internal";
import { createAdmissions } from "./admissions.ts";
import { connectionEnds, type HttpExchangeParts, serveHttpExchange } from "./exchange.ts";
import { waitHalfClosed } from "./half-closed.ts";
import { onClientError, onConnect, onExpectation, refuseHost } from "./not-served.ts";
import { type CompleteHttpOptions, completeHttpOptions, type ListenOptions } from "./options.ts";
import { createPeerReader } from "./peer.ts";
import { perConnection } from "./per-connection.ts";
import { http1Connections } from "./http1/connections.ts";
import { RequestTimes } from "./request-times.ts";
import { type ListenTls, nodeTls, renewTls, tlsError } from "./tls.ts";

/** A handler on a port. */
export interface Listening {
  /** `http://host:port`, or `https`. */
  readonly address: string;
  readonly port: number;
  /**
   * Another certificate or other client authorities for connections from now on. Throws `invalid-configuration` when they
   * cannot be used, or when the listener is not encrypted; then nothing changes.
   */
  renew(tls: ListenTls): void;
  /** Asks clients to leave: every reply from now on is the last on its connection. The port still listens. */
  drain(): void;
  /** Resolves when the replies that were written by now have left, however slowly their clients read them. */
  sent(): Promise<void>;
  /**
   * Stops accepting, lets requests under way finish for `graceMs` (default 10,000), then closes what is left.
   * Idempotent. Drain the server's `Life` first, so that balancers and clients have gone elsewhere.
   */
  close(graceMs?: number): Promise<void>;
}

function listenError(thrown: NodeJS.ErrnoException, host: string, port: number): LongshoreError {
  if (thrown.code === "EADDRINUSE") {
    return new LongshoreError(
      "port-taken",
      "resolve",
      `port ${port} on ${host} is taken by another process; choose another port, or 0 for any`,
      { cause: thrown },
    );
  }
  return new LongshoreError(
    "invalid-configuration",
    "resolve",
    `cannot listen on ${host} port ${port}: ${thrown.code ?? thrown.message}`,
    { cause: thrown },
  );
}

function makeServer(options: CompleteHttpOptions): {
  readonly server: Server;
  readonly secure: SecureServer | undefined;
} {
  const limits: ServerOptions = {
    maxHeaderSize: options.maxHeaderBytes,
    headersTimeout: options.headersTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    keepAliveTimeout: options.keepAliveMs,
    // How often the two timeouts are looked at.
    connectionsCheckingInterval: Math.min(5000, Math.max(50, options.headersTimeoutMs / 2)),
    keepAlive: true,
    noDelay: true,
    // Looked at here, so that the refusal has the protocol's form.
    requireHostHeader: false,
  };
  if (!options.tls) return { server: createServer(limits), secure: undefined };
  try {
    const secure = createSecureServer({
      ...limits,
      ...nodeTls(options.tls),
      handshakeTimeout: options.headersTimeoutMs,
      allowHalfOpen: true,
    });
    return { server: secure, secure };
  } catch (thrown) {
    throw tlsError(thrown);
  }
}

function start(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (thrown: Error): void => reject(listenError(thrown, host, port));
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

/**
 * Puts a handler on a port. Throws `port-taken`, or `invalid-configuration` for an address that cannot be listened on.
 * Loopback by default.
 */
export async function listen(handler: Handler, given: ListenOptions): Promise<Listening> {
  const options = completeHttpOptions(given);
  const { server, secure } = makeServer(options);
  let leaving = false;
  const parts: HttpExchangeParts = {
    handler,
    options,
    peerOf: createPeerReader(() => options.clock.wallMs()),
    endOf: connectionEnds(),
    leaving: () => leaving,
    release: releaser(),
    sending: new UnderWay(),
    admissions: createAdmissions(options),
  };
  const { admissions } = parts;
  const timesOf = perConnection((socket) => new RequestTimes(socket, options));
  const serve =
    (expectsContinue: boolean) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      const times = timesOf(request.socket);
      times.begin(request, response);
      if (refuseHost(request, response)) times.over(response);
      else void serveHttpExchange(parts, times, request, response, expectsContinue);
    };
  server.on("request", serve(false));
  server.on("checkContinue", serve(true));
  server.on("checkExpectation", onExpectation);
  server.on("connect", (_request, socket) => onConnect(options, socket));
  server.on("clientError", (error, socket) => onClientError(options, error, socket));
  // In no documentation of Node.js, but in its code for long: a test tells when it is no more.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.on(secure ? "secureConnection" : "connection", (socket: Socket) =>
    waitHalfClosed(socket, options.clock),
  );
  const ownReader = !secure && options.http === "own";
  // Counted from the first byte of a TLS handshake on.
  if (!ownReader) server.prependListener("connection", (socket: Socket) => void admissions.accept(socket));
  secure?.prependListener("secureConnection", (socket: Socket) => admissions.deciphered(socket));
  // An encrypted connection stays with Node.js's server as a whole: deciphering costs more than it does.
  const own = ownReader
    ? http1Connections({
        ...parts,
        handOver: (socket) => readByNode.forEach((one) => one.call(server, socket)),
      })
    : undefined;
  const readByNode = own ? server.listeners("connection") : [];
  if (own)
    server.removeAllListeners("connection").on("connection", (socket: Socket) => {
      const admission = admissions.accept(socket);
      if (admission) admissions.movedTo(socket, own.take(socket, admission));
    });
  await start(server, options.host, options.port);
  // A TCP server's address is never a string.
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  let closing: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    const timer = options.clock.timer(graceMs, () => {
      server.closeAllConnections();
      admissions.destroyAll();
    });
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
      own?.close();
    });
    timer[Symbol.dispose]();
  };
  return {
    address: `${secure ? "https" : "http"}://${host}:${port}`,
    port,
    renew(tls) {
      if (!secure) {
        throw new LongshoreError("invalid-configuration", "resolve", "this listener is not encrypted");
      }
      renewTls(secure, tls);
    },
    drain() {
      leaving = true;
    },
    async sent() {
      // An answer that is there is written within this turn of the event loop.
      await new Promise<void>((resolve) => void options.clock.timer(0, resolve));
      await parts.sending.none();
    },
    close: (graceMs = 10_000) => (closing ??= close(graceMs)),
  };
}
