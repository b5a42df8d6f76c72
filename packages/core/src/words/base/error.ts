import { type Code, type Reason, reasons } from "./reasons.ts";

/** Where on the path of a request it failed. */
export type Stage =
  | "resolve"
  | "plan"
  | "encode"
  | "transport"
  | "identify"
  | "admission"
  | "queue"
  | "execute"
  | "decode";

const brandName = "LongshoreError";

/**
 * The one error class. `code` and `retryable` follow from `reason` through the table in `reasons.ts`. If the error says when to
 * retry, it is retryable: the same request may succeed later, whatever the reason says in general. The message says what was
 * attempted, with which values and limits, and what the reader can do; never tensor content, credentials, paths of the machine,
 * or stacks.
 *
 * @example
 * ```ts
 * import { LongshoreError, openOffloader } from "longshore";
 *
 * const offloader = await openOffloader({ repository: "models" });
 * try {
 *   await offloader.infer("duble", { x: new Float32Array(2) });
 * } catch (error) {
 *   if (LongshoreError.is(error)) console.log(error.reason, error.retryable); // unknown-model false
 * }
 * await offloader.close();
 * ```
 */
export class LongshoreError extends Error {
  readonly reason: Reason;
  readonly stage: Stage;
  /** How long to wait before trying again, in milliseconds, when the refusing side said so. */
  readonly retryAfterMs: number | undefined;
  /** The endpoint that failed, if it is not the one that was called. */
  readonly endpoint: string | undefined;

  constructor(
    reason: Reason,
    stage: Stage,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number; readonly endpoint?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = brandName;
    this.reason = reason;
    this.stage = stage;
    this.retryAfterMs = options.retryAfterMs;
    this.endpoint = options.endpoint;
  }

  /** A precondition that time restores is `UNAVAILABLE`: clients of gRPC do not retry `FAILED_PRECONDITION`. */
  get code(): Code {
    const { code } = reasons[this.reason];
    return code === "FAILED_PRECONDITION" && this.retryAfterMs !== undefined ? "UNAVAILABLE" : code;
  }

  get retryable(): boolean {
    return this.retryAfterMs !== undefined || reasons[this.reason].retryable;
  }

  /** Survives two installed copies of this package, unlike `instanceof` on the class itself. */
  static is(value: unknown): value is LongshoreError {
    return value instanceof Error && value.name === brandName && "reason" in value;
  }

  /** Wraps anything thrown; a LongshoreError passes through unchanged. */
  static from(thrown: unknown, stage: Stage, attempted: string): LongshoreError {
    if (LongshoreError.is(thrown)) return thrown;
    const detail = thrown instanceof Error ? thrown.message : String(thrown);
    return new LongshoreError("internal", stage, `${attempted} failed: ${detail}`, { cause: thrown });
  }
}

/** The error that the abort of a call means: the caller's own error, or `cancelled`. */
export function abortError(abort: AbortSignal, stage: Stage): LongshoreError {
  if (LongshoreError.is(abort.reason)) return abort.reason;
  return new LongshoreError("cancelled", stage, "the caller cancelled the request", { cause: abort.reason });
}

/** A failure after the deadline, as its caller sees it. */
export function deadlinePassed(error: LongshoreError): LongshoreError {
  if (error.reason === "deadline-exceeded") return error;
  const what = `the deadline passed; ${error.message}`;
  return new LongshoreError("deadline-exceeded", "execute", what, { cause: error });
}
