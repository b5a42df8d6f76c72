import type { Violation } from "./check.ts";

/** A promise that is known not to hold yet, and that seeds meet too often to stop at. */
export interface KnownGap {
  readonly name: string;
  readonly check: Violation["check"];
  /** What its violations say. */
  readonly text: RegExp;
  /** What is missing, for people. */
  readonly why: string;
}

/** Delete an entry with the change that mends it: seeds that meet it fail from then on. */
export const knownGaps: readonly KnownGap[] = [
  {
    name: "starting server says 404",
    check: "liveness",
    text: /failed with unknown-(?:model|version)|is not here, and no other endpoint answers/,
    why: "A server that is still fetching its models says that it does not have them, not that it will.",
  },
  {
    name: "denied while the permitted server is away",
    check: "liveness",
    text: /failed with policy-denied/,
    why: "Where the only server that rules allow is not known yet, or away, the request fails with policy-denied (403), as if no server could ever take it.",
  },
];

/** The gap that a violation belongs to; undefined for what must not happen. */
export function gapOf({ check, text }: Violation): KnownGap | undefined {
  return knownGaps.find((gap) => gap.check === check && gap.text.test(text));
}
