import { noHeaders } from "@longshore/core";

/** The head of a request that says nothing out of the ordinary: HTTP/1.1, `POST` with a body of announced length or `GET` without. */
export interface QuickHead {
  /** As it came, to know it again. */
  readonly text: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body: at least 1, and 0 for `GET`. */
  readonly bodyBytes: number;
}

const requestLine = /^(GET|POST) (\/[!-~]*) HTTP\/1\.1$/;
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
  const [, method, path] = requestLine.exec(first) ?? [];
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
  if (!host || connection.toLowerCase() !== "keep-alive") return undefined;
  // A body of `GET` means nothing, and readers differ in whether they read it.
  if (method === "GET")
    return length === undefined ? { text, method, path, headers, bodyBytes: 0 } : undefined;
  return plainLength.test(length ?? "")
    ? { text, method: "POST", path, headers, bodyBytes: Number(length) }
    : undefined;
}
