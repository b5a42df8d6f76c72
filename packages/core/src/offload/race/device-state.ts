import type { Clock } from "../../words/base/index.ts";
import {
  type DeviceDemand,
  deviceDemand,
  drawsNothing,
  idleDevice,
  radios,
  strained,
} from "../../decide/estimate/index.ts";
import type { DeviceView } from "../../decide/plan/index.ts";
import {
  type EndpointStates,
  type LocalWork,
  localWork,
  radioState,
  type RadioState,
  type Warmth,
  warmth,
} from "../endpoints/index.ts";
import type { EndpointId } from "../../words/base/index.ts";
import type { OffloadParts } from "./parts.ts";

/** The beliefs about this device. */
export interface DeviceState {
  readonly work: LocalWork;
  /** Which parts are present, and loaded where. A request that can avoid a load does not wait for it. */
  readonly warmth: Warmth;
  /** When requests come to this offloader, and which of them run here. */
  readonly arrivals: DeviceDemand;
  /** Undefined if the radio draws nothing, as a wire does. */
  readonly radio: RadioState | undefined;
  readonly activeWatts: number;
  /** How much heat and battery add to the price of a run here. */
  strainRatio(): number;
  /** The device as decisions read it. */
  view(nowMs: number): DeviceView;
}

/** Starts to follow this device. */
export function followDevice(
  parts: OffloadParts,
  clock: Clock,
  endpoints: Pick<EndpointStates, "all">,
  self: EndpointId,
): DeviceState {
  const { device = {}, local } = parts;
  const work = localWork(device.slots ?? 1, clock);
  const radioRates = device.radio ?? radios.wired;
  const radio = drawsNothing(radioRates) ? undefined : radioState(radioRates);
  const arrivals = deviceDemand();
  const rated = local?.info.rates.activeWatts ?? 0;
  const activeWatts = device.activeWatts ?? (rated > 0 ? rated : 2);
  return {
    work,
    warmth: warmth(local, endpoints, self, parts),
    arrivals,
    radio,
    activeWatts,
    strainRatio: () => device.health?.().strainRatio ?? 0,
    view(nowMs) {
      const { wakeMillijoules = 0, gapMs = 0 } = radio?.price(nowMs) ?? {};
      const { strainRatio = 0, why } = device.health?.() ?? {};
      const fills = work.fills(nowMs);
      return {
        info: local?.info,
        queueMs: work.queueMs(nowMs),
        price:
          fills || strainRatio > 0
            ? (runMs) => strained(fills ? arrivals.price(nowMs, runMs) : idleDevice, strainRatio)
            : undefined,
        strain: why,
        loss: parts.hedges,
        memoryBytes: device.memoryBytes?.() ?? Infinity,
        activeWatts: device.millijoulesPerMs?.() ?? activeWatts,
        idleWatts: device.idleWatts ?? 0,
        radio: radioRates,
        radioWakeMillijoules: wakeMillijoules,
        radioGapMs: gapMs,
        battery: device.battery?.(),
      };
    },
  };
}
