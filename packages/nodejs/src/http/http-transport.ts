import {
  Agent as HttpAgent,
  type ClientRequest,
  type IncomingMessage,
  request as httpRequest,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { type ConnectionOptions, TLSSocket } from "node:tls";
import { urlToHttpOptions } from "node:url";
import {
  abortError,
  acknowledgedHeader,
  bodyLength,
  type Call,
  checkCredentialTarget,
  type Clock,
  credentialHeaders,
  type Credentials,
  LongshoreError,
  type Transport,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { watchSilence, type Silence } from "./silence.ts";

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

/** Failures after which it is certain, or likely enough, that the server never saw the request. */
function unreachable(address: string, detail: string, cause?: unknown): LongshoreError {
  return new LongshoreError("unreachable", "transport", `no connection to ${address}: ${detail}`, { cause });
}

function noAnswer(address: string, detail: string, cause?: unknown): LongshoreError {
  return new LongshoreError("no-answer", "transport", `${address} did not answer: ${detail}`, { cause });
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "connection lost";
}

/** Whether a TLS server said that it does not like this client's certificate (RFC 8446, 6.2); Node.js tells in two ways. */
function isCertificateAlert(code: string, thrown: unknown): boolean {
  if (/^ERR_SSL_.*ALERT_(?:NO_|BAD_|UNSUPPORTED_)?(?:CERTIFICATE(?:_[A-Z]+)?|UNKNOWN_CA)$/.test(code))
    return true;
  return code === "EPROTO" && /SSL alert number (?:4[1-68]|116)\b/.test((thrown as Error).message);
}

/** What an error of the connection means, by how far the exchange had come. */
function meaning(
  thrown: unknown,
  address: string,
  state: { readonly connected: boolean; readonly reused: boolean; readonly answered: boolean },
): LongshoreError {
  if (LongshoreError.is(thrown)) return thrown;
  const code = codeOf(thrown);
  if (code.startsWith("HPE_")) {
    return new LongshoreError("bad-reply", "transport", `${address} does not speak HTTP (${code})`, {
      cause: thrown,
    });
  }
  if (isCertificateAlert(code, thrown)) {
    return new LongshoreError(
      "unauthenticated",
      "transport",
      `${address} does not accept this client's certificate, or wants one (${code})`,
      { cause: thrown },
    );
  }
  if (!state.connected) return unreachable(address, code, thrown);
  // A kept connection that breaks before the first byte of an answer was most likely closed by the server meanwhile.
  if (state.reused && !state.answered)
    return unreachable(address, `the kept connection was closed (${code})`, thrown);
  return noAnswer(address, code, thrown);
}

async function writeBody(request: ClientRequest, body: WireBody): Promise<void> {
  if (body.kind === "parts") {
    request.cork();
    for (const part of body.parts) request.write(part);
    request.end();
    request.uncork();
    return;
  }
  let goOn = (): void => undefined;
  request.on("close", () => goOn());
  for await (const chunk of body.read()) {
    if (request.destroyed) return;
    // When the next chunk is asked for, nobody looks at this one any more: that is what its giver may rely on.
    await new Promise<void>((resolve) => {
      goOn = resolve;
      request.write(chunk, () => resolve());
    });
    if (request.destroyed) return;
  }
  request.end();
}

function headersOf({ headers }: IncomingMessage): Readonly<Record<string, string>> {
  // The only header that Node.js gives as a list, and one that nobody here reads.
  delete headers["set-cookie"];
  return headers as Record<string, string>;
}

/** What reading a reply has to know. */
interface ReplyParts {
  readonly address: string;
  readonly maxBytes: number;
  readonly silence: Silence;
  /** The exchange has ended, for a reason that makes its error or well; gives why not. Any number of times. */
  over(thrown?: unknown): LongshoreError | undefined;
}

function tooLong(address: string, maxBytes: number): LongshoreError {
  return new LongshoreError(
    "bad-reply",
    "transport",
    `${address} sent more than the ${maxBytes} bytes that a reply may have`,
  );
}

/** The body of a reply, within the limit; whatever ends the exchange early ends the reading with the right reason. */
async function* replyChunks(
  response: IncomingMessage,
  { address, maxBytes, silence, over }: ReplyParts,
): AsyncIterable<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      silence.moved();
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw tooLong(address, maxBytes);
      silence.held(true);
      yield chunk;
      silence.held(false);
    }
    const failed = over();
    if (failed) throw failed;
  } catch (thrown) {
    throw over(thrown) ?? thrown;
  } finally {
    over();
  }
}

