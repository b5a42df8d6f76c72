/** Removes a coding that the endpoint cannot decode. */
export function codecRemoves(needed: number, understood: number): boolean {
  return (needed & ~understood) !== 0;
}

/** The sentence for `lost`. */
export function codecDetail(codecs: Readonly<Record<string, string>>): string {
  return `it does not understand ${[...new Set(Object.values(codecs))].join(", ")}`;
}
