import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { ConnectionAdmission } from "@longshore/core/internal";
import { maxFrameBytes } from "./http2/index.ts";
import { NodeStream } from "./node-stream.ts";
import { maxHeaderFields, type Session, type SessionParts } from "./session.ts";

/*
 * A connection that Node.js frames. It is the other way to serve gRPC (`LONGSHORE_HTTP=node`), with the same calls, limits of calls and
 * drain. Node.js tells nothing of a frame or a block of headers that never ends, so only the limits on opening and on idle
 * connections hold here.
 */

/** Megabytes that Node.js may hold of one connection: replies that clients are slow to read. */
const sessionMegabytes = 1024;

/** A connection that Node.js frames. */
export class NodeSession implements Session {
  readonly #session: ServerHttp2Session;
  #calls = 0;
  #idle: Disposable | undefined;

  /** @param left Called when the connection is no more. */
  constructor(socket: Socket, parts: SessionParts, admission: ConnectionAdmission, left: () => void) {
    const { options, serve, opening, idling } = parts;
    const peer = options.peerOf(socket);
    const session = performServerHandshake(socket, {
      maxSessionMemory: sessionMegabytes,
      maxHeaderListPairs: maxHeaderFields,
      settings: {
        initialWindowSize: options.callWindowBytes,
        maxConcurrentStreams: options.maxConcurrentCalls,
        maxHeaderListSize: options.maxHeaderBytes,
        maxFrameSize: maxFrameBytes,
        enablePush: false,
      },
    });
    this.#session = session;
    session.setLocalWindowSize(options.connectionWindowBytes);
    const unopened = opening.wait(() => this.destroy());
    session.once("remoteSettings", () => unopened[Symbol.dispose]());
    const idle = (): void => {
      this.#idle = idling.wait(() => this.close());
    };
    idle();
    // Without a listener, a connection that breaks would end the process.
    session.on("error", () => this.destroy());
    session.on("close", () => {
      unopened[Symbol.dispose]();
      this.#idle?.[Symbol.dispose]();
      left();
    });
    session.on(
      "stream",
      (
        stream: ServerHttp2Stream,
        _headers: IncomingHttpHeaders,
        _flags: number,
        rawHeaders: readonly string[],
      ) => {
        this.#calls += 1;
        this.#idle?.[Symbol.dispose]();
        stream.on("close", () => {
          this.#calls -= 1;
          if (this.#calls === 0 && !session.closed) idle();
        });
        serve(new NodeStream(stream, rawHeaders, peer), admission);
      },
    );
  }

  close(): void {
    this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }
}
