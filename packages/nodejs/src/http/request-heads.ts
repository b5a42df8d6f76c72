import { deadlineHeader, dropOldest, idempotencyHeader, traceHeader } from "@longshore/core/internal";
import { requestHead } from "./plain-head.ts";

/** Paths whose last head is remembered; the one that was met first goes. */
const mostPaths = 256;

interface Written {
  readonly method: string;
  readonly bodyBytes: number | undefined;
  /** Names and values in turn. */
  readonly words: readonly string[];
  readonly bytes: Buffer;
}

/**
 * Heads of requests to one server, as they are written. What is asked of an endpoint mostly has the head of the request before it with the
 * same path: to see that costs less than to look into it and to put it together again.
 */
export class RequestHeads {
  readonly #host: string;
  readonly #written = new Map<string, Written>();

  /** @param host The server's name, with its port unless that is HTTP's own. */
  constructor(host: string) {
    this.#host = host;
  }

  /** As `requestHead`. Nobody may write to what is given. */
  of(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    bodyBytes: number | undefined,
  ): Buffer | undefined {
    const before = this.#written.get(path);
    if (before?.method === method && before.bodyBytes === bodyBytes && isSame(before.words, headers))
      return before.bytes;
    const text = requestHead(method, path, this.#host, headers, bodyBytes);
    if (text === undefined) return undefined;
    // None of these is the same twice.
    if (deadlineHeader in headers || traceHeader in headers || idempotencyHeader in headers)
      return Buffer.from(text, "latin1");
    // Memory of its own: a slice of the platform's would hold all of that.
    const bytes = Buffer.allocUnsafeSlow(text.length);
    bytes.write(text, "latin1");
    this.#written.set(path, { method, bodyBytes, words: Object.entries(headers).flat(), bytes });
    dropOldest(this.#written, mostPaths);
    return bytes;
  }
}

function isSame(words: readonly string[], headers: Readonly<Record<string, string>>): boolean {
  let at = 0;
  for (const name in headers) {
    if (words[at] !== name || words[at + 1] !== headers[name]) return false;
    at += 2;
  }
  return at === words.length;
}
