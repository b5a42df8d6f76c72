/**
 * The file that a runtime's worker threads run: one session of ONNX Runtime each.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort, workerData } from "node:worker_threads";
import { importOrt } from "./import-ort.ts";
import type { ToRunner } from "./runner-message.ts";
import { createRunner } from "./runner.ts";
import { yieldAsConfigured } from "./yield-cores.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");
const port = parentPort;
// First: threads of the runtime inherit the priority.
yieldAsConfigured(workerData);
const handle = createRunner(importOrt, (message, transfer) => port.postMessage(message, [...transfer]));

// A thread with few objects hardly ever runs the collector: a model's file would be retained while the session is loaded.
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

port.on("message", (message: ToRunner) => {
  const handled = handle(message);
  if (message.kind === "load" || message.kind === "release") void handled.then(() => setImmediate(collect));
});
