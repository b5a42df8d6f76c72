import type { IncomingMessage, ServerResponse } from "node:http";
import {
  acknowledgedHeader,
  type Clock,
  type Handler,
  housekeepingCall,
  LongshoreError,
  type Peer,
  randomId,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import type { CompleteOptions } from "./options.ts";
import { codedReply } from "./reply-coding.ts";
import { requestBody } from "./request-body.ts";

/** Unsent bytes on a connection beyond which no more acknowledgements are written to it. */
const talkative = 65_536;

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
  if (request.headers.authorization !== undefined) request.headers.authorization = allAuthorizations(request);
  const entries = Object.entries(request.headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(", ") : (value ?? ""),
  ]);
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Writes interim responses that tell how much of the body is here, until the reply itself begins. */
function acknowledger(request: IncomingMessage, response: ServerResponse): (bytes: number) => void {
  return (bytes) => {
    const { socket } = response;
    if (!socket || response.headersSent || socket.writableLength > talkative) return;
    // Node.js writes 102 without headers only; between requests on a connection nothing else can be under way.
    if (request.httpVersion === "1.1") {
      socket.write(`HTTP/1.1 102 Processing\r\n${acknowledgedHeader}: ${bytes}\r\n\r\n`);
    }
  };
}

async function write(
  response: ServerResponse,
  reply: WireResponse,
  replyTimeoutMs: number,
  leaving: boolean,
): Promise<void> {
  const { status, headers, body } = reply;
  // Tells the client not to use the connection again, so that nothing of it is under way when the port closes.
  if (leaving) response.shouldKeepAlive = false;
  response.setTimeout(replyTimeoutMs);
  if (body.kind === "parts") {
    const length = body.parts.reduce((total, part) => total + part.byteLength, 0);
    response.writeHead(status, status === 204 ? headers : { ...headers, "content-length": length });
    response.cork();
    for (const part of body.parts) response.write(part);
    response.end();
    response.uncork();
    return;
  }
  const length = body.byteLength === undefined ? {} : { "content-length": body.byteLength };
  response.writeHead(status, { ...headers, ...length });
  for await (const chunk of body.read()) {
    if (response.destroyed) return;
    if (!response.write(chunk)) await new Promise<void>((resolve) => drained(response, resolve));
  }
  response.end();
}

function drained(response: ServerResponse, resolve: () => void): void {
  response.once("drain", resolve).once("close", resolve);
}

/**
 * Reads on for a while after a reply that came before the whole request, and throws away what comes. A connection that
 * is closed with unread bytes is reset, and the reset can overtake the reply.
 */
function linger(request: IncomingMessage, clock: Clock, maxBytes: number, forMs: number): void {
  let bytes = 0;
  const timer = clock.timer(forMs, () => request.socket.destroy());
  const over = (): void => timer[Symbol.dispose]();
  request.on("data", (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) request.socket.destroy();
  });
  request.once("end", over).once("close", over);
  request.resume();
}

/** Serves one request of a connection. Never rejects. */
export async function serveExchange(
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse,
  options: CompleteOptions,
  peerOf: (request: IncomingMessage) => Peer,
  expectsContinue: boolean,
  leaving: () => boolean,
): Promise<void> {
  const abort = new AbortController();
  response.on("close", () => {
    if (response.writableFinished) return;
    abort.abort(new LongshoreError("cancelled", "transport", "the client closed the connection"));
  });
  // Without a listener, a connection that breaks would end the process.
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  const asked: WireRequest = {
    method: request.method as WireRequest["method"],
    path: request.url ?? "/",
    headers: headersOf(request),
    body: requestBody(request, options, () => {
      if (expectsContinue && !response.headersSent) response.writeContinue();
    }),
    peer: peerOf(request),
    ...(options.surfaces ? { surfaces: options.surfaces } : {}),
  };
  const call = housekeepingCall(randomId(options.random), abort.signal);
  try {
    const reply = await handler(asked, call, acknowledger(request, response));
    if (response.destroyed) return;
    await write(
      response,
      await codedReply(reply, request.headers["accept-encoding"]),
      options.replyTimeoutMs,
      leaving(),
    );
    if (!request.complete) linger(request, options.clock, options.lingerBytes, options.lingerMs);
  } catch {
    // A handler answers its own failures; what is left is a reply that broke off midway, which only a reset can tell.
    response.destroy();
  }
}
