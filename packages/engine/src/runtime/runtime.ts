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
  /** Execution providers to try, in this order. Default: those of the runtime. */
  readonly providers?: readonly string[];
}

/** An execution provider that was tried before the one in use, and why it was not taken. */
export interface PassedOver {
  readonly provider: string;
  readonly detail: string;
}

/** Turns artifacts into sessions. Provider lists never fall back by themselves: choosing among runtimes is our loop. */
export interface Runtime {
  readonly name: string;
  /** Execution providers that it tries for a model, in this order. Absent: there is one, which computes on the processor. */
  readonly providers?: readonly string[];
  /** Every provider that it may have on some machine. A name outside this list is a mistake. Absent: it does not tell. */
  readonly known?: readonly string[];
  /**
   * Why a provider is not faster than the processor on this machine, such as "its adapter is software". Such a provider is tried
   * after the processor, unless the model asks for a GPU. Undefined, or absent: nothing is known against it.
   */
  readonly slowHere?: (provider: string) => string | undefined;
  /**
   * The same runtime in a process of its own. A model is loaded there first with each provider other than the processor, because a
   * driver that crashes takes its process along. Absent: it is loaded here at once.
   */
  readonly trial?: Runtime;
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
  /** The execution provider that runs it, such as `cpu` or `webgpu`. Absent where the runtime does not tell. */
  readonly provider?: string;
  /** Providers that the runtime tried before. Absent: none. */
  readonly passedOver?: readonly PassedOver[];
  /**
   * Feeds are borrowed (copied) unless given. Outputs belong to the caller. Inputs are checked against the declared
   * datatype and shape before the runtime sees them: `invalid-input`. With no `fetches`, all outputs.
   */
  run(feeds: Tensors, fetches: readonly string[], call: Call): Promise<Tensors>;
  /**
   * How long the run that ended last took where it ran, in milliseconds, without the way there and back. Absent if it was not
   * measured.
   */
  readonly ranMs?: number | undefined;
  /** Whether the last request reached the runtime, and was not given up while its inputs were copied. Absent: it did. */
  readonly begun?: boolean;
  /** Resolves when no run is under way. */
  idle(): Promise<void>;
  /** Idempotent; waits for a run under way. */
  release(): Promise<void>;
}
