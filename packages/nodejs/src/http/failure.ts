import { LongshoreError } from "@longshore/core";
import { connectionWords } from "@longshore/core/internal";

/** That it is certain, or likely enough, that the server never saw the request. */
export function unreachable(address: string, detail: string, cause?: unknown): LongshoreError {
  return new LongshoreError("unreachable", "transport", `no connection to ${address}: ${detail}`, { cause });
}

/** That the server may have seen the request. */
export function noAnswer(address: string, detail: string, cause?: unknown): LongshoreError {
  return new LongshoreError("no-answer", "transport", `${address} did not answer: ${detail}`, { cause });
}

/** That what came is no HTTP. */
export function noHttp(address: string, detail: string, cause: unknown): LongshoreError {
  return new LongshoreError("bad-reply", "transport", `${address} does not speak HTTP (${detail})`, {
    cause,
  });
}

/** That a reply has, or says that it has, more bytes than are read. */
export function tooLong(address: string, maxBytes: number, announced?: number): LongshoreError {
  const message =
    announced === undefined
      ? `${address} sent more than the ${maxBytes} bytes that a reply may have`
      : `${address} announced a reply of ${announced} bytes; at most ${maxBytes} are read`;
  return new LongshoreError("bad-reply", "transport", message);
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "connection lost";
}

/** Whether undici refused the reply: malformed, a head that is too long, or a reply without a request. */
function isNoHttp(code: string, thrown: unknown, headed: boolean): boolean {
  if (!(thrown instanceof Error)) return false;
  if (thrown.name === "HTTPParserError" || code === "UND_ERR_HEADERS_OVERFLOW") return true;
  // A head with two lengths; after a head, the body was cut.
  if (code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH") return !headed;
  return code === "UND_ERR_SOCKET" && thrown.message.startsWith("bad ");
}

/** Whether a TLS server said that it does not like this client's certificate (RFC 8446, 6.2); Node.js tells in two ways. */
function isCertificateAlert(code: string, thrown: unknown): boolean {
  if (/^ERR_SSL_.*ALERT_(?:NO_|BAD_|UNSUPPORTED_)?(?:CERTIFICATE(?:_[A-Z]+)?|UNKNOWN_CA)$/.test(code))
    return true;
  return code === "EPROTO" && /SSL alert number (?:4[1-68]|116)\b/.test((thrown as Error).message);
}

/** The meaning of a connection's error, by how far the exchange had come. */
export function meaning(
  thrown: unknown,
  address: string,
  state: {
    readonly connected: boolean;
    readonly reused: boolean;
    /** The first byte of an answer came. */
    readonly answered: boolean;
    /** The head of the reply came. */
    readonly headed: boolean;
  },
): LongshoreError {
  if (LongshoreError.is(thrown)) return thrown;
  const code = codeOf(thrown);
  if (isNoHttp(code, thrown, state.headed)) return noHttp(address, code, thrown);
  if (code === "UND_ERR_INVALID_ARG" || code === "UND_ERR_NOT_SUPPORTED") {
    return LongshoreError.from(thrown, "transport", `writing a request to ${address}`);
  }
  if (isCertificateAlert(code, thrown)) {
    return new LongshoreError(
      "unauthenticated",
      "transport",
      `${address} does not accept this client's certificate, or wants one (${code})`,
      { cause: thrown },
    );
  }
  if (!state.connected) return unreachable(address, connectionWords(code), thrown);
  // A kept connection that breaks before the first byte of an answer was most likely closed by the server meanwhile.
  if (state.reused && !state.answered)
    return unreachable(address, `the kept connection was closed (${code})`, thrown);
  return noAnswer(address, connectionWords(code), thrown);
}
