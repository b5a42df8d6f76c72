export { aroundOffers } from "./around-offers.ts";
export { checkOutputs, gather, neededPlaces, nowhere, rulesFor, wantedBack } from "./crossing.ts";
export { withStepModels } from "./step-models.ts";
export { stepsAround } from "./steps-around.ts";
