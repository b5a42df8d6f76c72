export * from "./asked-model.ts";
export { disowned, final } from "./disowned.ts";
export * from "./place.ts";
export { placeFor } from "./place-for.ts";
export * from "./place-health.ts";
export {
  elsewhereMs,
  guardAlone,
  guardFor,
  type GuardTimes,
  isFarSlower,
  lateAloneMs,
} from "./guard-times.ts";
export * from "./guard-watch.ts";
export { followPlaces, type Places } from "./places.ts";
export { type Ran, ranOf } from "./run-failures.ts";
export { manyPlaces } from "./shortlist.ts";
export { serviceRatio } from "./service-ratio.ts";
export { leftAlone } from "./left-alone.ts";
export * from "./local-work.ts";
export { permits } from "./permits.ts";
export * from "./compose-offers.ts";
export * from "./device.ts";
export * from "./known-model.ts";
export { nothingKnown, orNoVersion, tooSlow } from "./nothing-known.ts";
export { type PartFilter, type Warmth, warmth } from "./warmth.ts";
