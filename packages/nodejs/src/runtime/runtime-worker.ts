/**
 * The file that a runtime's worker threads run: one session of ONNX Runtime each.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";
import { importOrt } from "./import-ort.ts";
import type { ToRunner } from "./runner-message.ts";
import { createRunner } from "./runner.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");
const port = parentPort;
const handle = createRunner(importOrt, (message, transfer) => port.postMessage(message, [...transfer]));
port.on("message", (message: ToRunner) => void handle(message));
