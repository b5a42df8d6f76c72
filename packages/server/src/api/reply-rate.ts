import type { Clock } from "@longshore/core";

/** Length of one count, in milliseconds. */
const windowMs = 1000;

/** Replies in a second, over the last full second and the running one. */
export interface ReplyRate {
  replied(): void;
  perSecond(): number;
}

/** Starts at no reply. */
export function replyRate(clock: Clock): ReplyRate {
  let startedMs = clock.nowMs();
  let before = 0;
  let now = 0;
  const turn = (): void => {
    const passedMs = clock.nowMs() - startedMs;
    if (passedMs < windowMs) return;
    before = passedMs < 2 * windowMs ? now : 0;
    now = 0;
    startedMs += Math.floor(passedMs / windowMs) * windowMs;
  };
  return {
    replied() {
      turn();
      now++;
    },
    perSecond() {
      turn();
      const intoMs = clock.nowMs() - startedMs;
      return (now + before * (1 - intoMs / windowMs)) * (1000 / windowMs);
    },
  };
}
