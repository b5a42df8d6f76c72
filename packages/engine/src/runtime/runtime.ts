import type { Call, Digest, Tensors, TensorSpec } from "@longshore/core";

/** A model file ready to load: bytes that are one complete ONNX graph. */
export interface Artifact {
  /** Digest of these bytes; equal digests may share a loaded instance. */
  readonly digest: Digest;
  /**
   * Read when an instance is loaded; may be called several times (one worker each). The caller owns the bytes, and may move
   * them to another thread.
   */
  bytes(call: Call): Promise<Uint8Array>;
  /** Declared bytes, for memory budgets, before reading. */
  readonly byteLength: number;
}

export interface LoadOptions {
  /** Threads inside one run. More threads than free cores is slower. Default 1. */
  readonly threads?: number;
  /**
   * Whether the runtime may join operators, which is quicker and rounds otherwise than they do one after another. Default true.
   */
  readonly fusions?: boolean;
}

/** Turns artifacts into sessions. Provider lists never fall back by themselves: choosing among runtimes is our loop. */
export interface Runtime {
  readonly name: string;
  /** Throws `invalid-model` for what is not a loadable graph, `memory-limit` where a cap refuses it. */
  load(artifact: Artifact, options: LoadOptions, call: Call): Promise<InferenceSession>;
  close(): Promise<void>;
}

/**
 * One loaded instance. Runs are not concurrent: a second `run` waits for the first. A run cannot be cancelled; when the
 * call ends early the promise rejects at once, the result is dropped, and the instance stays busy until the run ends
 * (`idle` tells).
 */
export interface InferenceSession {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** The runtime with its version and provider, as in `native 1.23.0 cpu`. Absent: facts measured on it are not kept. */
  readonly build?: string;
  /**
   * Feeds are borrowed (copied) unless given. Outputs belong to the caller. Inputs are checked against the declared
   * datatype and shape before the runtime sees them: `invalid-input`. With no `fetches`, all outputs.
   */
  run(feeds: Tensors, fetches: readonly string[], call: Call): Promise<Tensors>;
  /**
   * What the run that ended last took where it ran, in milliseconds, without the way there and back. Absent where nobody
   * measures it.
   */
  readonly ranMs?: number | undefined;
  /** Whether what was asked for last reached the runtime, and was not given up while its inputs were copied. Absent: it did. */
  readonly begun?: boolean;
  /** Resolves when no run is under way. */
  idle(): Promise<void>;
  /** Idempotent; waits for a run under way. */
  release(): Promise<void>;
}
