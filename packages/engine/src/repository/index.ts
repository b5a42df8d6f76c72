export type { ControlInput } from "../configuration/index.ts";
export { checkModelName, someNames } from "../configuration/index.ts";
export {
  type GraphBody,
  type ModelStep,
  type Program,
  type ProgramStep,
  type TransformStep,
  valueOfTensor,
  wantsGpu,
  type WarmUp,
} from "./program.ts";
export { mostRevealing } from "./program-builder.ts";
export type { LoadedVersion } from "./read-version.ts";
export type { RepositoryParts } from "./repository-parts.ts";
export type { FileOverride } from "./override.ts";
export { type ModelRepository, modelRepository, type Renewal } from "./repository.ts";
export * from "./source.ts";
