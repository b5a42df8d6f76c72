import { type Radio, radios } from "../../decide/estimate/index.ts";

/** Charge of a battery. */
export interface Battery {
  /** 0..1. */
  readonly ratio: number;
  readonly charging: boolean;
}

/** What is known of the machine that this endpoint runs on. Everything has a default; sensors are read for each decision. */
export interface DeviceParts {
  /** Default: no battery. */
  battery?(): Battery | undefined;
  /** Memory that models may take, in bytes; default: unlimited. */
  memoryBytes?(): number;
  /** Power of a run above idle, in watts; default: the local endpoint's rate, else 2 (a phone's core; an estimate). */
  readonly activeWatts?: number;
  /** Power of being on while an answer is awaited, in watts; default 0: it would be on anyway. */
  readonly idleWatts?: number;
  /** Default `wired`, which draws nothing; see `radios`. */
  readonly radio?: Radio;
  /** Runs that go on at once; default 1. */
  readonly slots?: number;
}

/** What a decision charges an exchange with beside its bytes and its time, as `DeviceView` has it. */
export interface RadioPrice {
  readonly wakeMillijoules: number;
  readonly gapMs: number;
}

/** An exchange over a radio. */
export interface RadioUse {
  /** What it adds beside its bytes and its time, see `RadioState`. */
  readonly wakeMillijoules: number;
  /**
   * It is over. How long the radio was up that no exchange has paid for yet, in milliseconds: of those at the same time each
   * pays for what has passed since one of them ended. 0 where it was over before.
   */
  ended(nowMs: number): number;
}

/** The radio of a device over time: whether it is still up from the last exchange. */
export interface RadioState {
  /** Energy that an exchange adds beside its bytes: waking up, and the part of the tail that it prolongs; none beside another one. */
  wakeMillijoules(nowMs: number): number;
  /** The same as a decision should weigh it, see `radioState`. */
  price(nowMs: number): RadioPrice;
  /** A request came that might be an exchange. */
  asked(nowMs: number): void;
  /** An exchange begins, and the radio is up. */
  begun(nowMs: number): RadioUse;
  /** It was up until then. */
  used(untilMs: number): void;
}

/** How often a radio is woken among so many exchanges, before it was. */
const usualSpell = { wakings: 1, exchanges: 50 };
/** Exchanges that count. */
const exchangesRemembered = 200;
/** Gaps between requests that count. */
const gapsRemembered = 30;

/**
 * Follows the tail of a radio.
 *
 * What an exchange adds depends on what comes after it: a cellular radio stays up for ten seconds at a watt, so the first
 * exchange costs as much as a dozen that follow closely. Weighed by itself it always loses, and a device whose every
 * exchange is weighed so never learns how cheap the next ones were. So while requests come more often than the tail is long, a
 * decision assumes that the next ones will go the same way: each pays the radio for the mean gap, and what waking costs on
 * top is shared among as many as have shared it so far. If they stop coming, one tail was spent in vain; where the link
 * drives requests home again and again, few share a waking, and it is not woken for a small gain.
 */
export function radioState(radio: Radio = radios.wired): RadioState {
  /** Until then it was up and paid for; while exchanges are `underWay`, the next that ends pays for the rest. */
  let lastMs = -Infinity;
  let underWay = 0;
  let lastAskedMs = -Infinity;
  let gapMs = Infinity;
  let gaps = 0;
  /** Variance of the gaps, in square milliseconds. */
  let spread = 0;
  let { wakings, exchanges } = usualSpell;
  const isAsleep = (nowMs: number): boolean => underWay === 0 && nowMs - lastMs >= radio.tailMs;
  const wakeMillijoules = (nowMs: number): number => {
    if (underWay > 0) return 0;
    const prolongedMs = Math.min(radio.tailMs, Math.max(0, nowMs - lastMs));
    return (isAsleep(nowMs) ? radio.promotionMillijoules : 0) + prolongedMs * radio.tailWatts;
  };
  const used = (untilMs: number): void => {
    lastMs = Math.max(lastMs, untilMs);
  };
  return {
    wakeMillijoules,
    price(nowMs) {
      const wake = wakeMillijoules(nowMs);
      // Waking is a bet on a mean of few gaps, so it is made with two deviations of that mean to spare.
      const likelyMs = isAsleep(nowMs) ? gapMs + 2 * Math.sqrt(spread / gaps) : gapMs;
      if (!(likelyMs < radio.tailMs)) return { wakeMillijoules: wake, gapMs: 0 };
      const steady = likelyMs * radio.tailWatts;
      return { wakeMillijoules: (Math.max(0, wake - steady) * wakings) / exchanges, gapMs: likelyMs };
    },
    asked(nowMs) {
      const seenMs = nowMs - lastAskedMs;
      lastAskedMs = nowMs;
      if (seenMs === Infinity) return;
      gaps = Math.min(gapsRemembered, gaps + 1);
      if (gaps === 1) {
        gapMs = seenMs;
        // One gap tells nothing of the next: as wide as independent requests would be.
        spread = seenMs ** 2;
        return;
      }
      const off = seenMs - gapMs;
      gapMs += off / gaps;
      spread += (off ** 2 - spread) / gaps;
    },
    begun(nowMs) {
      const kept = 1 - 1 / exchangesRemembered;
      wakings = kept * wakings + (isAsleep(nowMs) ? 1 : 0);
      exchanges = kept * exchanges + 1;
      const due = wakeMillijoules(nowMs);
      if (underWay++ === 0) used(nowMs);
      let over = false;
      return {
        wakeMillijoules: due,
        ended(atMs) {
          if (over) return 0;
          over = true;
          underWay--;
          const unpaidMs = Math.max(0, atMs - lastMs);
          used(atMs);
          return unpaidMs;
        },
      };
    },
    used,
  };
}
