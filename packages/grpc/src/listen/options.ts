import type { Clock, Observer, Peer, Random, Surface, WireLimits } from "@longshore/core";
import type { ReadBuffers } from "@longshore/core/internal";
import { defaultWireLimits, silentObserver } from "@longshore/core";
import { defaultConnectionLimits } from "@longshore/core/internal";
import type { GrpcService } from "../service/index.ts";
import type { Socket } from "node:net";
import type { TlsOptions } from "node:tls";

/** Where to listen for gRPC, and what of a connection is tolerated. */
export interface GrpcListenOptions {
  readonly clock: Clock;
  /** For the ids of calls. */
  readonly random: Random;
  /** Gets failures that the handler does not see. Default: none. */
  readonly observer?: Observer;
  /** Default 127.0.0.1: a server is reachable from outside only when the operator says so. */
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Certificates and whose certificates are believed, as Node.js takes them. Default: plain HTTP/2. */
  readonly tls?: TlsOptions;
  /** The peer at the other end of a connection. Default: its address, and whether it is this machine. */
  readonly peerOf?: (socket: Socket) => Peer;
  /**
   * A connection that was accepted, read where `ReadBuffers` says and without `data` (ADR 28); undefined where that cannot be done. Default:
   * connections without TLS are read as Node.js does it.
   */
  readonly directSocket?: (accepted: Socket, reads: ReadBuffers) => Socket | undefined;
  /** Which code frames HTTP/2: ours, or Node.js's `node:http2`. Default `own`. */
  readonly http?: "own" | "node";
  /** Default: everything. */
  readonly surfaces?: readonly Surface[];
  /** `maxBodyBytes` is the limit of one message, inflated; up to 2 GiB less one byte. Default 64 MiB. */
  readonly limits?: WireLimits;
  /** Bytes of all messages that are being received at one time. Default 1 GiB. */
  readonly maxBufferedBytes?: number;
  /** Bytes of all metadata of a call. Default 16,384. */
  readonly maxHeaderBytes?: number;
  /** Connections that are served at one time. Default 1024. */
  readonly maxConnections?: number;
  /** Of these, connections from one source address (an IPv6 /64 counts as one). Default half of `maxConnections`. */
  readonly maxConnectionsPerAddress?: number;
  /**
   * Connections beyond these limits that are served `Health/Check`, `ServerLive` and `ServerReady` only, and how long one lives, in
   * milliseconds. The oldest is destroyed for one more. Default 64 and 2,000: a probe takes milliseconds.
   */
  readonly probeConnections?: number;
  readonly probeTimeoutMs?: number;
  /** Calls of one connection at one time. Default 1024. */
  readonly maxConcurrentCalls?: number;
  /** Requests of one stream that are worked on at one time; the client is held back beyond. Default 64. */
  readonly maxStreamInFlight?: number;
  /**
   * Bytes that a client may send ahead of the reader, per call and per connection. Default 1 MiB and 4 MiB: enough for
   * full speed over ten milliseconds at a gigabit.
   */
  readonly callWindowBytes?: number;
  readonly connectionWindowBytes?: number;
  /**
   * Time for a message to arrive once it has begun, in milliseconds, while its sender is held back, too; as over HTTP. Default
   * 300,000.
   */
  readonly requestTimeoutMs?: number;
  /**
   * Time for a client to begin: for the TLS handshake, then for HTTP/2's preface and settings. Also the time for a frame other than
   * data and for a block of headers to arrive once they have begun, in milliseconds. Default 10,000.
   */
  readonly headersTimeoutMs?: number;
  /**
   * How long a connection without calls is kept, in milliseconds; its client is told to go (GOAWAY) and connects again for its
   * next call. Default 300,000.
   */
  readonly idleTimeoutMs?: number;
  /** Time without any progress of a reply that the client does not read, in milliseconds. Default 30,000. */
  readonly replyTimeoutMs?: number;
  /** Whether replies are compressed for clients that take it. Default none: tensors rarely shrink. */
  readonly replyCompression?: "none" | "gzip";
  /** Interval at which watchers of health are told of changes, in milliseconds. Default 1,000. */
  readonly watchIntervalMs?: number;
  /**
   * Services besides inference and health. Their calls may have any number of messages in both directions; limits of messages, calls and
   * connections, deadlines and back pressure are the listener's. Default none.
   */
  readonly services?: readonly GrpcService[];
  /** More names for health checks, each with the path of the handler that answers. Default none. */
  readonly healthNames?: Readonly<Record<string, string>>;
}

/** The options with their defaults. */
export type CompleteOptions = Required<Omit<GrpcListenOptions, "tls" | "surfaces">> &
  Pick<GrpcListenOptions, "tls" | "surfaces">;

/** The most that the four bytes of gRPC's length, and JavaScript's buffers here, are used for. */
const mostMessageBytes = 2 ** 31 - 1;

/** The peer of a connection without certificates. */
export function plainPeer(socket: Socket): Peer {
  const address = (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
  return { address, loopback: address === "::1" || address.startsWith("127.") };
}

/** Fills in the defaults. */
export function completeOptions(options: GrpcListenOptions): CompleteOptions {
  const limits = options.limits ?? defaultWireLimits;
  return {
    host: "127.0.0.1",
    http: "own",
    observer: silentObserver,
    peerOf: plainPeer,
    directSocket: () => undefined,
    maxBufferedBytes: 2 ** 30,
    maxHeaderBytes: 16_384,
    ...defaultConnectionLimits,
    maxConnectionsPerAddress: Math.ceil(
      (options.maxConnections ?? defaultConnectionLimits.maxConnections) / 2,
    ),
    maxConcurrentCalls: 1024,
    maxStreamInFlight: 64,
    callWindowBytes: 2 ** 20,
    connectionWindowBytes: 4 * 2 ** 20,
    services: [],
    healthNames: {},
    requestTimeoutMs: 300_000,
    headersTimeoutMs: 10_000,
    idleTimeoutMs: 300_000,
    replyTimeoutMs: 30_000,
    replyCompression: "none",
    watchIntervalMs: 1000,
    ...options,
    limits: { ...limits, maxBodyBytes: Math.min(limits.maxBodyBytes, mostMessageBytes) },
  };
}
