import type { Call } from "../base/index.ts";
import { type Tensor, totalBytes } from "../tensor/index.ts";
import type { Held } from "./job.ts";

/** A crossing with what is still on its way read. */
export async function arrived(
  held: Held,
  arriving: NonNullable<Held["arriving"]>,
  call: Call,
): Promise<Held> {
  const tensors = new Map<string, Tensor>();
  for (const [name, input] of arriving) {
    tensors.set(name, "read" in input ? await input.read(call) : input);
  }
  const { arriving: _arriving, ...rest } = held;
  return { ...rest, tensors, bytes: totalBytes(tensors) };
}
