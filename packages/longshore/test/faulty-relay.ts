import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** The state of a relay: passes connections on, is absent, takes each and closes it without a word, or holds it. */
export type RelayState = "passes" | "refuses" | "closes" | "holds";

/** A relay before a server, as a proxy or a tunnel that restarts. */
export interface FaultyRelay {
  readonly address: string;
  /** Connections that were taken. */
  readonly taken: number;
  /** Ends the connections there are, and does so from now on. */
  become(state: RelayState): Promise<void>;
  close(): Promise<void>;
}

/** Starts a relay before the server on that port; it passes everything on. */
export async function faultyRelay(target: number): Promise<FaultyRelay> {
  const sockets = new Set<Socket>();
  let state: RelayState = "passes";
  let taken = 0;
  let server: Server | undefined;
  const open = async (port: number): Promise<number> => {
    server = createServer((client) => {
      taken++;
      if (state === "closes") {
        client.on("error", () => undefined);
        client.resume().end();
        return;
      }
      if (state === "holds") {
        sockets.add(client);
        client.on("error", () => undefined).on("close", () => sockets.delete(client));
        client.resume();
        return;
      }
      const upstream = connect(target, "127.0.0.1");
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  };
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const shut = async (): Promise<void> => {
    drop();
    const closing = server;
    server = undefined;
    if (!closing) return;
    const closed = once(closing, "close");
    closing.close();
    await closed;
  };
  const port = await open(0);
  return {
    address: `http://127.0.0.1:${port}`,
    get taken() {
      return taken;
    },
    async become(next) {
      state = next;
      if (next === "refuses") return shut();
      drop();
      if (!server) await open(port);
    },
    close: shut,
  };
}
