import { noHeaders } from "@longshore/core";

/** The head of a request that says nothing out of the ordinary: `POST`, HTTP/1.1, a body of announced length. */
export interface QuickHead {
  /** As it came, to know it again. */
  readonly text: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body, at least 1. */
  readonly bodyBytes: number;
}

const requestLine = /^POST (\/[!-~]*) HTTP\/1\.1$/;
const plainName = /^[a-z0-9-]+$/;
const plainValue = /^[\t\x20-\x7e]*$/;
const plainLength = /^[1-9][0-9]{0,14}$/;

/** Headers that change what follows on the connection. */
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
 */
export function quickHead(text: string): QuickHead | undefined {
  const [first = "", ...lines] = text.slice(0, -4).split("\r\n");
  const path = requestLine.exec(first)?.[1];
  if (path === undefined) return undefined;
  const headers = noHeaders();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const rest = line.slice(colon + 1);
    // Before blanks are cut off: line ends and others count as blanks there.
    const value = plainValue.test(rest) ? rest.trim() : undefined;
    if (value === undefined || !plainName.test(name) || name in headers || special.has(name))
      return undefined;
    headers[name] = value;
  }
  const { host, connection = "keep-alive", "content-length": length } = headers;
  if (!host || connection.toLowerCase() !== "keep-alive" || !plainLength.test(length ?? "")) return undefined;
  return { text, path, headers, bodyBytes: Number(length) };
}