/** The same handed over as it comes: iterating over a stream of Node.js costs a short reply more than all else of it. */
function eachChunk(
  response: IncomingMessage,
  { address, maxBytes, silence, over }: ReplyParts,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const stop = (thrown: unknown): void => {
      response.off("data", onData);
      reject(over(thrown) ?? thrown);
    };
    const onData = (chunk: Uint8Array): void => {
      silence.moved();
      bytes += chunk.byteLength;
      try {
        if (bytes > maxBytes) throw tooLong(address, maxBytes);
        take(chunk);
      } catch (thrown) {
        stop(thrown);
      }
    };
    const broken = (thrown?: Error): void => {
      if (!response.complete) stop(thrown ?? new Error("the connection closed within the reply"));
    };
    if (response.destroyed) return stop(new Error("the connection closed within the reply"));
    response.on("error", broken).on("close", broken).on("data", onData);
    response.on("end", () => {
      const failed = over();
      if (failed) reject(failed);
      else resolve();
    });
  });
}

/** One exchange on a connection of the agent's. */
function exchange(
  make: () => ClientRequest,
  request: WireRequest,
  call: Call,
  options: Required<Pick<HttpTransportOptions, "clock" | "connectTimeoutMs" | "idleTimeoutMs">> & {
    readonly address: string;
    readonly maxBytes: number;
  },
  acknowledged: ((bytes: number) => void) | undefined,
): Promise<WireResponse> {
  const { address, clock, maxBytes } = options;
  return new Promise((resolve, reject) => {
    const state = { connected: false, reused: false, answered: false };
    const outgoing = make();
    let failure: LongshoreError | undefined;
    let broken: LongshoreError | undefined;
    // Destroying a request makes errors of its own; the first cause is the one that counts.
    const end = (error: LongshoreError): void => {
      failure ??= error;
      // Node.js throws away what is unread of a reply and lets it end as if that had been all.
      broken ??= error;
      outgoing.destroy(error);
    };
    const silence = watchSilence(clock, options.idleTimeoutMs, {
      written: () => outgoing.socket?.bytesWritten ?? 0,
      silent: () => end(noAnswer(address, `nothing came for ${options.idleTimeoutMs} ms`)),
    });
    // A kept connection is there already.
    const connecting = outgoing.reusedSocket
      ? undefined
      : clock.timer(options.connectTimeoutMs, () => {
          if (!state.connected)
            end(unreachable(address, `no connection after ${options.connectTimeoutMs} ms`));
        });
    const onAbort = (): void => end(abortError(call.abort, "transport"));
    const settle = (): void => {
      connecting?.[Symbol.dispose]();
      silence[Symbol.dispose]();
      call.abort.removeEventListener("abort", onAbort);
    };
    const fail = (thrown: unknown): LongshoreError => {
      failure ??= meaning(thrown, address, state);
      settle();
      return failure;
    };
    call.abort.addEventListener("abort", onAbort, { once: true });
    outgoing.on("error", (thrown) => reject(fail(thrown)));
    outgoing.on("socket", (socket) => {
      state.reused = outgoing.reusedSocket;
      const connected = (): void => {
        state.connected = true;
        connecting?.[Symbol.dispose]();
        silence.moved();
      };
      // Over TLS there is no server before it has shown its certificate.
      const ready = socket instanceof TLSSocket ? "secureConnect" : "connect";
      if (socket.connecting || (socket instanceof TLSSocket && !outgoing.reusedSocket))
        socket.once(ready, connected);
      else connected();
    });
    outgoing.on("information", ({ headers }) => {
      silence.moved();
      const bytes = Number(headers[acknowledgedHeader]);
      if (acknowledged && Number.isSafeInteger(bytes)) acknowledged(bytes);
    });
    outgoing.on("response", (response) => {
      state.answered = true;
      silence.moved();
      const length = Number(response.headers["content-length"] ?? Number.NaN);
      const over = (thrown?: unknown): LongshoreError | undefined => {
        const error = thrown === undefined ? broken : fail(thrown);
        settle();
        // A connection on which either side is not finished cannot be used again.
        if (error || !outgoing.writableFinished || !response.complete) outgoing.destroy(error);
        return error;
      };
      // An unread reply must not bring the process down when its connection breaks.
      response.on("error", () => undefined);
      if (length > maxBytes) {
        end(
          new LongshoreError(
            "bad-reply",
            "transport",
            `${address} announced a reply of ${length} bytes; at most ${maxBytes} are read`,
          ),
        );
        return;
      }
      const reply = { address, maxBytes, silence, over };
      resolve({
        status: response.statusCode ?? 0,
        headers: headersOf(response),
        body: {
          kind: "stream",
          byteLength: Number.isSafeInteger(length) ? length : undefined,
          read: () => replyChunks(response, reply),
          each: (take) => eachChunk(response, reply, take),
        },
      });
    });
    writeBody(outgoing, request.body).catch((thrown: unknown) => {
      end(LongshoreError.from(thrown, "transport", "sending the body"));
    });
  });
}

