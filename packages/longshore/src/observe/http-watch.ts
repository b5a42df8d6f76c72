/** The head of a message of HTTP/1.1, and how its body came. */
export interface WatchedMessage {
  /** Request line or status line. */
  readonly line: string;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  /** When the first byte of the head came, and the last of the body; the latter undefined while it comes. */
  readonly beganMs: number;
  endedMs: number | undefined;
  /** Of the body, as it travels. */
  bodyBytes: number;
}

/** Reads along one direction of a connection. */
export interface HttpWatch {
  /** Bytes passed. They are only looked at. */
  passed(chunk: Uint8Array, nowMs: number): void;
  /** No more come. */
  ended(nowMs: number): void;
  /** It was no HTTP/1.1 that can be followed: nothing is said of the rest. */
  readonly lost: boolean;
}

/** Told of messages of a direction. */
export interface HttpWatchParts {
  /** A head is complete. Says whether a body may follow it. */
  head(message: WatchedMessage): boolean;
  /** A message is complete. */
  message(message: WatchedMessage): void;
}

/** Longer heads are not followed. */
const maxHeadBytes = 65_536;
/** Of a line that says how long a chunk is. */
const maxLineBytes = 1024;
const latin1 = new TextDecoder("latin1");

function parseHead(text: string, beganMs: number): WatchedMessage | undefined {
  const [line = "", ...rest] = text.split("\r\n");
  if (!/^(?:HTTP\/1\.[01] \d{3}|[A-Z]+ \S+ HTTP\/1\.[01]$)/.test(line)) return undefined;
  const headers = new Map<string, string>();
  for (const one of rest) {
    const at = one.indexOf(":");
    if (at > 0) headers.set(one.slice(0, at).toLowerCase(), one.slice(at + 1).trim());
  }
  return { line, headers, beganMs, endedMs: undefined, bodyBytes: 0 };
}

/** The kind of the next bytes. */
type State = "head" | "body" | "chunk-line" | "chunk" | "trailers" | "until-end" | "lost";

/** Starts before the first message of a direction. Never throws: only the reader may judge the bytes. */
export function httpWatch(parts: HttpWatchParts): HttpWatch {
  let state: State = "head";
  let message: WatchedMessage | undefined;
  /** Of a head or line whose end is not there yet. */
  let held: Buffer | undefined;
  let beganMs = 0;
  let left = 0;

  const finish = (nowMs: number): void => {
    state = "head";
    if (!message) return;
    const done = message;
    message = undefined;
    done.endedMs = nowMs;
    parts.message(done);
  };

  const lose = (): void => {
    state = "lost";
    held = undefined;
    message = undefined;
  };

  /** Up to and with the end mark, the held and the new bytes together; undefined while it is not there. */
  const upTo = (
    mark: string,
    chunk: Uint8Array,
    most: number,
  ): { text: string; rest: Uint8Array } | undefined => {
    // Copied only where something is held: a chunk may have thousands of lines.
    const all = held
      ? Buffer.concat([held, chunk])
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const at = all.indexOf(mark, 0, "latin1");
    if (at < 0) {
      held = all;
      if (all.byteLength > most) lose();
      return undefined;
    }
    held = undefined;
    return { text: latin1.decode(all.subarray(0, at)), rest: all.subarray(at + mark.length) };
  };

  const begin = (text: string, nowMs: number): void => {
    const found = parseHead(text, beganMs);
    if (!found) return lose();
    message = found;
    if (!parts.head(found)) return finish(nowMs);
    const coding = found.headers.get("transfer-encoding")?.toLowerCase();
    const length = found.headers.get("content-length");
    if (coding !== undefined) state = coding.endsWith("chunked") ? "chunk-line" : "until-end";
    else if (length !== undefined) {
      left = Number(length);
      if (!Number.isSafeInteger(left) || left < 0) return lose();
      state = "body";
      if (left === 0) finish(nowMs);
    } else if (found.line.startsWith("HTTP/")) state = "until-end";
    else finish(nowMs);
  };

  /** Takes what belongs to the present state; gives what is left of the chunk. */
  const step = (chunk: Uint8Array, nowMs: number): Uint8Array | undefined => {
    if (state === "lost") return undefined;
    if (state === "head") {
      if (!held) beganMs = nowMs;
      const found = upTo("\r\n\r\n", chunk, maxHeadBytes);
      if (found) begin(found.text, nowMs);
      return found?.rest;
    }
    if (state === "chunk-line") {
      const found = upTo("\r\n", chunk, maxLineBytes);
      if (!found) return undefined;
      left = Number.parseInt(found.text, 16);
      if (!(left >= 0)) lose();
      else state = left === 0 ? "trailers" : "chunk";
      // The chunk's own end of line is counted with it.
      left += 2;
      return found.rest;
    }
    if (state === "trailers") {
      const found = upTo("\r\n", chunk, maxHeadBytes);
      if (found?.text === "") finish(nowMs);
      return found?.rest;
    }
    const taken = state === "until-end" ? chunk.byteLength : Math.min(left, chunk.byteLength);
    left -= taken;
    if (message) message.bodyBytes += taken;
    if (state === "body" && left === 0) finish(nowMs);
    if (state === "chunk" && left === 0) {
      if (message) message.bodyBytes -= 2;
      state = "chunk-line";
    }
    return chunk.subarray(taken);
  };

  return {
    get lost() {
      return state === "lost";
    },
    passed(chunk, nowMs) {
      let rest: Uint8Array | undefined = chunk;
      while (rest && rest.byteLength > 0) rest = step(rest, nowMs);
    },
    ended(nowMs) {
      if (state === "until-end") finish(nowMs);
    },
  };
}
