import { noHeaders } from "./no-headers.ts";

/** The header lines of a head of HTTP/1.1 that was read, to know again what the next one on its connection has of them. */
export interface HeadLines {
  readonly headers: Readonly<Record<string, string>>;
  /** All lines, the first of which is no header, and the names in them. */
  readonly lines: readonly string[];
  readonly names: readonly string[];
}

/**
 * Reads the headers in the lines of a head, each name once. Cookies are left out: this program does not read them, and servers
 * may send many. Undefined where `headerOf` gives none for a line.
 *
 * @param before A head that was read by the same `headerOf`: a line that it has at the same position is not parsed again.
 */
export function readHeadLines(
  lines: readonly string[],
  before: HeadLines | undefined,
  headerOf: (line: string) => readonly [name: string, value: string] | undefined,
): HeadLines | undefined {
  const headers = noHeaders();
  const names = [""];
  // Names that are those before, in their order, are each another.
  let alike = before !== undefined;
  for (let at = 1; at < lines.length; at++) {
    const line = lines[at] ?? "";
    let name: string;
    let value: string;
    if (before?.lines[at] === line) {
      name = before.names[at] ?? "";
      value = before.headers[name] ?? "";
    } else {
      const header = headerOf(line);
      if (!header) return undefined;
      [name, value] = header;
      alike &&= before?.names[at] === name;
    }
    names.push(name);
    if (name === "set-cookie") continue;
    if (!alike && headers[name] !== undefined) return undefined;
    headers[name] = value;
  }
  return { headers, lines, names };
}
