import type { Cut, Reason, Stage } from "@longshore/core";
import type { ModelSignature } from "@longshore/engine";

/** The requests to the thread that reads and cuts model files. */
export type GraphQuestion =
  | { readonly ask: "inspect" | "cuts" }
  | { readonly ask: "extract"; readonly from: string; readonly to: string }
  /** Make a model whole with the files beside it; without them, name these. */
  | { readonly ask: "whole"; readonly beside?: ReadonlyMap<string, Uint8Array> };

/**
 * A question about a file; the next one comes when it has been answered. `bytes` go along where the thread has said that it does
 * not have them, and belong to it.
 */
export interface GraphRequest {
  readonly digest: string;
  readonly byteLength: number;
  readonly bytes?: Uint8Array;
  readonly question: GraphQuestion;
}

/** The results of such a request. */
export type GraphAnswer =
  | { readonly kind: "signature"; readonly signature: ModelSignature }
  | { readonly kind: "cuts"; readonly cuts: readonly Cut[] }
  /** A file of its own, which belongs to the requester. */
  | { readonly kind: "file"; readonly digest: string; readonly bytes: Uint8Array }
  /** The file of the request is the answer; with its bytes if they came with the request. */
  | { readonly kind: "same"; readonly bytes?: Uint8Array }
  /** Files beside the model that it cannot be made whole without, and its bytes. */
  | { readonly kind: "beside"; readonly files: readonly string[]; readonly bytes: Uint8Array }
  /** The thread does not have the file: send the request again, with its bytes. */
  | { readonly kind: "unknown" }
  | { readonly kind: "failed"; readonly reason: Reason; readonly stage: Stage; readonly message: string };

/** Sent instead of a request: end. */
export const endMessage = "end";
