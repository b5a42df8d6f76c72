import type { Victim } from "./faults.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Shares of the victims in the requests of the next `forMs` milliseconds: whether a fault of one is met at all. */
export async function sharesOf(victims: readonly Victim[], forMs: number): Promise<readonly number[]> {
  const before = victims.map((one) => one.before.asked);
  await pause(forMs);
  const asked = victims.map((one, index) => one.before.asked - (before[index] ?? 0));
  const all = asked.reduce((total, count) => total + count, 0);
  return asked.map((count) => (all > 0 ? count / all : 0));
}
