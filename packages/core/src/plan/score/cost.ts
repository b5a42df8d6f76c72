/** Money, in millionths of the currency unit; a second later weighs as much as a thousandth of a millionth more. */
export function costScore(costMicros: number, latencyMs: number): number {
  return costMicros + latencyMs * 1e-6;
}
