import type { Violation } from "./check.ts";
import type { Fault } from "./plan.ts";

/** Tells whether a run under these faults breaks the same promise. */
export type StillBreaks = (faults: readonly Fault[]) => Promise<boolean>;

/**
 * The fewest faults that still break something, by leaving out ever smaller pieces (delta debugging: Zeller, Hildebrandt:
 * Simplifying and Isolating Failure-Inducing Input, 2002). Then the times of those that are left are made shorter, as far as that goes.
 */
export async function shrink(faults: readonly Fault[], breaks: StillBreaks): Promise<readonly Fault[]> {
  let left = faults;
  if (left.length > 0 && (await breaks([]))) return [];
  let pieces = 2;
  while (left.length > 1) {
    const size = Math.ceil(left.length / pieces);
    let smaller: readonly Fault[] | undefined;
    for (let from = 0; from < left.length; from += size) {
      const without = [...left.slice(0, from), ...left.slice(from + size)];
      if (await breaks(without)) {
        smaller = without;
        break;
      }
    }
    if (smaller) {
      left = smaller;
      pieces = Math.max(2, pieces - 1);
    } else if (size === 1) {
      break;
    } else {
      pieces = Math.min(left.length, 2 * pieces);
    }
  }
  return await shorter(left, breaks);
}

/** Halves the time of each fault while that still breaks something. */
async function shorter(faults: readonly Fault[], breaks: StillBreaks): Promise<readonly Fault[]> {
  let left = faults;
  for (let at = 0; at < left.length; at++) {
    for (let tries = 0; tries < 6; tries++) {
      const halved = left.map((fault, index) =>
        index === at ? { ...fault, forMs: Math.floor(fault.forMs / 2) } : fault,
      );
      if (left[at]?.forMs === 0 || !(await breaks(halved))) break;
      left = halved;
    }
  }
  return left;
}

/** Whether two runs break the same promise: the checker and, where it names one, the request. */
export function samePromise(one: readonly Violation[], other: readonly Violation[]): boolean {
  const [first] = one;
  return first !== undefined && other.some(({ check }) => check === first.check);
}
