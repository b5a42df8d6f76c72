/** Removes what draws more from this device than allowed. */
export function energyRemoves(deviceMillijoules: number, most: number | undefined): boolean {
  return most !== undefined && !(deviceMillijoules <= most);
}

/** The sentence for `lost`. */
export function energyDetail(most: number | undefined): string {
  return `it would draw more than ${most ?? Infinity} mJ from this device`;
}
