import type { ConnectionOptions } from "node:tls";
import {
  type Call,
  type Clock,
  type Credentials,
  emptyBody,
  LongshoreError,
  type Transport,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  bodyLength,
  checkCredentialTarget,
  credentialHeaders,
  idempotencyHeader,
  printable,
} from "@longshore/core/internal";
import { ConnectionPool } from "./connection-pool.ts";
import { unreachable } from "./failure.ts";

/** Where a transport leads, and what it tolerates on the way. */
export interface HttpTransportOptions {
  /** `http://host:port` or `https://host:port`, with a base path where a gateway wants one. */
  readonly address: string;
  readonly clock: Clock;
  /** Time for a connection to come about, in milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** Time in which nothing moves in either direction, in milliseconds. Default 60,000; a long run is silent too. */
  readonly idleTimeoutMs?: number;
  /** Default 64 MiB. */
  readonly maxReplyBytes?: number;
  /** Connections at one time; further requests wait. Default 256. */
  readonly maxConnections?: number;
  /**
   * How long a free connection is kept, in milliseconds. Default 4,000: shorter than servers keep theirs (5,000 is
   * common), so that a request hardly ever goes out on a connection that the server is just closing.
   */
  readonly keepAliveMs?: number;
  /** Local address to send from: which interface is used. */
  readonly localAddress?: string;
  /** Shown to this server with every request, and to no other: redirects are never followed. */
  readonly credentials?: Credentials;
  /** For `https`: authorities, client certificate, server name. */
  readonly tls?: Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;
}

function baseOf(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  // The text before an @ may be a password.
  const shown = printable(address.slice(address.lastIndexOf("@") + 1));
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `'${shown}' is not an address such as https://host:8000`,
  );
}

/**
 * A transport over HTTP/1.1 with kept connections, on undici. It retries one case: a request that breaks on a kept connection
 * before any answer, and may be repeated (`GET`, with an idempotency key, or marked as `repeatable`), is sent once more on a
 * fresh one, as HTTP clients do. Otherwise a request that fails with `unreachable` was most likely not seen by the server, one
 * that fails with `no-answer` may have been; the plan decides what follows. Acknowledgements arrive as interim responses
 * (`102`). Ending a call closes its own connection and no other.
 *
 * @example
 * ```ts
 * import { httpTransport, systemClock } from "@longshore/nodejs";
 *
 * const transport = httpTransport({ address: "http://127.0.0.1:8000", clock: systemClock() });
 * console.log(transport.progress); // acknowledged
 * await transport.close();
 * ```
 */
export function httpTransport(options: HttpTransportOptions): Transport {
  const url = baseOf(options.address);
  checkCredentialTarget(url, options.credentials);
  const { connectTimeoutMs = 5000, idleTimeoutMs = 60_000, maxReplyBytes = 64 * 2 ** 20 } = options;
  const { keepAliveMs = 4000, maxConnections = 256, clock, localAddress, tls } = options;
  const basePath = url.pathname.replace(/\/+$/, "");
  const address = url.origin;
  const connector = { ...tls, ...(localAddress === undefined ? {} : { localAddress }) };
  const limits = { clock, address, connectTimeoutMs, idleTimeoutMs };
  const watchers = new Set<() => void>();
  const tellLost = (): void => {
    for (const lost of watchers) lost();
  };
  let pool: ConnectionPool | undefined;
  // Most of ten thousand servers never get a request.
  const pooled = (): ConnectionPool =>
    (pool ??= new ConnectionPool({ ...limits, maxConnections, keepAliveMs, connector, lost: tellLost }));
  let closed = false;
  const check = ({ abort }: Call): void => {
    if (closed) throw unreachable(address, "the transport is closed");
    if (abort.aborted) throw abortError(abort, "transport");
  };
  return {
    progress: "acknowledged",
    async send(
      request: WireRequest,
      call: Call,
      acknowledged?: (bytes: number) => void,
    ): Promise<WireResponse> {
      check(call);
      const { method, endless } = request;
      const shown = options.credentials && (await credentialHeaders(options.credentials));
      // They may have taken their time.
      if (shown) check(call);
      const headers = shown ? { ...request.headers, ...shown } : request.headers;
      const body = method === "GET" || method === "HEAD" ? emptyBody : request.body;
      return pooled().send({
        method,
        path: `${basePath}${request.path}`,
        headers,
        body,
        bodyBytes: bodyLength(body),
        call,
        maxBytes: endless ? Infinity : maxReplyBytes,
        acknowledged,
        repeatable: request.repeatable === true || method === "GET" || idempotencyHeader in headers,
      });
    },
    connecting: () => pooled().connecting(),
    watchLost(lost) {
      const own = (): void => lost();
      watchers.add(own);
      return { [Symbol.dispose]: () => void watchers.delete(own) };
    },
    async close(): Promise<void> {
      closed = true;
      pool?.close();
    },
  };
}
