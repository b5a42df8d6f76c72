import type { Tensor } from "./tensor.ts";

/**
 * Hands a tensor's memory over with the call: the receiver may transfer it to a worker, after which the giver's view is
 * empty. Without `give` a call only borrows, because a guard or a retry may need the tensor again.
 */
export function give(tensor: Tensor): Tensor {
  return { ...tensor, given: true };
}

/** Tells whether the tensor was handed over. */
export function isGiven(tensor: Tensor): boolean {
  return tensor.given === true;
}
