import { type HeadLines, readHeadLines } from "@longshore/core/internal";

/** The head of a reply that says nothing out of the ordinary. */
export interface PlainHead extends HeadLines {
  readonly status: number;
  /** Bytes of the body; undefined: it comes in chunks. */
  readonly bodyBytes: number | undefined;
  /** The server goes on reading on this connection; for so long, in milliseconds, where it says it. */
  readonly keeps: boolean;
  readonly keepsMs: number;
}

const statusLine = /^HTTP\/1\.1 ([1-5][0-9]{2}) [\t\x20-\x7e]*$/;
const headerLine = /^([A-Za-z0-9_-]+):([\t\x20-\x7e]*)$/;
const plainNames = /^[a-z0-9_-]*$/;
const plainText = /^[\t\x20-\x7e]*$/;
const plainLength = /^(?:0|[1-9][0-9]{0,14})$/;
const plainPath = /^\/[!-~]*$/;
const keptFor = /^timeout=([0-9]{1,6})(?:,|$)/;

/** Requests that say such a thing are for a whole writer of HTTP. */
const special: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Reads the head of a reply, its empty line included. Undefined for whatever is not plain beyond doubt, well-formed or not:
 * each name once, one way to tell where the body ends, no other protocol. That is for a whole reader of HTTP to judge.
 *
 * @param before One that was read here: a line that it has at the same endpoint is not looked into again.
 */
export function plainHead(text: string, before?: PlainHead): PlainHead | undefined {
  const lines = text.slice(0, -4).split("\r\n");
  const same = before !== undefined && before.lines[0] === lines[0];
  const status = same ? before.status : Number(statusLine.exec(lines[0] ?? "")?.[1]);
  // 101 is another protocol, 304 has the length of something else.
  if (Number.isNaN(status) || status === 101 || status === 304) return undefined;
  const read = readHeadLines(lines, before, headerOf);
  if (!read) return undefined;
  const { headers, names } = read;
  const { connection = "keep-alive", "content-length": length, "transfer-encoding": coding } = headers;
  const wish = connection.toLowerCase();
  if (wish !== "keep-alive" && wish !== "close") return undefined;
  const bodiless = status < 200 || status === 204;
  if (bodiless ? coding !== undefined || (length ?? "0") !== "0" : !oneLength(length, coding))
    return undefined;
  const hint = keptFor.exec(headers["keep-alive"] ?? "")?.[1];
  return {
    status,
    headers,
    bodyBytes: bodiless ? 0 : length === undefined ? undefined : Number(length),
    keeps: wish === "keep-alive",
    keepsMs: hint === undefined ? Infinity : Number(hint) * 1000,
    lines,
    names,
  };
}

function headerOf(line: string): readonly [string, string] | undefined {
  const [, name = "", rest = ""] = headerLine.exec(line) ?? [];
  return name === "" ? undefined : [name.toLowerCase(), rest.trim()];
}

/** Longer heads of replies are Node.js's. */
export const longestHead = 4096;

/** The head in the first `length` bytes of what came. */
export function plainHeadIn(
  bytes: Buffer,
  length: number,
  before: PlainHead | undefined,
): PlainHead | undefined {
  return length - 4 > longestHead ? undefined : plainHead(bytes.toString("latin1", 0, length), before);
}

function oneLength(length: string | undefined, coding: string | undefined): boolean {
  if (length === undefined) return coding?.toLowerCase() === "chunked";
  return coding === undefined && plainLength.test(length);
}

/**
 * The head of a request as it is written, its empty line included. Undefined for one that is not plain: a name or value
 * that Node.js would refuse or write otherwise, or that changes how the rest is read.
 *
 * @param host The server's name, with its port unless that is HTTP's own.
 * @param bodyBytes Undefined: it has none.
 */
export function requestHead(
  method: string,
  path: string,
  host: string,
  headers: Readonly<Record<string, string>>,
  bodyBytes: number | undefined,
): string | undefined {
  if (!plainPath.test(path)) return undefined;
  let text = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  // Looked into all together: that costs less than each by itself.
  let names = "";
  let values = "";
  for (const name in headers) {
    if (name === "" || special.has(name)) return undefined;
    const value = headers[name] ?? "";
    names += name;
    values += value;
    text += `${name}: ${value}\r\n`;
  }
  if (!plainNames.test(names) || !plainText.test(values)) return undefined;
  return bodyBytes === undefined ? `${text}\r\n` : `${text}content-length: ${bodyBytes}\r\n\r\n`;
}
