import { type ClientHttp2Session, connect } from "node:http2";
import { once } from "node:events";
import type { ConnectionOptions } from "node:tls";
import { type Clock, LongshoreError } from "@longshore/core";
import {
  abortError,
  afterPause,
  type Connecting,
  connectionWords,
  newConnection,
  untilAborted,
} from "@longshore/core/internal";

/** How the one connection to a server comes about. */
export interface Http2Parts {
  readonly url: URL;
  readonly clock: Clock;
  /** Time for it to come about, in milliseconds. */
  readonly connectTimeoutMs: number;
  readonly tls?: ConnectionOptions;
}

/** The one connection to a server, opened by the first call and again after it has ended. */
export interface Http2ClientConnection {
  /** As `Transport.connecting`. */
  connecting(): Connecting | undefined;
  /** A call on it sent or received something. */
  moved(): void;
  /** Rejects with `unreachable`, or with why `abort` was aborted. */
  open(abort: AbortSignal): Promise<ClientHttp2Session>;
  /**
   * A call on it ended here before the server had ended it. If a server disappears without a word, the system keeps the
   * connection for many minutes. So the connection is pinged, and takes no more calls unless the server answers soon.
   */
  doubt(session: ClientHttp2Session): void;
  close(): void;
}

/** That it is certain, or likely enough, that the server never saw the request. */
export function grpcUnreachable(url: URL, detail: string, cause?: unknown): LongshoreError {
  return new LongshoreError("unreachable", "transport", `no connection to ${url.host}: ${detail}`, { cause });
}

/** Bytes that the server may send ahead of the reader, for one call and for all of them. */
const callWindowBytes = 2 ** 20;
const connectionWindowBytes = 4 * callWindowBytes;
/** A server that does not acknowledge settings for so long gets new calls on another connection. */
const acknowledgedMs = 1000;
/** Node.js's name of the frame with which a server says that it takes no more calls on a connection. */
const goaway = "goaway";

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it was closed";
}

/** Resolves when the session is connected. The call with the longest wait decides how long the connection may take. */
async function connected(
  session: ClientHttp2Session,
  { url, clock, connectTimeoutMs }: Http2Parts,
): Promise<void> {
  let late = false;
  using _limit = clock.timer(connectTimeoutMs, () => {
    late = true;
    session.destroy();
  });
  try {
    // A session that is destroyed before it is connected tells of nothing but its end.
    await Promise.race([
      once(session, "connect"),
      once(session, "close").then(() => Promise.reject(grpcUnreachable(url, "it was closed"))),
    ]);
  } catch (thrown) {
    session.destroy();
    if (late) throw grpcUnreachable(url, `none came about within ${connectTimeoutMs} ms`);
    throw LongshoreError.is(thrown) ? thrown : grpcUnreachable(url, connectionWords(codeOf(thrown)), thrown);
  }
  session.setLocalWindowSize(connectionWindowBytes);
}

/** Makes a connection, which is not opened yet. */
export function connectionTo(parts: Http2Parts): Http2ClientConnection {
  const { url, tls, clock, connectTimeoutMs } = parts;
  let closed = false;
  const sessions = new Set<ClientHttp2Session>();
  const doubted = new WeakSet<ClientHttp2Session>();
  let current: { readonly session: ClientHttp2Session; readonly ready: Promise<void> } | undefined;
  /** When something was sent or received on the current one last; -Infinity until it is made. */
  let movedMs = -Infinity;
  /** How long making a connection took of late, in milliseconds. */
  let tookMs: number | undefined;
  const begin = (): NonNullable<typeof current> => {
    const session = connect(url.origin, {
      ...tls,
      settings: { enablePush: false, initialWindowSize: callWindowBytes },
    });
    // Each call tells what became of it; without a listener the process would end.
    session.on("error", () => undefined);
    const one = { session, ready: connected(session, parts) };
    const beganMs = clock.nowMs();
    const made = (): void => {
      movedMs = clock.nowMs();
      tookMs = tookMs === undefined ? movedMs - beganMs : (tookMs + movedMs - beganMs) / 2;
    };
    one.ready.then(made, () => undefined);
    sessions.add(session);
    movedMs = -Infinity;
    // Calls under way are finished on it.
    session.on("close", () => leave(session)).on("close", () => sessions.delete(session));
    session.on(goaway, () => {
      leave(session);
      session.close();
    });
    return one;
  };
  const leave = (session: ClientHttp2Session): void => {
    if (current?.session === session) current = undefined;
  };
  return {
    connecting() {
      return movedMs > -Infinity && current
        ? afterPause(clock.nowMs() - movedMs)
        : newConnection(url, tookMs);
    },
    moved() {
      movedMs = clock.nowMs();
    },
    async open(abort) {
      if (closed) throw grpcUnreachable(url, "the transport is closed");
      if (abort.aborted) throw abortError(abort, "transport");
      current ??= begin();
      const { session, ready } = current;
      await untilAborted(ready, abort, "transport");
      return session;
    },
    doubt(session) {
      if (session.destroyed || doubted.has(session)) return;
      doubted.add(session);
      const left = clock.timer(acknowledgedMs, () => leave(session));
      const ended = clock.timer(Math.max(acknowledgedMs, connectTimeoutMs), () => session.destroy());
      const over = (): void => {
        left[Symbol.dispose]();
        ended[Symbol.dispose]();
      };
      session.once("close", over);
      // Not a ping: gRPC's servers in C++, as Triton's, take a few of them for abuse, and cut off all calls under way.
      session.settings({}, () => {
        doubted.delete(session);
        session.off("close", over);
        over();
        // It was slow, and another has replaced it.
        if (current?.session !== session) session.close();
      });
    },
    close() {
      closed = true;
      for (const session of sessions) session.destroy();
    },
  };
}
