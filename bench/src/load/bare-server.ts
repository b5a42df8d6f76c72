/**
 * The least that a refusal takes on this machine: Node's own HTTP server refuses everything by its headers and throws bodies
 * away, beside a thread that calculates while requests come, as a model's does, and lets this one have the core first.
 */
import { readlinkSync } from "node:fs";
import { createServer } from "node:http";
import { setPriority } from "node:os";
import { isMainThread, Worker, workerData } from "node:worker_threads";

/** As workers of `longshore serve` have it. */
const niceness = 5;
/** For how long the thread goes on after a request. */
const busyMs = 200;

function calculate(untilMs: Float64Array, asked: Int32Array): never {
  if (process.platform === "linux") {
    setPriority(Number(readlinkSync("/proc/thread-self").split("/").at(-1)), niceness);
  }
  for (;;) {
    if (Date.now() > (untilMs[0] ?? 0)) Atomics.wait(asked, 0, Atomics.load(asked, 0), 50);
  }
}

function serve(): void {
  const shared = new SharedArrayBuffer(16);
  const untilMs = new Float64Array(shared, 0, 1);
  const asked = new Int32Array(shared, 8, 1);
  const worker = new Worker(new URL(import.meta.url), { workerData: shared });
  worker.unref();
  const body = JSON.stringify({
    error: "1 ms are left and 2 ms are needed, waiting included",
    reason: "rejected",
    stage: "admission",
  });
  const server = createServer((request, response) => {
    untilMs[0] = Date.now() + busyMs;
    Atomics.add(asked, 0, 1);
    Atomics.notify(asked, 0);
    response.writeHead(503, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
    request.resume();
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (address !== null && typeof address === "object") console.log(`http://127.0.0.1:${address.port}`);
  });
}

if (isMainThread) serve();
else {
  const shared = workerData as SharedArrayBuffer;
  calculate(new Float64Array(shared, 0, 1), new Int32Array(shared, 8, 1));
}
