import { type HeadLines, readHeadLines } from "@longshore/core/internal";

/** The head of a request that says nothing out of the ordinary: HTTP/1.1, `POST` with a body of announced length or `GET` without. */
export interface PlainHead extends HeadLines {
  /** As it came, to know it again. */
  readonly text: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Bytes of the body; 0 for `GET`. */
  readonly bodyBytes: number;
}

/** The request line in origin form (RFC 9112, 3 and 3.2.1). */
const requestLine = /^(GET|POST) (\/[!-~]*) HTTP\/1\.1$/;
/** Field lines (RFC 9112, 5), of fewer characters than are allowed. */
const plainName = /^[a-z0-9-]+$/;
const plainValue = /^[\t\x20-\x7e]*$/;
/** `Content-Length` (RFC 9112, 6.2) without leading zeros. */
const plainLength = /^(?:0|[1-9][0-9]{0,14})$/;

/** Headers that change how the body is read (RFC 9112, 6.1 and 6.3) or what follows on the connection (9). */
const special: ReadonlySet<string> = new Set([
  "transfer-encoding",
  "content-encoding",
  "expect",
  "upgrade",
  "te",
  "trailer",
  "proxy-connection",
  "keep-alive",
  "set-cookie",
]);

/**
 * Reads a head, its empty line included. Undefined for whatever is not plain beyond doubt, well-formed or not: each name
 * once, none that changes how the message is read, one `Host`, one length. That is for a whole reader of HTTP to judge.
 *
 * @param before One that was read here: a line with the same index and text is not parsed again.
 */
export function plainHead(text: string, before?: PlainHead): PlainHead | undefined {
  const lines = text.slice(0, -4).split("\r\n");
  const same = before !== undefined && before.lines[0] === lines[0];
  const [, method, path] = same ? ["", before.method, before.path] : (requestLine.exec(lines[0] ?? "") ?? []);
  if (path === undefined) return undefined;
  const read = readHeadLines(lines, before, headerOf);
  if (!read) return undefined;
  const { headers, names } = read;
  const { host, connection = "keep-alive", "content-length": length } = headers;
  if (!host || connection.toLowerCase() !== "keep-alive") return undefined;
  // A body of `GET` means nothing, and readers differ in whether they read it.
  if (method === "GET" ? length !== undefined : !plainLength.test(length ?? "")) return undefined;
  // The expression above lets no other method through.
  return {
    text,
    method: method as PlainHead["method"],
    path,
    headers,
    bodyBytes: Number(length ?? 0),
    lines,
    names,
  };
}

function headerOf(line: string): readonly [string, string] | undefined {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon)).toLowerCase();
  const rest = line.slice(colon + 1);
  if (!plainName.test(name) || special.has(name)) return undefined;
  // Before blanks are cut off: line ends and others count as blanks there.
  return plainValue.test(rest) ? [name, rest.trim()] : undefined;
}

/** Heads that are longer, or that come in pieces, are Node.js's. */
const longestHead = 4096;
const headEnd = Buffer.from("\r\n\r\n");

/** The heads of one connection, by their letters where they are the one before. */
export class PlainHeads {
  readonly #longest: number;
  #before: PlainHead | undefined;
  /** The last two were the same. */
  #alike = true;

  /** @param maxBytes Heads that are longer are not plain either. */
  constructor(maxBytes: number) {
    this.#longest = Math.min(longestHead, maxBytes);
  }

  /** The head at the beginning of a chunk; undefined for one that is not plain. */
  read(chunk: Buffer): PlainHead | undefined {
    const before = this.#before;
    if (before && this.#alike && chunk.toString("latin1", 0, before.text.length) === before.text)
      return before;
    const end = chunk.subarray(0, this.#longest).indexOf(headEnd);
    if (end < 0) return undefined;
    const text = chunk.toString("latin1", 0, end + 4);
    this.#alike = before === undefined || text === before.text;
    this.#before = before && this.#alike ? before : plainHead(text, before);
    return this.#before;
  }
}
