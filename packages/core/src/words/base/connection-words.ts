const words: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["EPIPE", "connection reset"],
  ["ETIMEDOUT", "connection timed out"],
  ["EHOSTUNREACH", "host unreachable"],
  ["ENETUNREACH", "network unreachable"],
  ["ENOTFOUND", "unknown host name"],
  ["EAI_AGAIN", "host name lookup failed"],
]);

/** An error code of the system in words, with the code: `connection refused (ECONNREFUSED)`. Other codes stay as they are. */
export function connectionWords(code: string): string {
  const said = words.get(code);
  return said === undefined ? code : `${said} (${code})`;
}
