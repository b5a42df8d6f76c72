/**
 * The file that a sandbox process runs. The model runs in a thread of it, so that the main thread stays responsive. When the program that
 * started the process is gone, for any reason, the process ends itself, even in the middle of an endless run.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import { buffersOf, joinPieces, sendInPieces } from "./in-pieces.ts";
import type { FromRunner, ToRunner } from "./runner-message.ts";

const worker = new Worker(new URL("./runtime-worker.js", import.meta.url));

const take = joinPieces(Infinity, (message) => {
  // The process trusts the program that started it.
  const asked = message as ToRunner;
  const told: ToRunner = asked.kind === "load" ? { ...asked, capped: true } : asked;
  worker.postMessage(told, [...buffersOf(told)]);
});
process.on("message", take);
worker.on("message", ({ ...answer }: FromRunner) => {
  // Inputs came as a copy: the other side has no use for their memory.
  if ("buffer" in answer) delete answer.buffer;
  void sendInPieces(answer, (part, written) => process.send?.(part, undefined, undefined, written));
});
worker.on("error", (thrown: Error & { code?: string }) => {
  // The other side reads this line to tell a lack of memory from other ends.
  process.stderr.write(`${thrown.code ?? ""} ${thrown.message}\n`, () => process.exit(70));
});
const end = (): boolean => process.kill(process.pid, "SIGKILL");
process.on("disconnect", end);
// The other side may have gone while this file was loaded.
if (!process.connected) end();
