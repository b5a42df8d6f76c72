import type { Socket } from "node:net";
import type { Clock } from "@longshore/core";

/*
 * A client that says that nothing more comes (FIN) has gone, or closed its sending half and waits for the answer: the system
 * tells no more of it. Who has gone resets the connection when something is written to it, so a reply is begun that may come
 * before any other and says nothing, "100 Continue". After a reset, writing fails, also of nothing; until then somebody may
 * be there.
 */

const interim = "HTTP/1.1 100 Continue\r\n\r\n";
/** From the first look to the next, in milliseconds; then twice as long each time, up to the longest. */
const firstMs = 5;
const longestMs = 1000;

/** Has a connection whose client has ended its half break when nobody is there any more, until it is disposed of. */
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
