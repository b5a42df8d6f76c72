import type { Datatype, Reason, TensorSpec } from "@longshore/core";
import type { PassedOver } from "@longshore/engine";

/*
 * Messages between a session here and the thread or process that holds it. A **runner** holds one session and does one thing at a time, so
 * messages carry no IDs: each is answered before the next is sent.
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
  /** Larger outputs are not sent back. */
  readonly maxOutputBytes: number;
  /** The memory of the process is capped: set by the process that runs untrusted models. */
  readonly capped?: true;
  /** Memory shared by both sides for small tensors, if threads can share memory (see shared-page). */
  readonly shared?: SharedArrayBuffer;
}

/**
 * One input: its own memory, or a part of the message's common `buffer` or of the shared page. Texts have their own memory in the form of
 * their tensor: the runner builds the strings that the runtime takes.
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
 * Requests one run. `buffer` holds the inputs without their own memory. It returns with the answer and is reused for the next run. Without
 * it, those inputs take the first `pageBytes` of the shared page.
 */
export interface RunMessage {
  readonly kind: "run";
  readonly feeds: readonly FeedMessage[];
  readonly buffer?: ArrayBuffer;
  readonly pageBytes: number;
  readonly fetches: readonly string[];
}

/**
 * Requests another run on new inputs at the same positions in the page, with the same shapes and fetches. Repeated parts are neither sent
 * again nor turned into tensors again.
 */
export interface AgainMessage {
  readonly kind: "again";
}

/** Free the session. */
interface ReleaseMessage {
  readonly kind: "release";
}

/** Any message to a runner. */
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
 * One output in the runtime's own terms: its element type, sizes, and a typed array or its position in the page. Texts come as the bytes of
 * their tensor.
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

/** A run is done, with outputs at the same positions in the page and the same types and shapes as before. */
interface SameOutputsMessage {
  readonly kind: "same-outputs";
  readonly ranMs: number;
}

/** Loading or a run failed; the runner can continue. `detail` is the runtime's own text without paths. */
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

/** Any message from a runner. */
export type FromRunner =
  | LoadedMessage
  | OutputsMessage
  | SameOutputsMessage
  | FailedMessage
  | ReleasedMessage;
