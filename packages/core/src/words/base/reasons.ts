/** A gRPC status name. */
export type Code =
  | "ABORTED"
  | "CANCELLED"
  | "DEADLINE_EXCEEDED"
  | "FAILED_PRECONDITION"
  | "INTERNAL"
  | "INVALID_ARGUMENT"
  | "NOT_FOUND"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "UNAUTHENTICATED"
  | "UNAVAILABLE"
  | "UNIMPLEMENTED";

/** Why something failed; also the label of failure metrics. */
export type Reason =
  | "invalid-input"
  | "invalid-media"
  | "body-mismatch"
  | "body-too-large"
  | "checksum-mismatch"
  | "unknown-model"
  | "unknown-version"
  | "unknown-variant"
  | "unknown-cut"
  | "unknown-region"
  | "unknown-route"
  | "wrong-method"
  | "deadline-past"
  | "invalid-model"
  | "invalid-configuration"
  | "port-taken"
  | "conflict"
  | "package-outdated"
  | "package-expired"
  | "unsupported"
  | "policy-denied"
  | "unauthenticated"
  | "not-permitted"
  | "no-endpoint"
  | "queue-full"
  | "rejected"
  | "busier"
  | "evicted"
  | "tenant-limit"
  | "starting"
  | "shutting-down"
  | "memory-limit"
  | "disk-full"
  | "disk-failed"
  | "deadline-exceeded"
  | "cancelled"
  | "unreachable"
  | "no-answer"
  | "bad-reply"
  | "unconfirmed"
  | "sequence-unknown"
  | "sequence-step"
  | "sequence-lost"
  | "run-failed"
  | "run-deadline"
  | "runtime-crashed"
  | "internal";

/** The facts that follow from a reason. */
export interface ReasonFacts {
  readonly code: Code;
  readonly httpStatus: number;
  /** Whether the same request may succeed elsewhere or later. */
  readonly retryable: boolean;
}

/**
 * The closed list of reasons of failures. No other code maps reasons; docs/reference/errors.md is made of this table and its
 * comments.
 */