function baseOf(address: string): URL {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      "that is not an address such as https://host:8000",
    );
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `an address begins with http:// or https://, not with ${url.protocol}`,
    );
  }
  return url;
}

/**
 * A transport over HTTP/1.1 with kept connections. It never retries: a request that fails with `unreachable` was most
 * likely not seen by the server, one that fails with `no-answer` may have been; what to do then is in the plan.
 * Acknowledgements arrive as interim responses (`102`). Ending a call closes its own connection and no other.
 */
export function httpTransport(options: HttpTransportOptions): Transport {
  const url = baseOf(options.address);
  checkCredentialTarget(url, options.credentials);
  const secure = url.protocol === "https:";
  const { connectTimeoutMs = 5000, idleTimeoutMs = 60_000, maxReplyBytes = 64 * 2 ** 20 } = options;
  const pool = {
    keepAlive: true,
    noDelay: true,
    timeout: options.keepAliveMs ?? 4000,
    maxSockets: options.maxConnections ?? 256,
    ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
  };
  const agent = secure ? new HttpsAgent({ ...pool, ...options.tls }) : new HttpAgent(pool);
  const make = secure ? httpsRequest : httpRequest;
  const target = { ...urlToHttpOptions(url), agent };
  const basePath = url.pathname.replace(/\/+$/, "");
  const { clock } = options;
  const parts = { clock, connectTimeoutMs, idleTimeoutMs, address: url.origin, maxBytes: maxReplyBytes };
  let closed = false;
  return {
    progress: "acknowledged",
    async send(
      request: WireRequest,
      call: Call,
      acknowledged?: (bytes: number) => void,
    ): Promise<WireResponse> {
      if (closed) throw unreachable(url.origin, "the transport is closed");
      if (call.abort.aborted) throw abortError(call.abort, "transport");
      const length = bodyLength(request.body);
      const shown = options.credentials && (await credentialHeaders(options.credentials));
      if (call.abort.aborted) throw abortError(call.abort, "transport");
      const empty = request.method === "GET" || request.method === "HEAD";
      const start = (): ClientRequest =>
        make({
          ...target,
          method: request.method,
          path: `${basePath}${request.path}`,
          headers: {
            ...request.headers,
            ...shown,
            ...(empty || length === undefined ? {} : { "content-length": String(length) }),
          },
        });
      const own = request.endless ? { ...parts, maxBytes: Infinity } : parts;
      return exchange(start, request, call, own, acknowledged);
    },
    async close(): Promise<void> {
      closed = true;
      agent.destroy();
    },
  };
}
