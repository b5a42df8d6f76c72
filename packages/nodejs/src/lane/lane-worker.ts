import { parentPort, workerData } from "node:worker_threads";
import { pureTransforms, transformSet } from "@longshore/engine";
import { mediaTransforms } from "../media/index.ts";
import { loadSharp } from "../media/sharp-image.ts";
import { yieldAsConfigured } from "../runtime/yield-cores.ts";
import { serveLane } from "./serve-lane.ts";

if (!parentPort) throw new Error("this file is started by workerLane, as a worker thread");
yieldAsConfigured(workerData);
// Now, so that no image waits for it.
loadSharp();
serveLane(parentPort, transformSet(...pureTransforms(), ...mediaTransforms()));
