import { parentPort, workerData } from "node:worker_threads";
import { pureTransforms, transformSet } from "@longshore/engine";
import { mediaTransforms } from "../media/index.ts";
import { yieldAsTold } from "../runtime/yield-cores.ts";
import { serveLane } from "./serve-lane.ts";

if (!parentPort) throw new Error("this file is started by workerLane, as a worker thread");
yieldAsTold(workerData);
serveLane(parentPort, transformSet(...pureTransforms(), ...mediaTransforms()));
