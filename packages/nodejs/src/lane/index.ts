export { builtOptions } from "./built-options.ts";
export { serveLane } from "./serve-lane.ts";
export { workerLane, type WorkerLaneOptions } from "./worker-lane.ts";
