export { type Heard, knowModel, type KnownModel, quickestMs, replaced, slownessHere } from "./known-model.ts";
