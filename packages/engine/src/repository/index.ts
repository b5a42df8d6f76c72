export type { ControlInput } from "./config.ts";
export { checkModelName, someNames } from "./names.ts";
export {
  type GraphBody,
  type ModelStep,
  type Program,
  type ProgramStep,
  type TransformStep,
  valueOfTensor,
} from "./program.ts";
export { mostRevealing } from "./program-builder.ts";
export type { LoadedVersion } from "./read-version.ts";
export { type ModelRepository, modelRepository } from "./repository.ts";
export * from "./source.ts";
