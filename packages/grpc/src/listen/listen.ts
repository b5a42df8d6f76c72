import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createSecureServer, type Server as TlsServer, type TlsOptions } from "node:tls";
import { type Handler, LongshoreError } from "@longshore/core";
import {
  type ConnectionAdmission,
  createConnectionGuard,
  readMemoryBytes,
  releaser,
  SpareControllers,
  UnderWay,
} from "@longshore/core/internal";
import { createBufferedBytes, createPatience } from "../frame/index.ts";
import { createService, methodPaths } from "../service/index.ts";
import type { CallStream } from "./call-stream.ts";
import { serveExchange } from "./exchange.ts";
import { completeOptions, type GrpcListenOptions } from "./options.ts";
import { NodeSession } from "./node-session.ts";
import { Http2Connection } from "./http2/index.ts";
import type { Session, SessionParts } from "./session.ts";

/** A handler that is served over gRPC. */
export interface GrpcListening {
  /** `host:port`, as gRPC's clients take it. */
  readonly address: string;
  readonly port: number;
  /**
   * Health turns to NOT_SERVING, streams end when their requests are answered, and connections are told to go elsewhere
   * (GOAWAY); the port still listens, and the handler refuses new work. Idempotent.
   */
  drain(): void;
  /**
   * Gives connections to come another certificate or other authorities. Throws `invalid-configuration` and changes nothing
   * when they cannot be used, or where there is no TLS.
   */
  renew(tls: TlsOptions): void;
  /** Resolves when the replies that were written by now have left, however slowly their clients read them. */
  sent(): Promise<void>;
  /** Drains, lets calls under way finish for `graceMs` (default 10,000), then closes what is left. Idempotent. */
  close(graceMs?: number): Promise<void>;
}

const socketOptions = {
  noDelay: true,
  // A client that vanished without a word is noticed in the end.
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
};

/** A server, and what becomes of its connections. */
interface Framing {
  readonly server: Server;
  readonly secure: TlsServer | undefined;
}

/** The connections of a listener. */
interface Connections {
  /** Ends what is read from accepted connections, also during the TLS handshake. */
  readonly destroys: Set<() => void>;
  readonly sessions: Set<Session>;
}

const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/** Frames connections with TLS and without in the same way, so that the same limits hold for both. */
function createFraming(parts: SessionParts, { destroys, sessions }: Connections): Framing {
  const { options } = parts;
  const { tls } = options;
  const guard = createConnectionGuard(options, options.clock);
  /** Counts an accepted connection, and gives how to end it; undefined where it is one too many. */
  const accept = (
    accepted: Socket,
  ): { readonly admission: ConnectionAdmission; movedTo(end: () => void): void } | undefined => {
    let end = (): void => void accepted.destroy();
    const destroy = (): void => end();
    const admission = guard.admit(accepted.remoteAddress, destroy);
    if (!admission) {
      destroy();
      return undefined;
    }
    destroys.add(destroy);
    accepted.once("close", () => {
      destroys.delete(destroy);
      admission.left();
    });
    return { admission, movedTo: (how) => (end = how) };
  };
  const begin = (socket: Socket, admission: ConnectionAdmission, sessionParts: SessionParts): Session => {
    const Framed = options.http === "node" ? NodeSession : Http2Connection;
    const session: Session = new Framed(socket, sessionParts, admission, () => sessions.delete(session));
    sessions.add(session);
    return session;
  };
  if (!tls) {
    const server = createServer(socketOptions, (socket) => {
      const accepted = accept(socket);
      if (!accepted) return;
      const session = begin(socket, accepted.admission, parts);
      accepted.movedTo(() => session.destroy());
    });
    return { server, secure: undefined };
  }
  // A socket cannot be moved from under its deciphering.
  const ciphered = { ...parts, options: { ...options, directSocket: () => undefined } };
  let secure: TlsServer;
  try {
    secure = createSecureServer({
      handshakeTimeout: options.headersTimeoutMs,
      ...socketOptions,
      ...tls,
      ALPNProtocols: ["h2"],
    });
  } catch (thrown) {
    throw tlsError(thrown);
  }
  const byName = new Map<string, ConnectionAdmission>();
  // Counted from the first byte of the handshake on.
  secure.prependListener("connection", (socket: Socket) => {
    const accepted = accept(socket);
    if (!accepted) return;
    const name = nameOf(socket);
    byName.set(name, accepted.admission);
    socket.once("close", () => {
      if (byName.get(name) === accepted.admission) byName.delete(name);
    });
  });
  secure.on("secureConnection", (socket) => {
    const admission = byName.get(nameOf(socket));
    if (socket.alpnProtocol === "h2" && admission) begin(socket, admission, ciphered);
    else socket.destroy();
  });
  secure.on("tlsClientError", (_error: Error, socket: Socket) => socket.destroy());
  return { server: secure, secure };
}

