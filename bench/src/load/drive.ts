import { type ChildProcess, fork, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import type { FromGenerator, PhaseResult, Stream, ToGenerator } from "./messages.ts";

/** A generator process. */
export interface Generator {
  run(port: number, streams: readonly Stream[]): Promise<PhaseResult>;
  close(): void;
}

/** Starts a generator; the file must have been built. */
export async function startGenerator(): Promise<Generator> {
  const child = fork(fileURLToPath(new URL("./generator.js", import.meta.url)), {
    serialization: "advanced",
  });
  let answered: (message: FromGenerator) => void = () => undefined;
  const answer = (): Promise<FromGenerator> => new Promise((resolve) => (answered = resolve));
  const ready = answer();
  child.on("message", (message: FromGenerator) => answered(message));
  await ready;
  return {
    async run(port, streams) {
      const result = answer();
      child.send({ kind: "phase", port, streams } satisfies ToGenerator);
      const message = await result;
      if (message.kind !== "result") throw new Error(`the generator said ${message.kind}`);
      return message.result;
    },
    close: () => void child.send({ kind: "end" } satisfies ToGenerator),
  };
}

/** How long an event loop was kept from turning, as a probe sees that looks every 5 ms. */
export interface LoopDelay {
  readonly maxMs: number;
  readonly p99Ms: number;
  /** The longest that the thread itself was at work in one turn, within 5 ms. */
  readonly busyMaxMs: number;
}

/** A server process. */
export interface ServeProcess {
  readonly port: number;
  readonly pid: number;
  /** Since the last report. */
  loopDelay(): Promise<LoopDelay>;
  close(): Promise<void>;
}

/** Starts `longshore serve` as people do, and waits until it listens. */
export function startServe(repository: string, ...options: readonly string[]): Promise<ServeProcess> {
  const main = new URL("../../../packages/longshore/bin/longshore.js", import.meta.url);
  return startServer("longshore serve", main, "serve", repository, "--port", "0", ...options);
}

/** Starts a server that only refuses: the baseline for refusals. */
export function startBare(): Promise<ServeProcess> {
  return startServer("the bare server", new URL("./bare-server.js", import.meta.url));
}

async function startServer(name: string, file: URL, ...args: readonly string[]): Promise<ServeProcess> {
  const probe = ["--import", new URL("./loop-delay.js", import.meta.url).href];
  const child: ChildProcess = spawn(
    process.execPath,
    [...probe, fileURLToPath(file), ...args],
    // Its log has a line for each refusal, which is not read here.
    { stdio: ["ignore", "pipe", "ignore", "ipc"] },
  );
  const { stdout } = child;
  if (!stdout) throw new Error(`${name} has no output`);
  const port = await new Promise<number>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
    createInterface({ input: stdout }).on("line", (line) => {
      const found = /http:\/\/[^:]+:(\d+)/.exec(line)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
  });
  return {
    port,
    pid: child.pid ?? 0,
    loopDelay: () =>
      new Promise((resolve) => {
        child.once("message", (message) => resolve(message as LoopDelay));
        child.send("loop-delay");
      }),
    close: () =>
      new Promise((resolve) => {
        child.removeAllListeners("exit");
        child.once("exit", () => resolve());
        child.kill("SIGTERM");
      }),
  };
}
