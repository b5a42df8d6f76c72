export * from "./place.ts";
export * from "./place-health.ts";
export * from "./service-ratio.ts";
export * from "./local-work.ts";
export * from "./compose-offers.ts";
export * from "./device.ts";
export * from "./known-model.ts";
export * from "./inferred.ts";
