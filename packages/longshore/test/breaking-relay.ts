import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A relay before a server. */
export interface BreakingRelay extends AsyncDisposable {
  readonly port: number;
  /** The bytes from the server, of all connections. */
  readonly downBytes: number;
  /** Resolves when it breaks. */
  readonly broke: Promise<void>;
  /** Lets connections be made again, and everything pass. */
  mend(): void;
}

/**
 * Breaks all connections, and refuses more until it is mended, as soon as exactly this many bytes have come from the server.
 */
export async function breakingRelay(target: number, afterBytes: number): Promise<BreakingRelay> {
  const sockets = new Set<Socket>();
  let state: "whole" | "broken" | "mended" = "whole";
  let down = 0;
  let tell = (): void => undefined;
  const broke = new Promise<void>((resolve) => (tell = resolve));
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const server = createServer((client) => {
    if (state === "broken") {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(target, "127.0.0.1");
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => sockets.delete(one));
    }
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      const passes = state === "whole" ? chunk.subarray(0, afterBytes - down) : chunk;
      down += passes.byteLength;
      if (state !== "whole" || down < afterBytes) {
        client.write(passes);
        return;
      }
      state = "broken";
      // Earlier bytes are read before its end.
      sockets.delete(client);
      client.unpipe(upstream).end(passes);
      drop();
      tell();
    });
    upstream.on("end", () => client.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get downBytes() {
      return down;
    },
    broke,
    mend() {
      state = "mended";
    },
    async [Symbol.asyncDispose]() {
      drop();
      server.close();
      await once(server, "close");
    },
  };
}
