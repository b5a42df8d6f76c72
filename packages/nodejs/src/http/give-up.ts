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

/** What a request asks of its agent. */
export interface Dial extends TcpNetConnectOpts {
  readonly socket?: Socket;
  /** Told which connection is being made for it. Destroyed with an error, it is not made, and the request fails with that. */
  readonly dials?: (socket: Socket) => void;
}

interface Connects {
  createConnection(options: Dial, made?: Made): Duplex | undefined;
}

// The types of Node.js leave out this documented method of agents.
const { createConnection } = Agent.prototype as unknown as Connects;

/**
 * Keeps connections under TLS that `giveUp` can reset. A name may have several addresses, and Node.js puts another socket under a
 * connection for each that it tries: so TLS begins when one has connected.
 */
export class SecureAgent extends Agent implements Connects {
  readonly #dialling = new Set<Socket>();

  createConnection(options: Dial, made?: Made): undefined {
    const { host = "localhost", port, localAddress, lookup, dials } = options;
    const from = { ...(localAddress ? { localAddress } : {}), ...(lookup ? { lookup } : {}) };
    const socket = connect({ host, port, noDelay: true, ...from });
    // Agents count connections once they are made; all of Node.js that runs this keep the number in this field.
    const agent = this as unknown as { totalSocketCount: number };
    agent.totalSocketCount++;
    this.#dialling.add(socket);
    const over = (): boolean => {
      const was = this.#dialling.delete(socket);
      if (was) agent.totalSocketCount--;
      return was;
    };
    socket.on("error", (error) => {
      if (over()) made?.(error, socket);
    });
    socket.once("connect", () => {
      try {
        const secure = createConnection.call(this, { ...options, socket });
        if (!secure || !over()) return;
        plainUnder.set(secure, socket);
        made?.(null, secure);
      } catch (thrown) {
        socket.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
    dials?.(socket);
    return undefined;
  }

  override destroy(): void {
    for (const socket of this.#dialling) socket.destroy(new Error("the agent was closed"));
    super.destroy();
  }
}
