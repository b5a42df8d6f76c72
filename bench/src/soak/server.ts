import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ProbeRequest, ProbeSample } from "./probe.ts";

/** A real `longshore serve` in a process of its own, with a probe inside. */
export interface SoakServer {
  /** `http://host:port`. */
  readonly address: string;
  readonly pid: number;
  /** Requests that had to be sent once more. */
  askedAgain: number;
  sample(question?: ProbeRequest): Promise<ProbeSample>;
  /** Ends it by SIGTERM and gives its exit code. */
  stop(): Promise<number | null>;
}

/**
 * Settings of glibc that save some memory of servers that load and unload: it would otherwise raise the size from which on it gives
 * memory back at once, and keep what models and tensors held in the arenas of threads that have ended.
 */
export const steadyMalloc: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "262144",
};

/**
 * Starts it on a folder of models, none of which is loaded yet unless other options say so; where `core` is given, on that core
 * alone and knowing it, with Linux's `taskset`.
 */
export async function startServer(
  repository: string,
  environment: Readonly<Record<string, string>>,
  options: readonly string[] = ["--model-control", "explicit", "--allow-management"],
  core?: number,
): Promise<SoakServer> {
  const main = fileURLToPath(import.meta.resolve("longshore")).replace(/index\.js$/, "command/main.js");
  const probe = new URL("./probe.js", import.meta.url).href;
  const node = process.execPath;
  const held = core === undefined ? [] : ["-c", String(core), node];
  const child: ChildProcess = spawn(
    core === undefined ? node : "taskset",
    [...held, "--import", probe, main, "serve", repository, "--port", "0", ...options, "--json"],
    { stdio: ["ignore", "pipe", "pipe", "ipc"], env: { ...process.env, ...environment } },
  );
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new Error("the server has no output to read its address from");
  // Its log is of interest only when it ends before it should.
  const log: string[] = [];
  createInterface({ input: stderr }).on("line", (line) => {
    log.push(line);
    if (log.length > 20) log.shift();
  });
  const exited = once(child, "exit");
  const address = new Promise<string>((resolve, reject) => {
    // The lines go on for as long as it runs; only the first with an address matters.
    createInterface({ input: stdout }).on("line", (line) => {
      const { listening } = JSON.parse(line) as { listening?: string };
      if (listening !== undefined) resolve(listening);
    });
    void exited.then(([code]) =>
      reject(new Error(`the server ended with ${String(code)}:\n${log.join("\n")}`)),
    );
  });
  return {
    address: await address,
    pid: child.pid ?? 0,
    askedAgain: 0,
    async sample(question = "running") {
      const answer = once(child, "message");
      child.send(question);
      const [message] = (await answer) as [ProbeSample];
      return message;
    },
    async stop() {
      child.kill("SIGTERM");
      const [code] = (await exited) as [number | null];
      return code;
    },
  };
}
