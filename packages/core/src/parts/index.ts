export { aroundOffers } from "./around-offers.ts";
export { checkOutputs, neededPlaces, nowhere, rulesFor, wantedBack } from "./crossing.ts";
export { arrived, crossingAfter, type Held, heldAt, inputsOf } from "./held.ts";
export { mostWaitAt } from "./most-wait.ts";
export { overtaken, type RaceEnd, type Settling } from "./race-end.ts";
export { pausesOf, refused } from "./refused.ts";
export { portsUnlike, withStepModels } from "./step-models.ts";
export { backUpOf, beginning, endsPlan, type Standing, standingOf, waitedFor } from "./standing.ts";
export { stepsAround } from "./steps-around.ts";
