import type { Clock } from "@longshore/core";

/** Lets everything else that is due go first: what is long is done in steps with this between them. */
export function othersTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => void clock.timer(0, resolve));
}
