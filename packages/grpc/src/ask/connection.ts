import { type ClientHttp2Session, connect } from "node:http2";
import { once } from "node:events";
import type { ConnectionOptions } from "node:tls";
import { abortError, type Clock, LongshoreError, untilAborted } from "@longshore/core";

/** How the one connection to a server comes about. */
export interface ConnectionParts {
  readonly url: URL;
  readonly clock: Clock;
  /** Time for it to come about, in milliseconds. */
  readonly connectTimeoutMs: number;
  readonly tls?: ConnectionOptions;
}

/** The one connection to a server, opened when it is first asked for and anew after it has ended. */
export interface Connection {
  /** Rejects with `unreachable`, or with why `abort` was aborted. */
  open(abort: AbortSignal): Promise<ClientHttp2Session>;
  close(): void;
}

/** That it is certain, or likely enough, that the server never saw the request. */
export function unreachable(url: URL, detail: string, cause?: unknown): LongshoreError {
  return new LongshoreError("unreachable", "transport", `no connection to ${url.host}: ${detail}`, { cause });
}

/** Bytes that the server may send ahead of who reads, of one call and of all of them. */
const callWindowBytes = 2 ** 20;
const connectionWindowBytes = 4 * callWindowBytes;
/** Node.js's name of the frame with which a server says that it takes no more calls on a connection. */
const goaway = "goaway";

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it was closed";
}

/** Resolves when the session is connected. Whoever waits longest decides how long is waited. */
async function connected(
  session: ClientHttp2Session,
  { url, clock, connectTimeoutMs }: ConnectionParts,
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
      once(session, "close").then(() => Promise.reject(unreachable(url, "it was closed"))),
    ]);
  } catch (thrown) {
    session.destroy();
    if (late) throw unreachable(url, `none came about within ${connectTimeoutMs} ms`);
    throw LongshoreError.is(thrown) ? thrown : unreachable(url, codeOf(thrown), thrown);
  }
  session.setLocalWindowSize(connectionWindowBytes);
}

/** Makes a connection, which is not opened yet. */
export function connectionTo(parts: ConnectionParts): Connection {
  const { url, tls } = parts;
  let closed = false;
  let current: { readonly session: ClientHttp2Session; readonly ready: Promise<void> } | undefined;
  const begin = (): NonNullable<typeof current> => {
    const session = connect(url.origin, {
      ...tls,
      settings: { enablePush: false, initialWindowSize: callWindowBytes },
    });
    // Each call tells what became of it; without a listener the process would end.
    session.on("error", () => undefined);
    const one = { session, ready: connected(session, parts) };
    one.ready.catch(() => undefined);
    const leave = (): void => {
      if (current === one) current = undefined;
    };
    // Calls under way are finished on it.
    session.on("close", leave).on(goaway, () => {
      leave();
      session.close();
    });
    return one;
  };
  return {
    async open(abort) {
      if (closed) throw unreachable(url, "the transport is closed");
      if (abort.aborted) throw abortError(abort, "transport");
      current ??= begin();
      const { session, ready } = current;
      await untilAborted(ready, abort, "transport");
      return session;
    },
    close() {
      closed = true;
      current?.session.destroy();
    },
  };
}
