import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type Handler,
  LongshoreError,
  type Peer,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { acknowledgedHeader, housekeepingCall, randomId, type UnderWay } from "@longshore/core/internal";
import type { Socket } from "node:net";
import { type Admissions, beyondLimits } from "./admissions.ts";
import type { CompleteOptions } from "./options.ts";
import { codedReply } from "./reply-coding.ts";
import { requestBody } from "./request-body.ts";

/** Unsent bytes on a connection beyond which no more acknowledgements are written to it. */
export const talkative = 65_536;

/** The interim response that tells how much of the body is here. */
export const acknowledgement = (bytes: number): string =>
  `HTTP/1.1 102 Processing\r\n${acknowledgedHeader}: ${bytes}\r\n\r\n`;

/**
 * Node.js drops all but the first of some headers that come twice. A proxy may have gone by the last: credentials are
 * joined instead, which no credential survives.
 */
function allAuthorizations({ rawHeaders }: IncomingMessage): string {
  return rawHeaders
    .filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === "authorization")
    .join(", ");
}

function headersOf(request: IncomingMessage): Readonly<Record<string, string>> {
  const { headers } = request;
  if (headers.authorization !== undefined) headers.authorization = allAuthorizations(request);
  // The only header that Node.js gives as a list, and one that no request needs.
  delete headers["set-cookie"];
  return headers as Record<string, string>;
}

const authority = /^https?:\/\/[^/?#]*/i;

/** The path of a request, without the server that it may name as if to a proxy (RFC 9112, 3.2.2). */
function targetOf({ url = "/" }: IncomingMessage): string {
  const target = url.replace(authority, "");
  return target === url || target.startsWith("/") ? target : `/${target}`;
}

/**
 * The end of a connection as a signal that all requests on it share: one signal for each request would cost more than reading
 * its headers. A listener removes itself when its request ends.
 */
export function connectionEnds(): (socket: Socket) => AbortSignal {
  const known = new WeakMap<Socket, AbortSignal>();
  return (socket) => {
    const found = known.get(socket);
    if (found) return found;
    const ends = new AbortController();
    const gone = (): void =>
      ends.abort(new LongshoreError("cancelled", "transport", "the client closed the connection"));
    if (socket.destroyed) gone();
    else socket.once("close", gone);
    known.set(socket, ends.signal);
    return ends.signal;
  };
}

/** Writes interim responses that tell how much of the body is here, until the reply itself begins. */
function acknowledger(request: IncomingMessage, response: ServerResponse): (bytes: number) => void {
  return (bytes) => {
    const { socket } = response;
    if (!socket || response.headersSent || socket.writableLength > talkative) return;
    // Node.js writes 102 without headers only; between requests no other exchange on a connection can be under way.
    if (request.httpVersion === "1.1") {
      socket.write(acknowledgement(bytes));
    }
  };
}

/** Replies up to this many bytes are copied together: one write costs less than several. */
export const joinedBytes = 65_536;

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first) return first;
  const whole = Buffer.allocUnsafe(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}

const ignored = (): void => undefined;

/** The trailers of a reply that broke off: why, as a reason of the closed list and in words. */
const reasonTrailer = "longshore-reason";
const errorTrailer = "longshore-error";

/** Whether the client reads trailers (RFC 9110, 10.1.4). They come after chunks only, which HTTP/1.0 does not have. */
function readsTrailers({ headers, httpVersion }: IncomingMessage): boolean {
  const listed = String(headers["te"] ?? "").split(",");
  return httpVersion === "1.1" && listed.some((one) => one.trim().toLowerCase() === "trailers");
}

/** Why a reply broke off, in trailers. */
function trailersOf(thrown: unknown): Record<string, string> {
  const { reason, message } = LongshoreError.from(thrown, "transport", "sending the reply");
  const text = reason === "internal" ? "the reply broke off" : message;
  return { [reasonTrailer]: reason, [errorTrailer]: text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 1024) };
}

