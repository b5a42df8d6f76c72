import { type Radio, radios } from "../../decide/estimate/index.ts";

/** Charge of a battery. */
export interface Battery {
  /** 0..1. */
  readonly ratio: number;
  readonly charging: boolean;
}

/** How well a machine is. */
export interface DeviceHealth {
  /**
   * Surcharge on each millisecond of work here: 0 if the device is well, 1 if it is throttled. The higher it is, the sooner requests go
   * elsewhere.
   */
  readonly strainRatio: number;
  /** The reason, as the end of a sentence about this device, such as `it is at 91 °C`. Absent if the device is well. */
  readonly why?: string;
}

/** Facts about the machine of this endpoint. Everything has a default. Sensors are read for each decision. */
export interface DeviceParts {
  /** Default: no battery. */
  battery?(): Battery | undefined;
  /** Memory that models may take, in bytes; default: unlimited. */
  memoryBytes?(): number;
  /** Power of a run above idle, in watts; default: the local endpoint's rate, else 2 (a phone's core; an estimate). */
  readonly activeWatts?: number;
  /** Power of being on while an answer is awaited, in watts; default 0: it would be on anyway. */
  readonly idleWatts?: number;
  /** Default: the device is well. */
  health?(): DeviceHealth;
  /** Measured energy of one busy millisecond here, in millijoules; undefined, or absent: `activeWatts` is taken. */
  millijoulesPerMs?(): number | undefined;
  /** Default `wired`, which draws nothing; see `radios`. */
  readonly radio?: Radio;
  /** Runs that go on at once; default 1. */
  readonly slots?: number;
}

/** The charge for an exchange besides its bytes and its time, as in `DeviceView`. */
export interface RadioPrice {
  readonly wakeMillijoules: number;
  readonly gapMs: number;
}

/** An exchange over a radio. */
export interface RadioUse {
  /** Energy of waking the radio; see `RadioState`. */
  readonly wakeMillijoules: number;
  /**
   * Ends the exchange. Returns the radio time that no exchange has paid for yet, in milliseconds: of concurrent exchanges each pays for the
   * time since one of them ended. 0 if it had ended before.
   */
  ended(nowMs: number): number;
}

/** Whether the radio of a device is still on after the last exchange. */
export interface RadioState {
  /** Energy that an exchange adds beside its bytes: waking up, and the part of the tail that it prolongs; none beside another one. */
  wakeMillijoules(nowMs: number): number;
  /** The same as a decision should weigh it, see `radioState`. */
  price(nowMs: number): RadioPrice;
  /** A request came that might be an exchange. */
  requested(nowMs: number): void;
  /** Begins an exchange, which turns the radio on. */
  begun(nowMs: number): RadioUse;
  /** The radio was on until then. */
  used(untilMs: number): void;
}

/** Assumed wakings of the radio per exchanges, before any were counted. */
const usualSpell = { wakings: 1, exchanges: 50 };
/** Exchanges that count. */
const exchangesRemembered = 200;
/** Gaps between requests that count. */
const gapsRemembered = 30;

/**
 * Follows the radio's tail: the time for which it stays on after an exchange.
 *
 * The energy of an exchange depends on what follows it. A cellular radio stays on for ten seconds at a watt, so the first exchange costs as
 * much as a dozen that follow closely. Judged alone an exchange always loses, and a device that judges each alone never learns how cheap
 * the next ones were. So while requests arrive more often than the tail is long, a decision assumes that the next requests will go the same
 * way: each pays for the mean gap, and the cost of waking is divided among as many exchanges as shared it so far. If requests stop, one
 * tail was wasted. If the link keeps sending requests back to the device, few exchanges share a waking, and the radio is not woken for a
 * small gain.
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
    requested(nowMs) {
      const seenMs = nowMs - lastAskedMs;
      lastAskedMs = nowMs;
      if (seenMs === Infinity) return;
      gaps = Math.min(gapsRemembered, gaps + 1);
      if (gaps === 1) {
        gapMs = seenMs;
        // One gap does not predict the next: assume the spread of independent requests.
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
