import type { Tensors, TensorSpec } from "@longshore/core";

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
}

/** Transforms by name: what a lane can run. */
export type TransformSet = ReadonlyMap<string, Transform<unknown>>;
