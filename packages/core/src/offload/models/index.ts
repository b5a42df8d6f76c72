export {
  type ModelReport,
  knowModel,
  type KnownModel,
  quickestMs,
  replaced,
  slownessHere,
} from "./known-model.ts";
