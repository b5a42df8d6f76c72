import type { Clock, Random, Surface } from "@longshore/core";
import { defaultConnectionLimits } from "@longshore/core/internal";
import type { ListenTls } from "./tls.ts";

/** Where to listen, and what of a connection is tolerated. */
export interface ListenOptions {
  readonly clock: Clock;
  /** For the ids of calls. */
  readonly random: Random;
  /** Default 127.0.0.1: a server is reachable from outside only when the operator says so. */
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Encrypted, with clients' certificates or without. Default: plain. */
  readonly tls?: ListenTls;
  /**
   * Which code reads HTTP/1.1 without TLS: `own` reads plain requests here and leaves all others to `node:http`; `node` leaves it
   * everything. Default `own`.
   */
  readonly http?: "own" | "node";
  /** The surfaces served here; the rest is answered as unknown. Default: all. */
  readonly surfaces?: readonly Surface[];
  /** Bytes of all headers of a request. Default 16,384. */
  readonly maxHeaderBytes?: number;
  /** Connections that are served at one time. Default 1024: each may hold a body's memory and two buffers of the system. */
  readonly maxConnections?: number;
  /** Of these, connections from one source address (an IPv6 /64 counts as one). Default half of `maxConnections`. */
  readonly maxConnectionsPerAddress?: number;
  /**
   * Connections beyond these limits that are served `/v2/health/live` and `/v2/health/ready` only, and how long one lives, in
   * milliseconds. The oldest is destroyed for one more. Default 64 and 2,000: a probe takes milliseconds.
   */
  readonly probeConnections?: number;
  readonly probeTimeoutMs?: number;
  /** Chunks of a chunked body: each costs memory beside its bytes. Default 65,536. */
  readonly maxChunks?: number;
  /**
   * How many times its size a compressed body may inflate to, beyond an allowance of bytes that any may. Default 200 and
   * 8 MiB: a small tensor of zeros shrinks a thousandfold and is no bomb.
   */
  readonly maxInflateRatio?: number;
  readonly inflateAllowance?: number;
  /** Time for the TLS handshake, and then for the headers of a request to arrive, in milliseconds. Default 10,000. */
  readonly headersTimeoutMs?: number;
  /** Time for a whole request to arrive, in milliseconds. Default 300,000. */
  readonly requestTimeoutMs?: number;
  /**
   * Time without any byte of a body that is being read, in milliseconds. Default 30,000: uplinks stall for seconds, and a client
   * that is slower than this is gone.
   */
  readonly stallTimeoutMs?: number;
  /** Time without any progress of a reply that the client does not read, in milliseconds. Default 30,000. */
  readonly replyTimeoutMs?: number;
  /** How long an idle connection is kept, in milliseconds. Default 30,000: longer than clients keep theirs. */
  readonly keepAliveMs?: number;
  /**
   * After a reply to a request that is still arriving, how many more bytes and milliseconds of it are read and thrown
   * away, so that the client sees the reply instead of a broken connection. Default 8 MiB and 2,000.
   */
  readonly lingerBytes?: number;
  readonly lingerMs?: number;
}

/** The options with their defaults; `tls` and `surfaces` may stay absent. */
export type CompleteHttpOptions = Required<Omit<ListenOptions, "tls" | "surfaces">> &
  Pick<ListenOptions, "tls" | "surfaces">;

/** The options with their defaults. */
export function completeHttpOptions(options: ListenOptions): CompleteHttpOptions {
  return {
    host: "127.0.0.1",
    http: "own",
    maxHeaderBytes: 16_384,
    ...defaultConnectionLimits,
    maxConnectionsPerAddress: Math.ceil(
      (options.maxConnections ?? defaultConnectionLimits.maxConnections) / 2,
    ),
    maxChunks: 65_536,
    maxInflateRatio: 200,
    inflateAllowance: 8 * 2 ** 20,
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 300_000,
    stallTimeoutMs: 30_000,
    replyTimeoutMs: 30_000,
    keepAliveMs: 30_000,
    lingerBytes: 8 * 2 ** 20,
    lingerMs: 2000,
    ...options,
  };
}
