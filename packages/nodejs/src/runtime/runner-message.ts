import type { Datatype, Reason, TensorSpec } from "@longshore/core";

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
  /** More bytes of outputs than this are not sent back. */
  readonly maxOutputBytes: number;
  /** Int32 that is 1 while native code runs; set here, cleared there (see exit-guard). */
  readonly busy?: SharedArrayBuffer;
}

/** One input: text elements, memory of its own, or a part of the message's common `buffer`. */
export interface FeedMessage {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly texts?: readonly string[];
  readonly buffer?: ArrayBuffer;
  readonly offset: number;
  readonly byteLength: number;
}

/** Run once. `buffer` comes back with the answer, to be used again for the next run. */
export interface RunMessage {
  readonly kind: "run";
  readonly feeds: readonly FeedMessage[];
  readonly buffer: ArrayBuffer;
  readonly fetches: readonly string[];
}

/** Free the session. */
export interface ReleaseMessage {
  readonly kind: "release";
}

/** Anything said to a runner. */
export type ToRunner = LoadMessage | RunMessage | ReleaseMessage;

/** A provider that was tried before the one in use, and why it was not taken. */
export interface PassedOver {
  readonly provider: string;
  readonly detail: string;
}

/** The file is loaded. */
export interface LoadedMessage {
  readonly kind: "loaded";
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly provider: string;
  readonly passedOver: readonly PassedOver[];
}

/** One output in the runtime's own terms: its element type, sizes, and a typed array or text. */
export interface OutputMessage {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView | readonly string[];
}

/** A run is done. */
export interface OutputsMessage {
  readonly kind: "outputs";
  readonly outputs: readonly OutputMessage[];
  readonly buffer: ArrayBuffer;
}

/** Loading or a run failed; the runner can go on. `detail` is the runtime's own text without paths. */
export interface FailedMessage {
  readonly kind: "failed";
  readonly reason: Reason;
  readonly detail: string;
  readonly buffer?: ArrayBuffer;
}

/** The session is freed. */
export interface ReleasedMessage {
  readonly kind: "released";
}

/** Anything a runner says. */
export type FromRunner = LoadedMessage | OutputsMessage | FailedMessage | ReleasedMessage;
