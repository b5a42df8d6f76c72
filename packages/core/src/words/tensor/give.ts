import type { Tensor } from "./tensor.ts";

/**
 * Hands a tensor's memory over with the call: the receiver may transfer it to a worker, after which the giver's view is empty.
 * Without `give` a call only borrows, because a guard or a retry may need the tensor again.
 *
 * With `back`, the whole buffer of the tensor is handed over, whatever else is in it, and no other code may read it. A receiver
 * that has moved it calls `back` with the memory when it is done; one that copied the tensor, or lost the memory, does not
 * call.
 */
export function give(tensor: Tensor, back: Tensor["back"] = tensor.back): Tensor {
  return back ? { ...tensor, given: true, back } : { ...tensor, given: true };
}

/** Tells whether the tensor was handed over. */
export function isGiven(tensor: Tensor): boolean {
  return tensor.given === true;
}

/** The tensor without the mark that it was given away, for a caller that passes it to several receivers. */
export function borrowed(tensor: Tensor): Tensor {
  if (!tensor.given) return tensor;
  const { given: _given, ...rest } = tensor;
  return rest;
}
