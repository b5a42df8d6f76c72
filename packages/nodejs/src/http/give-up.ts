import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/**
 * Ends the connection of an exchange that is given up. Closed as usual, a connection sends whatever the system holds of a body,
 * which may be megabytes: on a thin link the next request would wait for them. A reset throws them away. Under TLS there
 * is no reset: Node.js gives no way to the socket that a ciphered one writes to.
 *
 * @example
 * ```ts
 * import { connect } from "node:net";
 * import { giveUp } from "@longshore/nodejs";
 *
 * const connection = connect(9, "127.0.0.1").on("error", () => undefined);
 * giveUp(connection);
 * console.log(connection.destroyed); // true
 * ```
 */
export function giveUp(connection: Duplex): void {
  // A reset would wait for a connection that is not made yet, and fail on one that is just ending: Node.js then leaves it open
  // for good (EINVAL of `uv_tcp_close_reset`), and emits no close.
  const resets =
    connection instanceof Socket &&
    !(connection instanceof TLSSocket) &&
    !connection.connecting &&
    connection.writableEnded === connection.writableFinished &&
    !connection.destroyed;
  if (resets) connection.resetAndDestroy();
  else connection.destroy();
}
