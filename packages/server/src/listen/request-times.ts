import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { onTimeout } from "./not-served.ts";
import type { CompleteOptions } from "./options.ts";

/*
 * Node.js's server has a time for the headers and for the whole of a request. Two waits of it have none: for the next piece of
 * a body, and for the next request when only blank lines come (they end its own `keepAliveTimeout` and begin no request).
 */

/** Ends a request of which nothing arrives for too long while its body is read. */
export function watchBody(request: IncomingMessage, options: CompleteOptions): void {
  if (request.complete) return;
  const { socket } = request;
  const { clock, stallTimeoutMs } = options;
  let bytes = socket.bytesRead;
  const look = (): Disposable =>
    clock.timer(stallTimeoutMs, () => {
      // A body without a reader is not late.
      const late = request.readableFlowing === true && socket.bytesRead === bytes;
      bytes = socket.bytesRead;
      if (late) onTimeout(options, socket);
      else timer = look();
    });
  let timer = look();
  const over = (): void => timer[Symbol.dispose]();
  request.once("end", over).once("close", over);
}

/** Watches connections between their requests. */
export function watchBetween({
  clock,
  keepAliveMs,
  headersTimeoutMs,
}: CompleteOptions): (socket: Socket, response: ServerResponse) => void {
  const states = new WeakMap<Socket, { underWay: number; timer?: Disposable }>();
  const stateOf = (socket: Socket): { underWay: number; timer?: Disposable } => {
    const known = states.get(socket);
    if (known) return known;
    const state: { underWay: number; timer?: Disposable } = { underWay: 0 };
    states.set(socket, state);
    socket.once("close", () => state.timer?.[Symbol.dispose]());
    return state;
  };
  return (socket, response) => {
    const state = stateOf(socket);
    state.underWay += 1;
    state.timer?.[Symbol.dispose]();
    response.once("close", () => {
      state.underWay -= 1;
      if (state.underWay > 0 || socket.destroyed) return;
      // A request that begins at the last moment has its time for headers, too.
      state.timer = clock.timer(keepAliveMs + headersTimeoutMs, () => socket.destroy());
    });
  };
}
