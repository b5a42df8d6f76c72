import { type Arrivals, arrivals } from "./arrivals.ts";
import { backlogValues, type DevicePrice, devicePrice, idleDevice } from "./device-price.ts";

/** Demand on this device: when requests arrive, and the share of them that runs here. */
export interface DeviceDemand extends Arrivals {
  /** Records the end of a request, and whether any part of it ran here. */
  ended(ranHere: boolean): void;
  /** Share of recent requests that ran here. */
  readonly hereRatio: number;
  /** When the latest request would be answered if all ran here; 0 before the first price. */
  readonly allHereMs: number;
  /** The longest time from arrival to answer among the latest requests if all ran here, in milliseconds. */
  readonly longestHereMs: number;
  /** Price of keeping the device busy with runs of `runMs`: the waiting they cause until a given end. */
  price(nowMs: number, runMs: number): DevicePrice;
}

/** Number of requests over which the share is averaged. */
const remembered = 20;
/** Number of requests among which the longest time is taken: as many as gaps are remembered. */
const timesRemembered = 32;
/** Share before the first request. */
const firstRatio = 0.8;
/** Run times that differ by less than this share use the same table. */
const alikeRatio = 0.05;

/** Starts without any request. */
export function deviceDemand(): DeviceDemand {
  const rhythm = arrivals();
  let hereRatio = firstRatio;
  let allHereMs = 0;
  let lastRunMs = 0;
  const hereMs: number[] = [];
  let values: { readonly runMs: number; readonly points: Float64Array } | undefined;
  return {
    ...rhythm,
    seen(nowMs) {
      rhythm.seen(nowMs);
      values = undefined;
      allHereMs = Math.max(allHereMs, nowMs) + lastRunMs;
      hereMs.push(allHereMs - nowMs);
      if (hereMs.length > timesRemembered) hereMs.shift();
    },
    ended(ranHere) {
      hereRatio += ((ranHere ? 1 : 0) - hereRatio) / remembered;
    },
    get hereRatio() {
      return hereRatio;
    },
    get allHereMs() {
      return allHereMs;
    },
    get longestHereMs() {
      return hereMs.reduce((longest, one) => Math.max(longest, one), 0);
    },
    price(nowMs, runMs) {
      if (runMs > 0) lastRunMs = runMs;
      const untilNextMs = rhythm.untilNextMs(nowMs);
      if (untilNextMs.length === 0 || !(runMs > 0)) return idleDevice;
      if (!values || Math.abs(values.runMs - runMs) > alikeRatio * runMs)
        values = { runMs, points: backlogValues(rhythm.gapsMs, runMs, hereRatio) };
      return devicePrice(untilNextMs, values.points, values.runMs, hereRatio);
    },
  };
}
