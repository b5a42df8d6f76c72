export { serveLane } from "./serve-lane.ts";
export { workerLane, type WorkerLaneOptions } from "./worker-lane.ts";
