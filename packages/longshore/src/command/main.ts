#!/usr/bin/env node
/** The command `longshore`. */
import { setTimeout as after } from "node:timers/promises";
import { allWritten, runningLines } from "./output.ts";
import { terminalOf } from "./terminal.ts";
import { useCompileCache } from "./compile-cache.ts";

useCompileCache(process.argv, process.env);
// After that, so that what it imports is kept compiled.
const { runCommand } = await import("./run-command.ts");

/** Ends as a signal without a listener does: it ends a process even while native code runs, for which `exit` waits. */
function endBy(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/** npm passes on what the terminal has sent to all of its processes: a second signal so soon is the same one. */
const sameSignalMs = 1000;

const stop = new AbortController();
let stoppedMs = 0;
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    if (!stop.signal.aborted) stoppedMs = performance.now();
    else if (performance.now() - stoppedMs > sameSignalMs) endBy(name);
    stop.abort();
  });
}

// A log on a disk that is full, or a reader that has left, is no reason to stop serving.
const streams = [process.stdout, process.stderr];
for (const stream of streams) stream.on("error", () => undefined);

let open = false;
const clear = (): void => {
  if (open) process.stderr.write("\r\u001b[K");
  open = false;
};

const code = await runCommand(process.argv.slice(2), {
  out: (text) => {
    clear();
    process.stdout.write(`${text}\n`);
  },
  note: (text) => {
    clear();
    process.stderr.write(`${text}\n`);
  },
  running: { out: runningLines(process.stdout), note: runningLines(process.stderr) },
  progress: (text) => {
    if (!process.stderr.isTTY) return;
    clear();
    process.stderr.write(text.slice(0, (process.stderr.columns ?? 80) - 1));
    open = true;
  },
  ...(process.stdout.isTTY ? { terminal: terminalOf(process.stdout, process.stdin) } : {}),
  environment: process.env,
  stop: stop.signal,
  onReload(listener) {
    process.on("SIGHUP", listener);
    return { [Symbol.dispose]: () => void process.off("SIGHUP", listener) };
  },
  end: () => endBy("SIGTERM"),
});
clear();
/** A stopped command waits no longer than this for a reader. */
const lastWordsMs = 1000;
const toldToStop = new Promise((resolve) => {
  if (stop.signal.aborted) resolve(undefined);
  else stop.signal.addEventListener("abort", resolve, { once: true });
});
await Promise.race([Promise.all(streams.map(allWritten)), toldToStop.then(() => after(lastWordsMs))]);
process.exit(code);
