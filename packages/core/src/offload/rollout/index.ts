export {
  type Alias,
  type AliasChange,
  aliasFrom,
  aliasJson,
  aliasName,
  askedChangeFrom,
  defaultTrialLimits,
  noVersion,
  type StickyBy,
  type Target,
  type TrialLimits,
  type TrialMode,
} from "./alias.ts";
export { rolloutEndpoint } from "./rollout-endpoint.ts";
export {
  type AliasReport,
  type AliasShelf,
  type KeptAliases,
  openRollouts,
  type Rollouts,
} from "./rollouts.ts";
export type { SideFigures, TrialFigures } from "./trial-watch.ts";
