export { aroundOffers } from "./around-offers.ts";
export { checkOutputs, neededEndpoints, nowhere, rulesFor, wantedBack } from "./crossing.ts";
export { arrived, crossingAfter, type Held, heldAt, inputsOf } from "./held.ts";
export { portsUnlike, withStepModels } from "./step-models.ts";
export { stepsAround } from "./steps-around.ts";
