export { ensureDisposal } from "./disposal.ts";
export { followNetwork, linkHint, type NetworkConnection, type NetworkNavigator } from "./network.ts";
export { systemClock } from "./system-clock.ts";
export { systemRandom } from "./system-random.ts";
