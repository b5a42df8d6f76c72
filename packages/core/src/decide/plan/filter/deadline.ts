/** Removes candidates that are not expected to end before the deadline. */
export function deadlineRemoves(latencyMs: number, remainingMs: number): boolean {
  return !(latencyMs <= remainingMs);
}

/** The sentence for `lost`; `ratio` is the required share of met deadlines, if one is set. */
export function deadlineDetail(remainingMs: number, ratio?: number): string {
  const often = ratio === undefined ? "" : ` more often than in ${percent(1 - ratio)} of all cases`;
  return `it would take longer than the ${Math.max(0, Math.round(remainingMs))} ms that are left${often}`;
}

/** A share in per cent: `97.5 %`. */
export function percent(ratio: number): string {
  return `${Number((100 * ratio).toFixed(1))} %`;
}
