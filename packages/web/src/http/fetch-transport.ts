import {
  type Call,
  type Clock,
  type Credentials,
  LongshoreError,
  type Transport,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  afterPause,
  checkCredentialTarget,
  credentialHeaders,
  newConnection,
  whenAborted,
} from "@longshore/core/internal";

/** Where a transport leads, and what it tolerates on the way. */
export interface FetchTransportOptions {
  /** `http(s)://host:port`, with a base path where a gateway wants one. */
  readonly address: string;
  readonly clock: Clock;
  /** Default: the platform's own. */
  readonly fetch?: typeof fetch;
  /** Shown to this server with every request, and to no other: redirects are never followed. */
  readonly credentials?: Credentials;
  /** Time in which nothing comes, in milliseconds. Default 60,000. */
  readonly idleTimeoutMs?: number;
  /** Default 64 MiB. */
  readonly maxReplyBytes?: number;
}

/** Node.js says why a fetch failed; browsers do not, so that pages cannot map networks. */
const brokenAfterConnecting: readonly string[] = ["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"];

function failure(thrown: unknown, address: string): LongshoreError {
  if (LongshoreError.is(thrown)) return thrown;
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : undefined;
  const code = cause && "code" in cause ? String(cause.code) : "";
  const broken = brokenAfterConnecting.includes(code);
  return new LongshoreError(
    broken ? "no-answer" : "unreachable",
    "transport",
    broken
      ? `${address} did not answer: ${code}`
      : `no connection to ${address} ${code && `(${code})`}`.trim(),
    { cause: thrown },
  );
}

/** A body as fetch takes it: parts stay parts. */
async function fetchBody(request: WireRequest): Promise<Blob | undefined> {
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  // Tensors are never backed by shared memory, so their buffers are what a Blob takes.
  const add = (part: Uint8Array): void => void parts.push(part as Uint8Array<ArrayBuffer>);
  // Browsers stream request bodies over HTTP/2 only, so a stream is gathered first.
  if (request.body.kind === "parts") request.body.parts.forEach(add);
  else for await (const part of request.body.read()) add(part);
  return new Blob(parts);
}

/** A free connection is taken to be open for this long, in milliseconds. Browsers keep it longer; many servers end it then. */
const keptMs = 5000;

/**
 * The connections of the platform to one server, which nothing here can see: one for each exchange under way, as in HTTP/1.1, and those that
 * earlier exchanges left.
 */
class AssumedConnections {
  readonly #clock: Clock;
  /** When each free one was left, the last one last. */
  #free: readonly number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Since when the one is free that the next exchange takes; undefined if it makes one. */
  get freeSinceMs(): number | undefined {
    const nowMs = this.#clock.nowMs();
    this.#free = this.#free.filter((sinceMs) => nowMs - sinceMs < keptMs);
    return this.#free.at(-1);
  }

  take(): void {
    if (this.freeSinceMs !== undefined) this.#free = this.#free.slice(0, -1);
  }

  /** An exchange was read to its end. */
  left(): void {
    this.#free = [...this.#free, this.#clock.nowMs()].slice(-mostKept);
  }
}

/** Browsers make no more connections to one server over HTTP/1.1. */
const mostKept = 6;

/** One exchange: the events that may end it, and the error that it then ends with. */
class Exchange {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #address: string;
  readonly #stopListening: () => void;
  #failure: LongshoreError | undefined;
  #timer: Disposable | undefined;

