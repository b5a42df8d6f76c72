export * from "./fixed-plan.ts";
export * from "./offload-world.ts";
export * from "./plan-candidates.ts";
export * from "./scenario.ts";
export { fifoSlots, type Slots } from "./service.ts";
export * from "./simulated-endpoint.ts";
export { bucketOf, cutOf, segmentMs } from "./profile-times.ts";
export { offersOf, type OfferTerms, type SimulatedModel, wholeSegment } from "./simulated-offers.ts";
export * from "./virtual-clock.ts";
