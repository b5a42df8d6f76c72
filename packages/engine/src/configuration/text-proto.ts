/**
 * Protocol buffers' text format, as people write it in `config.pbtxt`: `name: value`, nested messages in braces or
 * angle brackets, lists in square brackets, comments, adjacent strings joined, commas and semicolons that may follow a
 * field. The parser knows no schema; `triton-schema.ts` gives the fields their types.
 *
 * Reference: "Text Format Language Specification", protobuf.dev.
 */

/** A message: fields in the order in which they are written. */
export interface ProtoMessage {
  readonly kind: "message";
  readonly fields: readonly ProtoField[];
}

/** A value without fields; `word` covers enums, `true`, `inf`... */
export interface ProtoScalar {
  readonly kind: "string" | "number" | "word";
  readonly text: string;
}

interface ProtoField {
  readonly name: string;
  readonly value: ProtoMessage | ProtoScalar;
  readonly line: number;
}

/** A problem in the text, with its line. */
export class TextProtoError extends Error {
  readonly line: number;
  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
    this.line = line;
  }
}

interface Token {
  readonly kind: "string" | "number" | "word" | "mark" | "end";
  readonly text: string;
  readonly line: number;
}

const maxDepth = 32;
const pattern =
  /[ \t\r\f\v]+|#[^\n]*|(\n)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[fF]?))(?![A-Za-z_])|(-?[A-Za-z_][A-Za-z0-9_]*)|([{}<>[\]:,;])/y;

function tokens(text: string): readonly Token[] {
  const found: Token[] = [];
  let line = 1;
  pattern.lastIndex = 0;
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex;
    const match = pattern.exec(text);
    if (!match)
      throw new TextProtoError(line, `${JSON.stringify(text.slice(at, at + 12))} is not understood`);
    const [, newline, string, number, word, mark] = match;
    if (newline) line++;
    else if (string !== undefined)
      found.push({ kind: "string", text: unescape(string.slice(1, -1), line), line });
    else if (number !== undefined) found.push({ kind: "number", text: number.replaceAll(/\s/g, ""), line });
    else if (word !== undefined) found.push({ kind: "word", text: word, line });
    else if (mark !== undefined) found.push({ kind: "mark", text: mark, line });
  }
  found.push({ kind: "end", text: "end of file", line });
  return found;
}

const named: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
};
const escape = /\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g;

/** Escapes stand for bytes (`\x`, octal) or for characters (`\u`, `\U`); bytes that form UTF-8 become text. */
function unescape(raw: string, line: number): string {
  if (!raw.includes("\\")) return raw;
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  const add = (text: string): void => {
    for (const byte of encoder.encode(text)) bytes.push(byte);
  };
  let last = 0;
  for (const match of raw.matchAll(escape)) {
    add(raw.slice(last, match.index));
    last = match.index + match[0].length;
    const [whole, hex, short, long, octal, letter] = match;
    const point = short ?? long;
    if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (octal !== undefined) bytes.push(Number.parseInt(octal, 8) & 0xff);
    else if (point !== undefined) {
      if (Number.parseInt(point, 16) > 0x10ffff) throw new TextProtoError(line, `${whole} is no character`);
      add(String.fromCodePoint(Number.parseInt(point, 16)));
    } else add(named[letter ?? ""] ?? letter ?? "");
  }
  add(raw.slice(last));
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** Reads a whole file as one message. Throws `TextProtoError`. */
export function parseTextProto(text: string): ProtoMessage {
  const all = tokens(text);
  let position = 0;
  const peek = (): Token => all[position] ?? { kind: "end", text: "end of file", line: 0 };
  const take = (): Token => {
    const token = peek();
    position++;
    return token;
  };
  const takes = (mark: string): boolean => {
    if (peek().kind !== "mark" || peek().text !== mark) return false;
    position++;
    return true;
  };

  function message(close: string | undefined, depth: number): ProtoMessage {
    if (depth > maxDepth)
      throw new TextProtoError(peek().line, `more than ${maxDepth} messages inside each other`);
    const fields: ProtoField[] = [];
    for (;;) {
      const { kind, text: name, line } = take();
      if (close === undefined ? kind === "end" : kind === "mark" && name === close)
        return { kind: "message", fields };
      if (kind !== "word") {
        throw new TextProtoError(
          line,
          `a field name is expected before ${JSON.stringify(name)}${unclosed(close)}`,
        );
      }
      const colon = takes(":");
      if (takes("[")) {
        while (!takes("]")) {
          fields.push({ name, line, value: value(true, depth) });
          if (!takes(",") && (peek().kind !== "mark" || peek().text !== "]")) {
            throw new TextProtoError(peek().line, `"," or "]" is expected in the list of ${name}`);
          }
        }
      } else fields.push({ name, line, value: value(colon, depth) });
      if (!takes(",")) takes(";");
    }
  }

  function value(colon: boolean, depth: number): ProtoMessage | ProtoScalar {
    if (takes("{")) return message("}", depth + 1);
    if (takes("<")) return message(">", depth + 1);
    const { kind, text, line } = take();
    if (!colon) throw new TextProtoError(line, `":" is expected before ${JSON.stringify(text)}`);
    if (kind === "mark" || kind === "end") {
      throw new TextProtoError(line, `a value is expected before ${JSON.stringify(text)}`);
    }
    if (kind !== "string") return { kind, text };
    let joined = text;
    while (peek().kind === "string") joined += take().text;
    return { kind, text: joined };
  }

  return message(undefined, 0);
}

function unclosed(close: string | undefined): string {
  return close === undefined ? "" : ` ("${close}" is still open)`;
}
