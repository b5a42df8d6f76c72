export {
  type Alias,
  type AliasChange,
  aliasFrom,
  aliasJson,
  aliasName,
  type AskedChange,
  askedChangeFrom,
  defaultTrialLimits,
  noVersion,
  type StickyBy,
  type Target,
  type Trial,
  type TrialLimits,
  type TrialMode,
} from "./alias.ts";
export { rolloutEndpoint, type RolloutEndpointParts } from "./rollout-endpoint.ts";
export {
  type AliasReport,
  type AliasShelf,
  type KeptAliases,
  openRollouts,
  type RolloutParts,
  type Rollouts,
} from "./rollouts.ts";
export type { SideFigures, TrialFigures } from "./trial-watch.ts";