  constructor(call: Call, clock: Clock, idleMs: number, address: string) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#address = address;
    this.#stopListening = whenAborted(call.abort, () => this.#end(abortError(call.abort, "transport")));
    this.moved();
  }

  get abort(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something came: silence begins again. */
  moved(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#clock.timer(this.#idleMs, () =>
      this.#end(
        new LongshoreError(
          "no-answer",
          "transport",
          `${this.#address} did not answer: nothing came for ${this.#idleMs} ms`,
        ),
      ),
    );
  }

  #end(error: LongshoreError): void {
    this.#failure ??= error;
    this.#controller.abort(error);
  }

  /** It has ended, well or not. Returns the meaning of a failure. */
  over(thrown?: unknown, whileReading = false): LongshoreError {
    this.#timer?.[Symbol.dispose]();
    this.#stopListening();
    if (this.#failure) return this.#failure;
    if (whileReading && !LongshoreError.is(thrown)) {
      return new LongshoreError("no-answer", "transport", `the reply of ${this.#address} broke off`, {
        cause: thrown,
      });
    }
    return failure(thrown, this.#address);
  }
}

async function* replyChunks(
  response: Response,
  exchange: Exchange,
  maxBytes: number,
  address: string,
  connections: AssumedConnections,
): AsyncIterable<Uint8Array> {
  const reader = response.body?.getReader();
  let bytes = 0;
  try {
    for (;;) {
      const next = await reader?.read();
      if (!next || next.done) {
        connections.left();
        break;
      }
      exchange.moved();
      bytes += next.value.byteLength;
      if (bytes > maxBytes) {
        throw new LongshoreError(
          "bad-reply",
          "transport",
          `${address} sent more than the ${maxBytes} bytes that a reply may have`,
        );
      }
      yield next.value;
    }
  } catch (thrown) {
    throw exchange.over(thrown, true);
  } finally {
    exchange.over();
    // A reader that stops early ends the connection; a stream that has failed needs no cancelling.
    await reader?.cancel().catch(() => undefined);
  }
}

function replyBody(
  response: Response,
  exchange: Exchange,
  maxBytes: number,
  address: string,
  connections: AssumedConnections,
): WireBody {
  const length = response.headers.get("content-length");
  const plain = !response.headers.has("content-encoding");
  return {
    kind: "stream",
    byteLength: plain && length !== null && /^[0-9]{1,15}$/.test(length) ? Number(length) : undefined,
    read: () => replyChunks(response, exchange, maxBytes, address, connections),
  };
}

/**
 * A transport over `fetch`, for browsers and wherever else there is one. Browsers hide how an upload goes on and why a
 * connection failed, so there is no progress, and a connection that broke before an answer counts as `unreachable`. They also hide
 * connections: one counts as open for five seconds after an answer. Never retries.
 *
 * @example
 * ```ts
 * import { fetchTransport, systemClock } from "@longshore/web";
 *
 * const transport = fetchTransport({ address: "http://127.0.0.1:8000", clock: systemClock() });
 * console.log(transport.progress); // none
 * await transport.close();
 * ```
 */
export function fetchTransport(options: FetchTransportOptions): Transport {
  const { clock, idleTimeoutMs = 60_000, maxReplyBytes = 64 * 2 ** 20 } = options;
  const url = new URL(options.address);
  checkCredentialTarget(url, options.credentials);
  const base = `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  const send = options.fetch ?? fetch.bind(globalThis);
  let closed = false;
  const connections = new AssumedConnections(clock);
  const check = ({ abort }: Call): void => {
    if (closed) throw new LongshoreError("unreachable", "transport", "the transport is closed");
    if (abort.aborted) throw abortError(abort, "transport");
  };
  return {
    progress: "none",
    connecting() {
      const sinceMs = connections.freeSinceMs;
      return sinceMs === undefined ? newConnection(url, undefined) : afterPause(clock.nowMs() - sinceMs);
    },
    async send(request: WireRequest, call: Call): Promise<WireResponse> {
      check(call);
      const exchange = new Exchange(call, clock, idleTimeoutMs, url.origin);
      try {
        const body = await fetchBody(request);
        const shown = await credentialHeaders(options.credentials);
        // Both may have taken their time.
        check(call);
        connections.take();
        const response = await send(`${base}${request.path}`, {
          method: request.method,
          headers: { ...request.headers, ...shown },
          signal: exchange.abort,
          redirect: "manual",
          cache: "no-store",
          credentials: "omit",
          ...(body ? { body } : {}),
        });
        exchange.moved();
        return {
          status: response.status,
          headers: Object.fromEntries(response.headers),
          body: replyBody(
            response,
            exchange,
            request.endless ? Infinity : maxReplyBytes,
            url.origin,
            connections,
          ),
        };
      } catch (thrown) {
        throw exchange.over(thrown);
      }
    },
    async close(): Promise<void> {
      closed = true;
    },
  };
}
