export { type Heard, knowModel, type KnownModel, replaced, slownessHere } from "./known-model.ts";
