/** Removes what is not expected to end before the deadline. */
export function deadlineRemoves(latencyMs: number, remainingMs: number): boolean {
  return !(latencyMs <= remainingMs);
}

/** The sentence for `lost`. */
export function deadlineDetail(remainingMs: number): string {
  return `it would take longer than the ${Math.max(0, Math.round(remainingMs))} ms that are left`;
}
