export { linkProbes } from "./link-probes.ts";
export { linkUpkeep, longSendMs } from "./link-upkeep.ts";
export { loadProbes } from "./load-probes.ts";
