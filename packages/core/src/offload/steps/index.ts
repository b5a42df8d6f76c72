export { aroundOffers } from "./around-offers.ts";
export { checkCrossing, neededEndpoints, nowhere, rulesFor, wantedBack } from "./crossing.ts";
export { arrived, crossingAfter, type HeldCrossing, heldAt, inputsOf } from "./held.ts";
export { portsUnlike, withStepModels } from "./step-models.ts";
export { stepsAround } from "./steps-around.ts";
