import type { Clock, Tensors, TensorSpec } from "@longshore/core";

/** The clock and limits for a transform that gives several answers. */
export interface AnswerSurroundings {
  readonly clock: Clock;
  /** Ends with the request: stop waiting. */
  readonly abort: AbortSignal;
}

/**
 * A step that is code of ours and not a network: decode, resize, crop, decode text. Pure TypeScript where pixels and
 * samples allow, so that the same bytes give the same answer everywhere.
 */
export interface Transform<P> {
  readonly name: string;
  /** Ports that it takes and gives, in order. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Checks parameters; throws `invalid-configuration` naming the parameter, its value and the allowed range. */
  parse(parameters: unknown): P;
  /** Datatypes and shapes of the outputs for given inputs, -1 where they depend on content. */
  specs(inputs: ReadonlyMap<string, TensorSpec>, parameters: P): readonly TensorSpec[];
  /** Inputs are read-only. Throws `invalid-input` or `invalid-media`. */
  run(inputs: Tensors, parameters: P): Tensors | Promise<Tensors>;
  /**
   * Gives several answers to one request, instead of `run`: the following steps of a pipeline run once for each. The next
   * answer is requested when the one before is through. It runs where requests are served and not in a lane, so it waits but
   * does not compute. Answers have memory of their own.
   */
  answers?(inputs: Tensors, parameters: P, surroundings: AnswerSurroundings): AsyncIterable<Tensors>;
}

/** The transforms that a lane can run, by name. */
export type TransformSet = ReadonlyMap<string, Transform<unknown>>;
