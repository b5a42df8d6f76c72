import { type Radio, radios } from "../plan/index.ts";

/** Charge of a battery. */
export interface Battery {
  /** 0..1. */
  readonly ratio: number;
  readonly charging: boolean;
}

/** What is known of the machine that this place runs on. Everything has a default; sensors are read for each decision. */
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

/** The radio of a device over time: whether it is still up from the last exchange. */
export interface RadioState {
  /** Energy that an exchange adds beside its bytes: waking up, and the part of the tail that it prolongs. */
  wakeMillijoules(nowMs: number): number;
  used(nowMs: number): void;
}

/** Follows the tail of a radio. */
export function radioState(radio: Radio = radios.wired): RadioState {
  let lastMs = -Infinity;
  return {
    wakeMillijoules(nowMs) {
      const sinceMs = nowMs - lastMs;
      const asleep = sinceMs >= radio.tailMs;
      const prolongedMs = Math.min(radio.tailMs, Math.max(0, sinceMs));
      return (asleep ? radio.promotionMillijoules : 0) + prolongedMs * radio.tailWatts;
    },
    used(nowMs) {
      lastMs = Math.max(lastMs, nowMs);
    },
  };
}
