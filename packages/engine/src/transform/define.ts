import type { Transform } from "./transform.ts";

/** Writes a transform down with the type of its parameters known inside it and hidden outside. */
export function defineTransform<P>(definition: Transform<P>): Transform<unknown> {
  // Parameters reach `specs` and `run` only through the transform's own `parse`, which is why the type may be forgotten.
  return definition;
}
