/**
 * The features of an input that set its cost. Missing figures are unknown yet (items, before detection ran).
 */
export interface Features {
  /** Bytes of the input as the app holds them. */
  readonly bytes: number;
  /** Pixels of an image, samples of a sound, characters of a text; 0 where it does not apply. */
  readonly size?: number;
  /** Elements that a fan-out runs for, such as boxes found. */
  readonly items?: number;
}

/** Tells whether `features` fall into the bucket that reaches up to `upTo`; unknown figures fit. */
export function featuresWithin(features: Features, upTo: Features): boolean {
  return (
    features.bytes <= upTo.bytes &&
    (features.size === undefined || upTo.size === undefined || features.size <= upTo.size) &&
    (features.items === undefined || upTo.items === undefined || features.items <= upTo.items)
  );
}
