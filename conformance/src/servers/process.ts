import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { Unavailable } from "../install/index.ts";

/** A port that was free just now, of those that the system gives to no connection until it is taken. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(10_000, 32_000);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("no port is free");
}

/** How a server process is started. */
export interface ServerProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A file that gets what it prints to its error output. Default: kept for `output`. */
  readonly errorsTo?: string;
  /** Undefined leaves it on all cores. */
  readonly cores?: readonly number[];
  /** Answers 200 when the server is ready. */
  readonly readyUrl: string;
  /** How long it may take to be ready; default 300,000. */
  readonly readyMs?: number;
  /** How long it may take to end by itself; default 10,000. */
  readonly endMs?: number;
}

/** A process that answers, with everything it printed. */
export interface ServerProcess {
  readonly pid: number;
  output(): string;
  /** SIGTERM to the group, and SIGKILL to what is left after `endMs`. */
  close(): Promise<void>;
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(30_000) })).ok;
  } catch {
    return false;
  }
}

/** How long a server may take to be ready on a busy machine. */
const usualReadyMs = 300_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts a server in a process group of its own, held to cores, and waits until it is ready. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { command, args, cores } = options;
  if (cores && !existsSync("/usr/bin/taskset")) {
    throw new Unavailable("holding servers to cores needs taskset of util-linux");
  }
  const errors = options.errorsTo === undefined ? undefined : openSync(options.errorsTo, "a");
  const child = spawn(
    cores ? "/usr/bin/taskset" : command,
    cores ? ["-c", cores.join(","), command, ...args] : args,
    {
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ["ignore", "pipe", errors ?? "pipe"],
      detached: true,
    },
  );
  if (errors !== undefined) closeSync(errors);
  let output = "";
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-65_536);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  let ended: string | undefined;
  const gone = new Promise<void>((resolve) => {
    child.once("exit", (code, signal) => {
      ended = `${code ?? signal}`;
      resolve();
    });
    child.once("error", (thrown) => {
      ended = thrown.message;
      resolve();
    });
  });
  const pid = child.pid ?? 0;
  const signal = (name: NodeJS.Signals): void => {
    try {
      if (pid > 0) process.kill(-pid, name);
    } catch {
      // The group is gone already, which is what was wanted.
    }
  };
  // A group of its own does not hear what ends this program, so it would live on.
  const left = (): void => signal("SIGKILL");
  process.once("exit", left);
  void gone.then(() => process.off("exit", left));
  const close = async (): Promise<void> => {
    signal("SIGTERM");
    await Promise.race([gone, pause(options.endMs ?? 10_000)]);
    signal("SIGKILL");
    await gone;
  };
  const untilMs = performance.now() + (options.readyMs ?? usualReadyMs);
  while (!(await answers(options.readyUrl))) {
    if (ended !== undefined || performance.now() > untilMs) {
      const what = ended === undefined ? "was not ready in time" : `ended with ${ended}`;
      await close();
      throw new Error(`${command} ${what}: ${output.slice(-1500)}`);
    }
    await pause(50);
  }
  return { pid, output: () => output, close };
}

/** Seconds of processor time and resident bytes of a process and all its descendants (Linux). */
export function usageOf(pid: number): { readonly cpuSeconds: number; readonly residentBytes: number } {
  const parents = new Map<number, number[]>();
  const stats = new Map<number, { ticks: number; pages: number }>();
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, "utf8");
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      const parent = Number(fields[1]);
      parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
      stats.set(Number(name), {
        ticks: Number(fields[11]) + Number(fields[12]),
        pages: Number(fields[21]),
      });
    } catch {
      // It ended between the listing and the reading.
    }
  }
  let ticks = 0;
  let pages = 0;
  const queue = [pid];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    ticks += stats.get(next)?.ticks ?? 0;
    pages += stats.get(next)?.pages ?? 0;
    queue.push(...(parents.get(next) ?? []));
  }
  return { cpuSeconds: ticks / 100, residentBytes: pages * 4096 };
}
