export { forwardedOffers, splitOffers, undominated } from "./compose-offers.ts";
export {
  type Battery,
  type DeviceHealth,
  type DeviceParts,
  radioState,
  type RadioState,
  type RadioUse,
} from "./device.ts";
export { disowned, final } from "./disowned.ts";
export { endpointFor } from "./endpoint-for.ts";
export { endpointHealth, hadTooMuch, overloaded } from "./endpoint-health.ts";
export { type EndpointState, followEndpoint } from "./endpoint-state.ts";
export { type EndpointStates, followEndpoints } from "./endpoint-states.ts";
export type { EndpointTables } from "./endpoint-tables.ts";
export type { Membership } from "./membership.ts";
export { pausedEndpoints } from "./paused-endpoints.ts";
export { type LocalRun, localWork, type LocalWork } from "./local-work.ts";
export { mayServe, missingEndpoints } from "./missing-endpoints.ts";
export { permits } from "./permits.ts";
export { type ServedVersion, ranOf } from "./run-failures.ts";
export { serviceRatio } from "./service-ratio.ts";
export { manyEndpoints } from "./shortlist.ts";
export { firstWaits, noteConnection } from "./first-waits.ts";
export { type PartFilter, warmth, type Warmth } from "./warmth.ts";
