import { type AddressInfo, createServer, type Server, Socket } from "node:net";
import { LongshoreError, seededRandom } from "@longshore/core";
import type { Direction } from "@longshore/core/internal";
import type { Trace } from "../trace/index.ts";
import { linkLane, type LinkLane, type Sink } from "./link-lane.ts";

/** The emulated link and its ends. */
export interface LinkProxyOptions {
  readonly target: { readonly host?: string; readonly port: number };
  /** From the client to the target, and back. */
  readonly up: Trace;
  readonly down: Trace;
  /** One way, in milliseconds, and the largest random addition; order is kept. */
  readonly delayMs: number;
  readonly jitterMs?: number;
  readonly seed?: number;
  /** Port to listen on; default: any free one. */
  readonly port?: number;
  /** Bytes that wait in the relay in each direction before senders are paused; default 2 MiB. */
  readonly bufferBytes?: number;
  /** The bytes that a broken connection leaves in the buffers of the link, to be carried to no receiver; default 64 kB. */
  readonly clogBytes?: number;
  /** Connections at a time; more are closed at once. Default 256. */
  readonly maxConnections?: number;
  /** The relay closes itself after this time; default 15 minutes. */
  readonly maxLifeMs?: number;
}

/** A relay under way. */
export interface LinkProxy extends AsyncDisposable {
  readonly host: "127.0.0.1";
  readonly port: number;
  readonly carriedBytes: Readonly<Record<Direction, number>>;
  readonly connections: number;
  /** Nothing passes until `restore`. With `reset`, connections break as well and new ones are refused. */
  cut(options?: { readonly reset?: boolean }): void;
  restore(): void;
  /** Idempotent; breaks what is under way. */
  close(): Promise<void>;
}

/**
 * A TCP relay on loopback between a client and a server. All its connections share the packets of the traces in the order of
 * arrival. A read is paused when the relay's buffer is full, so that a fast sender is slowed down; before it feels that, the
 * kernel's socket buffers fill (up to some megabytes on loopback, and Node.js cannot make them smaller). So a sender that only
 * looks at its own socket counts bytes that are still on this side: acknowledgements of the peer are the truth. There is no
 * loss and no slow start.
 *
 * The relay's own buffer stands for that of the sender, so a reset of a connection is noticed at once: its bytes are gone then,
 * except for those in the buffers of the link. All bytes of one that is ended pass, as the kernel sees to. A server sees a
 * connection only when the link has let its opening through.
 *
 * Throws `port-taken` when the port is in use.
 */
export async function linkProxy(options: LinkProxyOptions): Promise<LinkProxy> {
  const { target, delayMs, jitterMs = 0, bufferBytes = 2 ** 21, clogBytes = 65_536 } = options;
  const { maxConnections = 256 } = options;
  const random = seededRandom(options.seed ?? 1);
  const nowMs = (): number => performance.now();
  const lane = (trace: Trace): LinkLane => linkLane({ trace, delayMs, jitterMs, random, nowMs, bufferBytes });
  const lanes = { up: lane(options.up), down: lane(options.down) };
  const paused: Record<Direction, Set<Socket>> = { up: new Set(), down: new Set() };
  const sockets = new Set<Socket>();
  let refusing = false;
  for (const direction of ["up", "down"] as const) {
    lanes[direction].onRoom(() => {
      const waiting = [...paused[direction]];
      paused[direction].clear();
      for (const socket of waiting) socket.resume();
    });
  }

  /** All bytes from `from` cross the lane to `to`, after the opening of the connection to it. */
  function relay(from: Socket, to: Socket, direction: Direction, begin?: () => void): void {
    const sink: Sink = {
      get gone() {
        return to.destroyed;
      },
      begin: begin ?? (() => undefined),
      land(chunk) {
        // The reader is slower than the link: its sender waits too.
        if (!to.write(chunk) && !from.destroyed) {
          from.pause();
          to.once("drain", () => paused[direction].has(from) || from.resume());
        }
      },
      end: () => void to.end(),
    };
    from.on("data", (chunk: Uint8Array) => {
      if (lanes[direction].push(sink, chunk)) return;
      from.pause();
      paused[direction].add(from);
    });
    from.on("end", () => lanes[direction].finish(sink));
    from.on("error", () => breakOff(to));
    from.on("close", () => {
      sockets.delete(from);
      paused[direction].delete(from);
      // A side that broke, rather than ended, breaks the other.
      if (from.readableEnded) return;
      breakOff(to);
      lanes[direction].abandon(sink, clogBytes);
    });
    if (begin) lanes[direction].open(sink);
  }

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    if (refusing || sockets.size >= 2 * maxConnections) {
      breakOff(client);
      return;
    }
    const upstream = new Socket({ allowHalfOpen: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
    }
    relay(client, upstream, "up", () => {
      upstream.connect({ host: target.host ?? "127.0.0.1", port: target.port });
    });
    relay(upstream, client, "down");
    client.resume();
  });
  await listening(server, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;

  function dropAll(): void {
    for (const socket of sockets) breakOff(socket);
    sockets.clear();
  }
  function close(): Promise<void> {
    clearTimeout(life);
    closing ??= new Promise((resolve) => {
      lanes.up.close();
      lanes.down.close();
      dropAll();
      server.close(() => resolve());
    });
    return closing;
  }
  const life = setTimeout(() => void close(), options.maxLifeMs ?? 900_000);
  life.unref();

  return {
    host: "127.0.0.1",
    port,
    get carriedBytes() {
      return { up: lanes.up.carriedBytes, down: lanes.down.carriedBytes };
    },
    get connections() {
      return sockets.size / 2;
    },
    cut({ reset = false } = {}) {
      lanes.up.cut();
      lanes.down.cut();
      refusing = reset;
      if (reset) dropAll();
    },
    restore() {
      refusing = false;
      lanes.up.restore();
      lanes.down.restore();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Resets a connection. One that is just ending is closed: Node.js would not reset it, leave it open, and never say that it closed. */
function breakOff(socket: Socket): void {
  if (socket.writableEnded === socket.writableFinished) socket.resetAndDestroy();
  else socket.destroy();
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new LongshoreError("port-taken", "transport", `port ${port} is in use; choose another`)
          : LongshoreError.from(error, "transport", `listening on port ${port}`),
      ),
    );
    server.listen(port, "127.0.0.1", resolve);
  });
}
