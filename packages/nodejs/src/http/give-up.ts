import { Agent } from "node:https";
import { connect, Socket, type TcpNetConnectOpts } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/**
 * Ends the connection of an exchange that is given up. Closed as usual, a connection sends whatever the system holds of a body,
 * which may be megabytes: on a thin link the next request would wait for them. A reset throws them away.
 */
export function giveUp(connection: Duplex): void {
  const socket = connection instanceof TLSSocket ? plainUnder.get(connection) : connection;
  // A reset would wait for a connection that is not made yet.
  if (socket instanceof Socket && !socket.connecting && !socket.destroyed) socket.resetAndDestroy();
  else connection.destroy();
}

/** The socket that a ciphered one writes to: it can be reset, the other cannot. */
const plainUnder = new WeakMap<Duplex, Socket>();

type Made = (error: Error | null, stream: Duplex) => void;

interface Connects {
  createConnection(
    options: TcpNetConnectOpts & { readonly socket?: Socket },
    made?: Made,
  ): Duplex | undefined;
}

// The types of Node.js leave out this documented method of agents.
const { createConnection } = Agent.prototype as unknown as Connects;

/** Keeps connections under TLS that `giveUp` can reset. */
export class SecureAgent extends Agent implements Connects {
  createConnection(options: TcpNetConnectOpts, made?: Made): Duplex | undefined {
    const { host = "localhost", port, localAddress } = options;
    const socket = connect({ host, port, noDelay: true, ...(localAddress ? { localAddress } : {}) });
    const secure = createConnection.call(this, { ...options, socket }, made);
    if (secure) plainUnder.set(secure, socket);
    return secure;
  }
}
