import { parentPort } from "node:worker_threads";
import { pureTransforms, transformSet } from "@longshore/engine";
import { mediaTransforms } from "../media/index.ts";
import { serveLane } from "./serve-lane.ts";

if (!parentPort) throw new Error("this file is started by workerLane, as a worker thread");
serveLane(parentPort, transformSet(...pureTransforms(), ...mediaTransforms()));
