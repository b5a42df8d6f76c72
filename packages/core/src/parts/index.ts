export { aroundOffers } from "./around-offers.ts";
export { checkOutputs, gather, neededPlaces, nowhere, rulesFor, wantedBack } from "./crossing.ts";
export { portsUnlike, withStepModels } from "./step-models.ts";
export { stepsAround } from "./steps-around.ts";
