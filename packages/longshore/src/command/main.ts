#!/usr/bin/env node
/** The command: `longshore serve | infer | plan | profile | split | advise | doctor | demo | keys`. */
import { runCommand } from "./run-command.ts";

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());

// A log on a disk that is full, or a reader that has left, is no reason to stop serving.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

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
  progress: (text) => {
    if (!process.stderr.isTTY) return;
    clear();
    process.stderr.write(text.slice(0, (process.stderr.columns ?? 80) - 1));
    open = true;
  },
  environment: process.env,
  stop: stop.signal,
});
clear();
process.exit(code);
