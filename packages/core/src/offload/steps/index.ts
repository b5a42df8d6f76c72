export { aroundOffers } from "./around-offers.ts";
export { checkCrossing, endpointsByStep, hasNoRoute, rulesFor, outputsToReturn } from "./crossing.ts";
export { arrived, crossingAfter, type HeldCrossing, heldAt, inputsOf } from "./held.ts";
export { portsUnlike, withStepModels } from "./step-models.ts";
export { stepsAround } from "./steps-around.ts";
