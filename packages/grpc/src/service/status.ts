import { type Code, LongshoreError, readBody, type WireResponse } from "@longshore/core";
import { read, readWireError } from "@longshore/core/internal";

/** How a call over gRPC ends. */
export interface GrpcStatus {
  /** gRPC's number; 0 for success. */
  readonly code: number;
  /** Empty for success. */
  readonly message: string;
  /** Metadata that comes after the messages. */
  readonly trailers: Readonly<Record<string, string>>;
}

const numbers: Readonly<Record<Code, number>> = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
};

/**
 * The status of HTTP that stands for gRPC's number, as `google.rpc.Code` pairs them: for servers that give no reason of our
 * list. CANCELLED means that the server gave up. A caller that gives up reads no status.
 */
const httpStatuses: readonly number[] = [
  200, 503, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];

/** The status of HTTP that stands for a number of gRPC; 500 for one that gRPC does not have. */
export function httpStatusOf(code: number): number {
  return httpStatuses[code] ?? 500;
}

/** Success. */
export const ok: GrpcStatus = { code: 0, message: "", trailers: {} };

/** The trailer that tells the reason of our closed list, which is finer than gRPC's codes. */
const reasonTrailer = "longshore-reason";
/** gRPC's own trailer for "not before". */
const pushbackTrailer = "grpc-retry-pushback-ms";

/**
 * The status of an error: code as the error has it, with the reason itself as a trailer and, where the refusing side
 * said so, when to come back.
 */
export function statusOf(error: LongshoreError): GrpcStatus {
  const { reason, retryAfterMs, message } = error;
  return {
    code: numbers[error.code],
    message,
    trailers: {
      [reasonTrailer]: reason,
      ...(retryAfterMs === undefined ? {} : { [pushbackTrailer]: String(Math.ceil(retryAfterMs)) }),
    },
  };
}

/** The error that a reply of the handler stands for, under its own words. */
export async function errorOf(response: WireResponse): Promise<LongshoreError> {
  const bytes = await readBody(response.body, { maxBytes: 65_536 });
  const error = readWireError(response.status, response.headers, bytes, "the server");
  let said: unknown;
  try {
    said = read.own(JSON.parse(new TextDecoder().decode(bytes)) as object, "error");
  } catch {
    // Not every refusal has words: readiness answers with a body of its own.
  }
  const { reason, stage, message, retryAfterMs } = error;
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new LongshoreError(reason, stage, typeof said === "string" ? said : message, wait);
}

/** How a server ended a call that brought no answer, as a reply over HTTP would have said it. */
export function replyOf(
  code: number,
  message: string,
  trailers: Readonly<Record<string, unknown>> = {},
): WireResponse {
  const wait = trailers[pushbackTrailer];
  const retryAfterMs = typeof wait === "string" && /^[0-9]{1,9}$/.test(wait) ? Number(wait) : undefined;
  const json = { error: message, reason: trailers[reasonTrailer], retryAfterMs };
  const status = code === 0 ? 500 : httpStatusOf(code);
  return {
    status,
    headers: {},
    body: { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(json))] },
  };
}
