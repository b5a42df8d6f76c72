import { pureTransforms, type TransformSet } from "@longshore/engine";
import { mediaTransforms } from "@longshore/nodejs";

/** Every transform of this platform, by name. */
export function platformTransforms(): TransformSet {
  return new Map([...pureTransforms(), ...mediaTransforms()].map((transform) => [transform.name, transform]));
}
