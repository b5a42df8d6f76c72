import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { CompleteHttpOptions } from "./options.ts";

/** Messages that never reach the handler, since HTTP does not allow them: answered in the protocol's own form. */

const phrases: Readonly<Record<number, string>> = {
  400: "Bad Request",
  405: "Method Not Allowed",
  408: "Request Timeout",
  417: "Expectation Failed",
  431: "Request Header Fields Too Large",
};

function bodyOf(message: string, reason = "invalid-input"): string {
  return JSON.stringify({ error: message, reason, stage: "transport" });
}

/** How long a connection that has ended here waits for the client to end its half. */
export type LingerOptions = Pick<CompleteHttpOptions, "clock" | "lingerMs">;

/**
 * Answers on a connection that nothing more is read from, and ends it. The client has `lingerMs` to read the answer and to end
 * its half; then the connection is destroyed, because a half-closed connection still counts against the limit.
 */
export function endPlainly(
  socket: Duplex,
  { clock, lingerMs }: LingerOptions,
  status: number,
  message: string,
  reason?: string,
): void {
  const body = bodyOf(message, reason);
  socket.end(
    `HTTP/1.1 ${status} ${phrases[status] ?? ""}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  );
  const timer = clock.timer(lingerMs, () => socket.destroy());
  socket.once("close", () => timer[Symbol.dispose]());
}

function refuse(response: ServerResponse, status: number, message: string): void {
  // The following bytes on the connection may not mean what their sender thinks.
  response.shouldKeepAlive = false;
  const body = bodyOf(message);
  response.writeHead(status, { "content-type": "application/json", "content-length": body.length });
  response.end(body);
}

function statusOf(code: string | undefined): readonly [number, string] {
  if (code === "HPE_HEADER_OVERFLOW") return [431, "the headers are larger than is allowed"];
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return [408, "the request took too long to arrive"];
  return [400, "the request is not valid HTTP"];
}

/** Answers what is not even a request, and closes the connection. */
export function onClientError(linger: LingerOptions, error: NodeJS.ErrnoException, socket: Duplex): void {
  // Node.js keeps the response under way there; writing into the middle of one would be read as part of it.
  const { _httpMessage: response } = socket as Duplex & { _httpMessage?: ServerResponse | null };
  // A client whose handshake failed could not read an answer.
  const handshake =
    error.code?.startsWith("ERR_SSL_") === true || error.code?.startsWith("ERR_TLS_") === true;
  if (!socket.writable || handshake || error.code === "ECONNRESET" || response?.headersSent) {
    socket.destroy();
    return;
  }
  endPlainly(socket, linger, ...statusOf(error.code));
}

/** Answers a request that did not arrive in time, and closes the connection. */
export function onTimeout(linger: LingerOptions, socket: Duplex): void {
  onClientError(linger, Object.assign(new Error("late"), { code: "ERR_HTTP_REQUEST_TIMEOUT" }), socket);
}

/** Answers an `Expect` other than for `100-continue`. */
export function onExpectation(_request: IncomingMessage, response: ServerResponse): void {
  refuse(response, 417, "nothing but 100-continue can be expected here");
}

/** Answers a client that uses this server as a proxy. */
export function onConnect(linger: LingerOptions, socket: Duplex): void {
  socket.on("error", () => undefined);
  endPlainly(socket, linger, 405, "this server is no proxy", "wrong-method");
}

/**
 * Refuses a request without exactly one `Host`, as RFC 9112 demands: two would name two targets, of which a proxy may have
 * taken the other. Undefined when it says one.
 */
export function refuseHost(request: IncomingMessage, response: ServerResponse): true | undefined {
  const { rawHeaders, httpVersion } = request;
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
  }
  if (hosts === 1 || (hosts === 0 && httpVersion === "1.0")) return undefined;
  request.resume();
  refuse(response, 400, "a request says exactly one host");
  return true;
}
