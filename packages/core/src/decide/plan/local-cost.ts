import { runMicros } from "../../wire/endpoint/index.ts";
import type { DeviceView } from "./view.ts";

/** The cost of runs on this device, in this many parts with a total of `runMs`. */
export function localMicros(
  { info, activeWatts }: Pick<DeviceView, "info" | "activeWatts">,
  runMs: number,
  parts = 1,
): number {
  if (!info) return 0;
  return (
    runMicros(info.rates, runMs, runMs * Math.max(activeWatts, info.rates.activeWatts)) +
    (parts - 1) * (info.rates.microsPerRequest ?? 0)
  );
}
