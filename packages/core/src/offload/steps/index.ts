export { aroundOffers } from "./around-offers.ts";
export { checkCrossing, endpointsByStep, hasNoRoute, rulesFor, outputsToReturn } from "./crossing.ts";
export {
  arrived,
  crossingAfter,
  hasArrived,
  type HeldCrossing,
  heldAt,
  inputsOf,
  isUnrepeatable,
  isWaiting,
} from "./held.ts";
export { portsUnlike, withStepModels } from "./step-models.ts";
export { stepsAround } from "./steps-around.ts";
