import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "@longshore/core";

/*
 * A client that says that nothing more comes (FIN) has gone, or closed its sending half and waits for the answer: the system
 * tells no more of it. A client that has gone resets the connection when bytes are written to it. So the server begins a reply
 * that may precede any other and says nothing, "100 Continue". After a reset, writing fails, even of no bytes; until then the
 * client may be there. In the middle of a reply, and to clients of HTTP/1.0, which know no interim replies, no such bytes can
 * be written: a client that has ended its half then counts as gone.
 */

const interim = "HTTP/1.1 100 Continue\r\n\r\n";
/** Time between the first two checks, in milliseconds. Each later interval is twice as long. */
const firstMs = 5;
/** The longest interval between two checks, in milliseconds. */
const longestMs = 1000;

/** Breaks a connection whose client has ended its half and has gone, until it is disposed of. */
export function watchHalfClosed(socket: Socket, clock: Clock): Disposable {
  let waitMs = firstMs;
  socket.write(interim, "latin1");
  const look = (): Disposable =>
    clock.timer(waitMs, () => {
      socket.write("");
      waitMs = Math.min(longestMs, 2 * waitMs);
      timer = look();
    });
  let timer = look();
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
}

/** The same for a connection that Node.js's server reads, if that is told to allow half of one (`httpAllowHalfOpen`). */
export function waitHalfClosed(socket: Socket, clock: Clock): void {
  socket.once("end", () => {
    // Node.js keeps the response under way there. By now it has ended a connection with none, or with half a request.
    const { _httpMessage: response } = socket as Socket & { _httpMessage?: ServerResponse | null };
    if (!response || !socket.writable) return;
    if (response.headersSent || response.req.httpVersion === "1.0") {
      socket.end();
      return;
    }
    const watching = watchHalfClosed(socket, clock);
    socket.once("close", () => watching[Symbol.dispose]());
  });
}