function tlsError(cause: unknown): LongshoreError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new LongshoreError(
    "invalid-configuration",
    "resolve",
    `the certificate or key cannot be used: ${why}`,
    {
      cause,
    },
  );
}

function listenError(thrown: NodeJS.ErrnoException, host: string, port: number): LongshoreError {
  if (thrown.code === "EADDRINUSE") {
    return new LongshoreError(
      "port-taken",
      "resolve",
      `port ${port} on ${host} is taken by another process; choose another port for gRPC, or 0 for any`,
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
 * Serves a handler over gRPC: `inference.GRPCInferenceService` and `grpc.health.v1.Health`, on HTTP/2 with or without
 * TLS. Throws `port-taken`, or `invalid-configuration` for what cannot be listened on. Loopback by default.
 */
export async function listenGrpc(handler: Handler, given: GrpcListenOptions): Promise<GrpcListening> {
  const options = completeOptions(given);
  const { clock, random, observer, limits, maxStreamInFlight, watchIntervalMs } = options;
  const release = releaser();
  const methods = methodPaths(options.services);
  const healthNames = new Map([
    ...options.services.map(({ name }) => [name, "/v2/health/ready"] as const),
    ...Object.entries(options.healthNames),
  ]);
  const service = createService({
    handler,
    clock,
    random,
    observer,
    limits,
    release,
    maxStreamInFlight,
    watchIntervalMs,
    methods,
    healthNames,
  });
  const drain = new AbortController();
  const parts = {
    service,
    methods,
    options,
    held: createBufferedBytes(options.maxBufferedBytes),
    draining: drain.signal,
    controllers: new SpareControllers(),
    arrival: createPatience(clock, options.requestTimeoutMs),
    reading: createPatience(clock, options.replyTimeoutMs),
    sending: new UnderWay(),
  };
  const connections: Connections = { destroys: new Set(), sessions: new Set() };
  const serve = (stream: CallStream, admission: ConnectionAdmission): void =>
    void serveExchange(parts, stream, admission);
  const { server, secure } = createFraming(
    {
      options,
      serve,
      // Messages of megabytes come in fewer reads.
      memory: new Uint8Array(4 * readMemoryBytes),
      release,
      sending: parts.sending,
      opening: createPatience(clock, options.headersTimeoutMs),
      idling: createPatience(clock, options.idleTimeoutMs),
    },
    connections,
  );
  await start(server, options.host, options.port);
  // A TCP server's address is never a string.
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const beginDrain = (): void => {
    if (drain.signal.aborted) return;
    drain.abort();
    for (const one of connections.sessions) one.close();
  };
  let closing: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    beginDrain();
    for (const one of connections.sessions) one.close();
    const timer = clock.timer(graceMs, () => {
      for (const destroy of connections.destroys) destroy();
    });
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    timer[Symbol.dispose]();
  };
  return {
    address: `${host}:${port}`,
    port,
    drain: beginDrain,
    renew(tls) {
      try {
        if (!secure) throw new Error("this listener has no TLS");
        secure.setSecureContext(tls);
        // Nobody resumes a session that an authority which is gone had let in.
        secure.setTicketKeys(randomBytes(48));
      } catch (thrown) {
        throw tlsError(thrown);
      }
    },
    async sent() {
      // An answer that is there is written within this turn of the event loop.
      await new Promise<void>((resolve) => void clock.timer(0, resolve));
      await parts.sending.none();
    },
    close: (graceMs = 10_000) => (closing ??= close(graceMs)),
  };
}
