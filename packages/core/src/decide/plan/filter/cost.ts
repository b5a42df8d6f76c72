/** Removes candidates that cost more than allowed. */
export function costRemoves(costMicros: number, most: number | undefined): boolean {
  return most !== undefined && !(costMicros <= most);
}

/** The sentence for `lost`. */
export function costDetail(most: number | undefined): string {
  return `it could cost more than ${Number((most ?? Infinity).toPrecision(6))} micros, or its price is not known`;
}
