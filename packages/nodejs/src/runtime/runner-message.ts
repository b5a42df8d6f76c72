import type { Datatype, Reason, TensorSpec } from "@longshore/core";
import type { PassedOver } from "@longshore/engine";

/*
 * What is said between a session here and the thread or process that holds it. A **runner** holds one session and does
 * one thing at a time, so messages carry no ids: each is answered before the next is sent.
 */

/** Which build of ONNX Runtime a runner uses. */
export type Backend = "native" | "wasm";

/** First message: load this file. */
export interface LoadMessage {
  readonly kind: "load";
  readonly backend: Backend;
  readonly bytes: Uint8Array;
  readonly providers: readonly string[];
  readonly threads: number;
  readonly fusions: boolean;
  /** More bytes of outputs than this are not sent back. */
  readonly maxOutputBytes: number;
  /** The memory of the process is capped: set by the process that runs untrusted models. */
  readonly capped?: true;
  /** Memory that both sides have for small tensors, where threads can share memory (see shared-page). */
  readonly shared?: SharedArrayBuffer;
}

/**
 * One input: memory of its own, or a part of the message's common `buffer` or of the shared page. Texts have memory of their
 * own, as their tensor has it: the runner makes the strings that the runtime takes.
 */
export interface FeedMessage {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly buffer?: ArrayBuffer;
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * Run once. `buffer` holds the inputs that have no memory of their own and comes back with the answer, to be used again
 * for the next run. Without it they take the first `pageBytes` of the shared page.
 */
export interface RunMessage {
  readonly kind: "run";
  readonly feeds: readonly FeedMessage[];
  readonly buffer?: ArrayBuffer;
  readonly pageBytes: number;
  readonly fetches: readonly string[];
}

/**
 * Run once more, on the inputs that now lie in the page where those of the run before lay, with the same shapes and
 * fetches: what is repeated need not be said, nor made into tensors again.
 */
export interface AgainMessage {
  readonly kind: "again";
}

/** Free the session. */
interface ReleaseMessage {
  readonly kind: "release";
}

/** Anything said to a runner. */
export type ToRunner = LoadMessage | RunMessage | AgainMessage | ReleaseMessage;

/** The file is loaded. */
export interface LoadedMessage {
  readonly kind: "loaded";
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly provider: string;
  readonly passedOver: readonly PassedOver[];
  /** Version of the runtime. */
  readonly runtimeVersion: string;
}

/** A part of the shared page. */
interface PagePart {
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * One output in the runtime's own terms: its element type, sizes, and a typed array or its place in the page. Texts come as
 * the bytes of their tensor.
 */
export interface OutputMessage {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView | PagePart;
}

/** A run is done. */
interface OutputsMessage {
  readonly kind: "outputs";
  /** Time inside the runtime, in milliseconds. */
  readonly ranMs: number;
  readonly outputs: readonly OutputMessage[];
  readonly buffer?: ArrayBuffer;
}

/** A run is done, and its outputs lie in the page where those of the run before lay, with the same types and shapes. */
interface SameOutputsMessage {
  readonly kind: "same-outputs";
  readonly ranMs: number;
}

/** Loading or a run failed; the runner can go on. `detail` is the runtime's own text without paths. */
interface FailedMessage {
  readonly kind: "failed";
  readonly reason: Reason;
  readonly detail: string;
  readonly buffer?: ArrayBuffer;
}

/** The session is freed. */
interface ReleasedMessage {
  readonly kind: "released";
}

/** Anything a runner says. */
export type FromRunner =
  | LoadedMessage
  | OutputsMessage
  | SameOutputsMessage
  | FailedMessage
  | ReleasedMessage;
