import type { Call, Json, Tensors } from "@longshore/core";

/** One link of a chain of transforms that run in a lane without coming back between them. */
export interface ChainStep {
  readonly id: string;
  readonly transform: string;
  readonly parameters: Json;
  /** Port to value name. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly forEach?: string;
}

/** The outputs of a chain and how long each step took. */
export interface ChainResult {
  readonly values: Tensors;
  readonly tookMs: readonly number[];
}

/** Runs transforms off the event loop: one hop for a chain of steps. */
export interface Lane {
  /**
   * Values are named as in the pipeline (`<step>.<output>`). `keep` lists those that come back. Inputs are borrowed unless
   * given. A pipeline passes the same step objects on every run, so a lane may remember what it parsed or sent of them.
   */
  run(
    chain: readonly ChainStep[],
    values: Tensors,
    keep: readonly string[],
    call: Call,
  ): Promise<ChainResult>;
  /** Called after a model with transforms has been read: starts early what takes time to start. */
  prepare?(): void;
  close(): Promise<void>;
}
