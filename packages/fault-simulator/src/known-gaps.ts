import type { Violation } from "./check.ts";

/** A promise that is known not to hold yet, and that seeds meet too often to stop at. */
export interface KnownGap {
  readonly name: string;
  readonly check: Violation["check"];
  /** The text of its violations. */
  readonly text: RegExp;
  /** The missing feature, for people. */
  readonly why: string;
}

/** Delete an entry with the change that mends it: seeds that meet it fail from then on. */
export const knownGaps: readonly KnownGap[] = [
  {
    name: "denied because a gateway does not know its servers yet",
    check: "liveness",
    text: /failed with policy-denied \(.*gateway: it processes in/,
    why: "The offers of a gateway leave out servers that have not described the model, and do not say that some are missing.",
  },
  {
    name: "unknown because a gateway does not know its servers yet",
    check: "liveness",
    text: /failed with unknown-model \(no endpoint knows .*: neither this one nor gateway\)/,
    why: "A gateway that just started or stood still answers 404 for a model whose servers it has not heard.",
  },
];

/** The gap that a violation belongs to; undefined for what must not happen. */
export function gapOf({ check, text }: Violation): KnownGap | undefined {
  return knownGaps.find((gap) => gap.check === check && gap.text.test(text));
}
