export { linkProbes } from "./link-probes.ts";
export { linkUpkeep, longSendMs } from "./link-upkeep.ts";
export { listModels } from "./list-models.ts";
export { loadProbes } from "./load-probes.ts";
export { prepareAll } from "./prepare-all.ts";
