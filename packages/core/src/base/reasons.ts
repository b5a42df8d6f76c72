/** A gRPC status name. */
export type Code =
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
  | "unsupported"
  | "policy-denied"
  | "unauthenticated"
  | "not-permitted"
  | "no-place"
  | "queue-full"
  | "rejected"
  | "busier"
  | "evicted"
  | "tenant-limit"
  | "shutting-down"
  | "memory-limit"
  | "deadline-exceeded"
  | "cancelled"
  | "unreachable"
  | "no-answer"
  | "bad-reply"
  | "unconfirmed"
  | "sequence-unknown"
  | "sequence-step"
  | "run-failed"
  | "run-deadline"
  | "runtime-crashed"
  | "internal";

/** What follows from a reason. */
export interface ReasonFacts {
  readonly code: Code;
  readonly httpStatus: number;
  /** Whether the same request may succeed elsewhere or later. */
  readonly retryable: boolean;
}

/** The closed list of why something failed. One table: nothing else maps reasons. */
export const reasons: Readonly<Record<Reason, ReasonFacts>> = {
  // what the caller sent
  "invalid-input": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  "invalid-media": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  "body-mismatch": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  "body-too-large": { code: "RESOURCE_EXHAUSTED", httpStatus: 413, retryable: false },
  "unknown-model": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  "unknown-version": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  "unknown-variant": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  "unknown-cut": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  "unknown-region": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  "unknown-route": { code: "NOT_FOUND", httpStatus: 404, retryable: false },
  "wrong-method": { code: "UNIMPLEMENTED", httpStatus: 405, retryable: false },
  "deadline-past": { code: "DEADLINE_EXCEEDED", httpStatus: 504, retryable: false },
  // what the operator configured
  "invalid-model": { code: "FAILED_PRECONDITION", httpStatus: 422, retryable: false },
  "invalid-configuration": { code: "FAILED_PRECONDITION", httpStatus: 422, retryable: false },
  "port-taken": { code: "FAILED_PRECONDITION", httpStatus: 500, retryable: false },
  // somebody else was quicker
  conflict: { code: "FAILED_PRECONDITION", httpStatus: 409, retryable: false },
  unsupported: { code: "UNIMPLEMENTED", httpStatus: 501, retryable: false },
  // rules
  "policy-denied": { code: "PERMISSION_DENIED", httpStatus: 403, retryable: false },
  unauthenticated: { code: "UNAUTHENTICATED", httpStatus: 401, retryable: false },
  "not-permitted": { code: "PERMISSION_DENIED", httpStatus: 403, retryable: false },
  "no-place": { code: "FAILED_PRECONDITION", httpStatus: 503, retryable: false },
  // load and life
  "queue-full": { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  busier: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  rejected: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  // of what is kept, this tenant has its share: others are served as ever
  "tenant-limit": { code: "RESOURCE_EXHAUSTED", httpStatus: 429, retryable: true },
  evicted: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  "shutting-down": { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  "memory-limit": { code: "RESOURCE_EXHAUSTED", httpStatus: 503, retryable: true },
  "deadline-exceeded": { code: "DEADLINE_EXCEEDED", httpStatus: 504, retryable: false },
  cancelled: { code: "CANCELLED", httpStatus: 499, retryable: false },
  // other places
  unreachable: { code: "UNAVAILABLE", httpStatus: 502, retryable: true },
  "no-answer": { code: "UNAVAILABLE", httpStatus: 504, retryable: true },
  "bad-reply": { code: "INTERNAL", httpStatus: 502, retryable: true },
  unconfirmed: { code: "UNAVAILABLE", httpStatus: 503, retryable: true },
  // sequences
  "sequence-unknown": { code: "INVALID_ARGUMENT", httpStatus: 400, retryable: false },
  "sequence-step": { code: "FAILED_PRECONDITION", httpStatus: 409, retryable: false },
  // running
  "run-failed": { code: "INTERNAL", httpStatus: 500, retryable: true },
  "run-deadline": { code: "DEADLINE_EXCEEDED", httpStatus: 504, retryable: true },
  "runtime-crashed": { code: "INTERNAL", httpStatus: 500, retryable: true },
  internal: { code: "INTERNAL", httpStatus: 500, retryable: false },
};

/** Tells whether a word from the wire is one of the closed list. */
export function isReason(word: unknown): word is Reason {
  return typeof word === "string" && Object.hasOwn(reasons, word);
}
