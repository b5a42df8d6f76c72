import { noHeaders } from "@longshore/core/internal";
import type { HeaderField } from "./header-table.ts";
import { type CallHead, callHead } from "../call-stream.ts";

/** A call's headers, and the length of its body where they tell it. */
export interface RequestHead {
  readonly head: CallHead;
  readonly announced: number | undefined;
}

const goodName = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/;
const badValue = /[^\t\x20-\x7e\x80-\xff]/;
const blankEnd = /^[\t ]|[\t ]$/;
const blank = "\t ";
const goodPath = /^(?:\/[!-~]*|\*)$/;
const goodLength = /^[0-9]{1,15}$/;

/** Pseudo-header fields of a request (RFC 9113, 8.3.1). */
const pseudo: ReadonlySet<string> = new Set([":method", ":scheme", ":path", ":authority"]);

/** Fields of connections, which only HTTP/1.1 has (RFC 9113, 8.2.2). */
const ofConnections: ReadonlySet<string> = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

/** HTTP/2 allows no blanks around values; gRPC lets its clients send them, and servers drop them. */
function withoutBlanks(value: string): string {
  let from = 0;
  let to = value.length;
  while (from < to && blank.includes(value.charAt(from))) from += 1;
  while (to > from && blank.includes(value.charAt(to - 1))) to -= 1;
  return value.slice(from, to);
}

/** Reads the headers of a call; undefined where they are malformed (RFC 9113, 8.1.1 and 8.2.1). */
export function requestHead(fields: readonly HeaderField[]): RequestHead | undefined {
  const headers = noHeaders();
  let plain = false;
  for (const [name, given] of fields) {
    const value = blankEnd.test(given) ? withoutBlanks(given) : given;
    if (!goodName.test(name) || badValue.test(given) || ofConnections.has(name)) return undefined;
    const before = headers[name];
    if (name.startsWith(":")) {
      if (plain || value !== given || before !== undefined || !pseudo.has(name)) return undefined;
    } else plain = true;
    if (before === undefined) headers[name] = value;
    else headers[name] = `${before}${name === "cookie" ? "; " : ", "}${value}`;
  }
  const { te = "trailers", "content-length": length } = headers;
  if (!headers[":method"] || !headers[":scheme"] || !goodPath.test(headers[":path"] ?? "")) return undefined;
  if (te !== "trailers" || (length !== undefined && !goodLength.test(length))) return undefined;
  return { head: callHead(headers), announced: length === undefined ? undefined : Number(length) };
}
