/** Removes a variant at an endpoint of a tier that may not hold it. */
export function tierRemoves(tierMask: number, tierBit: number): boolean {
  return (tierMask & tierBit) === 0;
}

/** The sentence for `lost`. */
export function tierDetail(variant: string, tier: string): string {
  return `variant ${variant} is not for the ${tier} tier`;
}