async function write(
  response: ServerResponse,
  reply: WireResponse,
  { options: { replyTimeoutMs }, leaving, release, sending }: ExchangeParts,
  trailers: boolean,
): Promise<void> {
  const end = (bytes?: Uint8Array): void => {
    response.end(bytes);
    if (response.writableFinished || response.destroyed) return;
    void sending.track(new Promise((resolve) => response.once("close", resolve)));
  };
  const { status, headers, body } = reply;
  // Tells the client not to use the connection again, so that nothing of it is under way when the port closes.
  if (leaving()) response.shouldKeepAlive = false;
  if (body.kind === "parts") {
    const length = body.parts.reduce((total, part) => total + part.byteLength, 0);
    response.writeHead(status, status === 204 ? headers : { ...headers, "content-length": length });
    if (length <= joinedBytes) end(joined(body.parts, length));
    else {
      response.cork();
      for (const part of body.parts) response.write(part);
      end();
      response.uncork();
      if (body.given) response.once("finish", () => body.parts.forEach(release));
    }
    // Bytes that the system took at once need no timeout.
    if ((response.socket?.writableLength ?? 0) > 0) response.setTimeout(replyTimeoutMs);
    return;
  }
  // With trailers the body is chunked: an announced length that is not reached cannot be followed by anything.
  const length = body.byteLength === undefined ? {} : { "content-length": body.byteLength };
  const form = trailers ? { trailer: `${reasonTrailer}, ${errorTrailer}` } : length;
  response.writeHead(status, { ...headers, ...form });
  let goOn = ignored;
  const moved = (): void => goOn();
  response.on("drain", moved).on("close", moved);
  try {
    for await (const chunk of body.read()) {
      if (response.destroyed) return;
      if (!response.write(chunk)) {
        // Only the client's reading has a limit: the next bytes of the reply may take any time.
        response.setTimeout(replyTimeoutMs);
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
        response.setTimeout(0);
      }
    }
  } catch (thrown) {
    if (!trailers) throw thrown;
    response.addTrailers(trailersOf(thrown));
  }
  response.setTimeout(replyTimeoutMs);
  end();
}

/**
 * Reads on for a while after a reply that came before the whole request, and throws away what comes. A connection that
 * is closed with unread bytes is reset, and the reset can overtake the reply.
 */
function linger(request: IncomingMessage, { options, release }: ExchangeParts): void {
  const { clock, lingerBytes, lingerMs } = options;
  let bytes = 0;
  const timer = clock.timer(lingerMs, () => request.socket.destroy());
  const over = (): void => timer[Symbol.dispose]();
  request.on("data", (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    release(chunk);
    if (bytes > lingerBytes) request.socket.destroy();
  });
  request.once("end", over).once("close", over);
  request.resume();
}

/** The parts that all exchanges of a listener share. */
export interface ExchangeParts {
  readonly handler: Handler;
  readonly options: CompleteOptions;
  readonly peerOf: (socket: Socket) => Peer;
  readonly endOf: (socket: Socket) => AbortSignal;
  readonly leaving: () => boolean;
  /** Frees memory that is not read any more. */
  readonly release: (bytes: Uint8Array) => void;
  /** Replies that were written and have not left yet. */
  readonly sending: UnderWay;
  readonly admissions: Admissions;
}

/** Serves one request of a connection. Never rejects. */
export async function serveExchange(
  parts: ExchangeParts,
  request: IncomingMessage,
  response: ServerResponse,
  expectsContinue: boolean,
): Promise<void> {
  const { handler, options, peerOf, endOf, release, sending } = parts;
  // Without a listener, a connection that breaks would end the process.
  request.on("error", ignored);
  response.on("error", ignored);
  const asked: WireRequest = {
    method: request.method as WireRequest["method"],
    path: targetOf(request),
    headers: headersOf(request),
    body: requestBody(request, options, release, () => {
      if (expectsContinue && !response.headersSent) response.writeContinue();
    }),
    peer: peerOf(request.socket),
    ...(options.surfaces ? { surfaces: options.surfaces } : {}),
  };
  const call = housekeepingCall(randomId(options.random), endOf(request.socket));
  try {
    const admission = parts.admissions.of(request.socket);
    const reply =
      beyondLimits(admission, asked.path, call.id) ??
      (await handler(asked, call, acknowledger(request, response)));
    if (admission?.probesOnly) response.shouldKeepAlive = false;
    if (response.destroyed) return;
    const accepted = asked.headers["accept-encoding"];
    const coded =
      accepted === undefined ? reply : await sending.track(codedReply(reply, accepted, asked.path));
    await write(response, coded, parts, readsTrailers(request));
    if (!request.complete) linger(request, parts);
  } catch {
    // A handler answers its own failures; any other is a reply that broke off midway, which without trailers only a reset can
    // tell.
    response.destroy();
  }
}
