import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type Handler,
  LongshoreError,
  type Peer,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { housekeepingCall, randomId, type UnderWay } from "@longshore/core/internal";
import type { Socket } from "node:net";
import { Acknowledger } from "./acknowledger.ts";
import { type Admissions, beyondLimits } from "./admissions.ts";
import { Linger } from "./linger.ts";
import type { CompleteHttpOptions } from "./options.ts";
import { perConnection } from "./per-connection.ts";
import { codedReply } from "./reply-coding.ts";
import { requestBody } from "./request-body.ts";
import type { RequestTimes } from "./request-times.ts";

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
  return perConnection((socket) => {
    const ends = new AbortController();
    const gone = (): void =>
      ends.abort(new LongshoreError("cancelled", "transport", "the client closed the connection"));
    if (socket.destroyed) gone();
    else socket.once("close", gone);
    return ends.signal;
  });
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
  { options: { replyTimeoutMs }, leaving, release, sending }: HttpExchangeParts,
  trailers: boolean,
): Promise<void> {
  const end = (bytes?: Uint8Array): void => {
    response.end(bytes);
    // The system took all of it at once, unless it waits behind another reply or for its client.
    if (response.socket?.writableLength === 0 || response.destroyed) return;
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

/** Reads and throws away the rest of a request that was answered early. */
function linger(request: IncomingMessage, { options, release }: HttpExchangeParts): void {
  const lingering = new Linger(request.socket, options);
  const over = (): void => lingering[Symbol.dispose]();
  request.on("data", (chunk: Uint8Array) => {
    lingering.came(chunk.byteLength);
    release(chunk);
  });
  request.once("end", over).once("close", over);
  request.resume();
}

/** The parts that all exchanges of a listener share. */
export interface HttpExchangeParts {
  readonly handler: Handler;
  readonly options: CompleteHttpOptions;
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
export async function serveHttpExchange(
  parts: HttpExchangeParts,
  times: RequestTimes,
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
  const acknowledger = new Acknowledger(options.clock, request.socket);
  const length = Number(request.headers["content-length"]);
  // HTTP/1.0 knows no interim responses, and behind an earlier reply one would be read as part of that.
  const acknowledge = (bytes: number): void => {
    if (request.httpVersion === "1.1" && response.socket) acknowledger.arrived(bytes, bytes === length);
  };
  try {
    const admission = parts.admissions.of(request.socket);
    const reply = beyondLimits(admission, asked.path, call.id) ?? (await handler(asked, call, acknowledge));
    acknowledger.end();
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
  } finally {
    times.over(response);
  }
}
