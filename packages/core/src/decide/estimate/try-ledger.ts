/**
 * Whether trying pays on this link. What a remote try is expected to cost rests on the belief and on how much the guard is
 * thought to save; both can be off on one link in the same direction for good. So each try is compared with what was
 * expected of it, and the difference is charged to the next ones, in proportion to their doubt: where the belief is sure
 * nothing changes, where tries keep losing they soon stop.
 */
export interface TryLedger {
  /** What tries cost beyond what was expected, in local runs for each unit of doubt (`doubtOf`); below 0 when they gain. */
  readonly surcharge: number;
  /** A try is over: its doubt, and what was expected and paid, in local runs with prices included. */
  note(doubt: number, expected: number, paid: number): void;
}

/** Doubt that the beginning counts for, as if so much had been tried at the expected cost. */
const prior = 3;
/** Weight that a try keeps with each further one. */
const memory = 0.98;
/** What one try can show at most: a single late answer must not end all tries. */
const limits = { least: -1, most: 2 };
/** Less doubt than this teaches nothing. */
const leastDoubt = 0.01;

/** A ledger without entries. */
export function tryLedger(): TryLedger {
  let excess = 0;
  let doubts = prior;
  return {
    get surcharge() {
      return excess / doubts;
    },
    note(doubt, expected, paid) {
      if (doubt < leastDoubt) return;
      excess = memory * excess + Math.min(limits.most, Math.max(limits.least, paid - expected));
      doubts = memory * doubts + (1 - memory) * prior + doubt;
    },
  };
}