export const reasons: Readonly<Record<Reason, ReasonFacts>> = {
  /** The request's tensors, parameters or headers are wrong. The message names what was expected. */
  "invalid-input": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  /** An image, audio clip or text could not be decoded. */
  "invalid-media": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  /** The body's length does not fit its headers or shapes. */
  "body-mismatch": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  /** The body, or a tensor in it, exceeds a limit of the server. */
  "body-too-large": { code: "RESOURCE_EXHAUSTED", httpStatus: 413, retryable: false },
  /** The body was damaged on its way, in either direction: it does not match its checksum. Send it again. */
  "checksum-mismatch": { code: "UNAVAILABLE", httpStatus: 400, retryable: true },
  /** No endpoint that the request may use has the model, or the sender may not see it. */
  "unknown-model": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  /** The model is known, this version or content is not. Ask again without a version or digest. */
  "unknown-version": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  /** The model has no variant of this name. */
  "unknown-variant": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  /** The model has no cut of this name. */
  "unknown-cut": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  /** No shared memory region of this name is registered. */
  "unknown-region": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  /** This path is not served here. */
  "unknown-route": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  /** The path does not take this HTTP method; `Allow` lists those that it takes. */
  "wrong-method": { code: "UNIMPLEMENTED", httpStatus: 405, retryable: false },
  /** The deadline had passed before the request began. */
  "deadline-past": { code: "DEADLINE_EXCEEDED", httpStatus: 504, retryable: false },
  /** The model's file or package cannot be used. The message says why. */
  "invalid-model": { code: "FAILED_PRECONDITION", httpStatus: 422, retryable: false },
  /** An option or file is wrong. The message names the key, the value and what is allowed. */
  "invalid-configuration": { code: "FAILED_PRECONDITION", httpStatus: 422, retryable: false },
  /** Another program uses the port. */
  "port-taken": { code: "FAILED_PRECONDITION", httpStatus: 500, retryable: false },
  /** Another writer changed it first. Read it again and repeat the change. */
  conflict: { code: "FAILED_PRECONDITION", httpStatus: 409, retryable: false },
  /** A later package of the model was installed here. To go back to this content, sign it again. */
  "package-outdated": { code: "FAILED_PRECONDITION", httpStatus: 409, retryable: false },
  /** The package was signed for use until a time that has passed. Sign it again. */
  "package-expired": { code: "FAILED_PRECONDITION", httpStatus: 422, retryable: false },
  /** This server or endpoint cannot do that. */
  unsupported: { code: "UNIMPLEMENTED", httpStatus: 501, retryable: false },
  /** A rule forbids every endpoint: data class, zone or trust. The message names the rule. */
  "policy-denied": { code: "PERMISSION_DENIED", httpStatus: 403, retryable: false },
  /** No credential, or a bad one. */
  unauthenticated: { code: "UNAUTHENTICATED", httpStatus: 401, retryable: false },
  /** The sender lacks a right. The message names it. */
  "not-permitted": { code: "PERMISSION_DENIED", httpStatus: 403, retryable: false },
  /** No endpoint can take the request now; the message lists why. `Retry-After` says when to try again. */
  "no-endpoint": { code: "FAILED_PRECONDITION", httpStatus: 503, retryable: false },
  /** The model's queue is full. */
  "queue-full": { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** The server's queue is longer than the sender's plan allows. Plan again. */
  busier: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** The server cannot finish the request in time, or a limit of it is reached. */
  rejected: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** The tenant has its share of what the server keeps; other tenants are served. */
  "tenant-limit": { code: "RESOURCE_EXHAUSTED", httpStatus: 429, retryable: true },
  /** The request waited in a queue and gave way to others. */
  evicted: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** The server is still loading or fetching its models, or servers that may take the request are not known or not reached yet. Ask again soon. */
  starting: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** The server is stopping and takes no new requests. */
  "shutting-down": { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** There is not enough memory for the model. */
  "memory-limit": { code: "RESOURCE_EXHAUSTED", httpStatus: 503, retryable: true },
  /** The disk, or the part of it that may be used, is full. The message names the data that could not be kept. */
  "disk-full": { code: "RESOURCE_EXHAUSTED", httpStatus: 507, retryable: true },
  /** The disk cannot be written: it is read-only, permission is missing, or it is broken. */
  "disk-failed": { code: "INTERNAL", httpStatus: 500, retryable: true },
  /** The deadline passed before the answer was there. */
  "deadline-exceeded": { code: "DEADLINE_EXCEEDED", httpStatus: 504, retryable: false },
  /** The caller cancelled the request. */
  cancelled: { code: "CANCELLED", httpStatus: 499, retryable: false },
  /** The server could not be reached, or the connection broke before it answered. */
  unreachable: { code: "UNAVAILABLE", httpStatus: 502, retryable: true },
  /** The server was reached and did not answer, or stopped in the middle. */
  "no-answer": { code: "UNAVAILABLE", httpStatus: 504, retryable: true },
  /** The server's answer does not fit the request. */
  "bad-reply": { code: "INTERNAL", httpStatus: 502, retryable: true },
  /** A second endpoint did not confirm the answer in time. */
  unconfirmed: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  /** The sequence never began here, ended, or was idle for too long. Begin it again. */
  "sequence-unknown": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  /** The step does not follow the last one, or was done already. */
  "sequence-step": { code: "FAILED_PRECONDITION", httpStatus: 409, retryable: false },
  /** The sequence was under way, and the server that held its state does not have it any more. Begin it again. */
  "sequence-lost": { code: "ABORTED", httpStatus: 409, retryable: false },
  /** The model's run failed. */
  "run-failed": { code: "INTERNAL", httpStatus: 500, retryable: true },
  /** The run took longer than the sandbox allows. */
  "run-deadline": { code: "DEADLINE_EXCEEDED", httpStatus: 504, retryable: true },
  /** The process or thread of the run ended. */
  "runtime-crashed": { code: "INTERNAL", httpStatus: 500, retryable: true },
  /** A bug. The server's log has the details under the call's id. */
  internal: { code: "INTERNAL", httpStatus: 500, retryable: false },
};

/** Tells whether a word from the wire is one of the closed list. */
export function isReason(word: unknown): word is Reason {
  return typeof word === "string" && Object.hasOwn(reasons, word);
}
