import { type Arrivals, arrivals } from "./arrivals.ts";
import { backlogValues, type DevicePrice, devicePrice, idleDevice } from "./device-price.ts";

/** What this device is asked for: when requests come, and which share of them runs here. */
export interface DeviceDemand extends Arrivals {
  /** A request is over: whether any of it ran here. */
  ended(ranHere: boolean): void;
  /** The share of requests that ran here lately. */
  readonly hereRatio: number;
  /** What runs of `runMs` keep waiting that end at some time from now. */
  price(nowMs: number, runMs: number): DevicePrice;
}

/** Requests over which the share is averaged. */
const remembered = 20;
/** The share before the first request. */
const firstRatio = 0.8;
/** Run times that differ by less share a table. */
const alikeRatio = 0.05;

/** Before any request. */
export function deviceDemand(): DeviceDemand {
  const rhythm = arrivals();
  let hereRatio = firstRatio;
  let values: { readonly runMs: number; readonly points: Float64Array } | undefined;
  return {
    gapsMs: rhythm.gapsMs,
    seen(nowMs) {
      rhythm.seen(nowMs);
      values = undefined;
    },
    untilNextMs: (nowMs) => rhythm.untilNextMs(nowMs),
    soonestMs: (nowMs) => rhythm.soonestMs(nowMs),
    probeDueMs: (nowMs) => rhythm.probeDueMs(nowMs),
    ended(ranHere) {
      hereRatio += ((ranHere ? 1 : 0) - hereRatio) / remembered;
    },
    get hereRatio() {
      return hereRatio;
    },
    price(nowMs, runMs) {
      const untilNextMs = rhythm.untilNextMs(nowMs);
      if (untilNextMs.length === 0 || !(runMs > 0)) return idleDevice;
      if (!values || Math.abs(values.runMs - runMs) > alikeRatio * runMs)
        values = { runMs, points: backlogValues(rhythm.gapsMs, runMs, hereRatio) };
      return devicePrice(untilNextMs, values.points, values.runMs, hereRatio);
    },
  };
}
