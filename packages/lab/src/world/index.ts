export * from "./scenario.ts";
export { fifoSlots, type Slots } from "./service.ts";
export * from "./simulated-endpoint.ts";
export { offersOf, type OfferTerms, type SimulatedModel, wholeSegment } from "./simulated-offers.ts";
export * from "./virtual-clock.ts";
