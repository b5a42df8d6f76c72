import { STATUS_CODES } from "node:http";
import type { Clock, WireResponse } from "@longshore/core";

/** Characters that the value of a header may not contain: line ends, and others that Node.js refuses, too. */
const badValue = /[^\t\x20-\x7e\x80-\xff]/;

/** The line that tells the time, made once a second. */
export function dateLine(clock: Clock): () => string {
  let second = NaN;
  let line = "";
  return () => {
    const now = Math.floor(clock.wallMs() / 1000);
    if (now !== second) {
      second = now;
      line = `date: ${new Date(now * 1000).toUTCString()}\r\n`;
    }
    return line;
  };
}

/** The lines for a connection that ends with this reply. */
export const lastLine = "connection: close\r\n";

/** The lines for a connection that waits so long for the next request. */
export function keepAliveLines(keepAliveMs: number): string {
  return `connection: keep-alive\r\nkeep-alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n`;
}

/**
 * The head of a reply, its empty line included, in Latin-1. Throws for a header that cannot be sent.
 *
 * @param lines More lines, each with its end.
 */
export function replyHead({ status, headers }: WireResponse, lines: string): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`;
  for (const name in headers) {
    const value = headers[name] ?? "";
    if (badValue.test(value)) throw new Error(`header ${name} cannot be sent`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}${lines}\r\n`;
}
