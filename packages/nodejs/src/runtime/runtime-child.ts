/**
 * The file that a sandbox process runs. The model runs in a thread of it, so that this thread stays awake: when the
 * program that started the process is gone, however it ended, the process ends itself, even in the middle of a run that
 * would never end.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import type { FromRunner, ToRunner } from "./runner-message.ts";

const worker = new Worker(new URL("./runtime-worker.js", import.meta.url));

process.on("message", (message: ToRunner) => {
  worker.postMessage(message, message.kind === "run" && message.buffer ? [message.buffer] : []);
});
worker.on("message", (message: FromRunner) => process.send?.(message));
worker.on("error", (thrown: Error & { code?: string }) => {
  // The last words, read by the other side: they tell a lack of memory from other ends.
  process.stderr.write(`${thrown.code ?? ""} ${thrown.message}\n`, () => process.exit(70));
});
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
