/** Removes what needs more memory here than there is. */
export function memoryRemoves(neededBytes: number, freeBytes: number): boolean {
  return neededBytes > freeBytes;
}

/** The sentence for `lost`. */
export function memoryDetail(freeBytes: number): string {
  return `the part that runs here needs more than the ${Math.floor(freeBytes / 1e6)} MB that a model may take here`;
}
