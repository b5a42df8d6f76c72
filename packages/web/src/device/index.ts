export { ensureDisposal } from "./disposal.ts";
export { systemClock } from "./system-clock.ts";
export { systemRandom } from "./system-random.ts";
