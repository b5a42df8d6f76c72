import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The built command: servers of these tests are processes of their own. */
const command = fileURLToPath(new URL("../dist/command/main.js", import.meta.url));

const running = new Set<ChildProcessWithoutNullStreams>();

/** Ends what a test has left running. */
export function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** A server in a process of its own. */
export interface ServerProcess {
  readonly address: string;
  /** Where it speaks gRPC; undefined unless `--grpc-port` was among its arguments. */
  readonly grpc: string | undefined;
  readonly pid: number;
  readonly notes: string[];
  /** The lines that it printed since. */
  readonly told: readonly string[];
  /** Sends SIGTERM, if no other. */
  stop(signal?: NodeJS.Signals): void;
  readonly exited: Promise<number | null>;
}

interface Started {
  readonly child: ChildProcessWithoutNullStreams;
  readonly notes: string[];
  readonly exited: Promise<number | null>;
}

/** `longshore` in a process of its own. */
export function started(...args: readonly string[]): Started {
  return startedIn([], ...args);
}

/** The same under a command that runs it somewhere else, such as `nsenter`. */
function startedIn(prefix: readonly string[], ...args: readonly string[]): Started {
  const [program, ...before] = [...prefix, process.execPath];
  const child = spawn(program, [...before, command, ...args]);
  running.add(child);
  const notes: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => notes.push(line));
  const exited = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  return { child, notes, exited };
}

/** The same, once it listens. */
export function listening(...args: readonly string[]): Promise<ServerProcess> {
  return listeningIn([], ...args);
}

/** The same under a command that runs it somewhere else. */
export async function listeningIn(
  prefix: readonly string[],
  ...args: readonly string[]
): Promise<ServerProcess> {
  const silent = args.includes("--grpc-port") ? [] : ["--no-grpc-port"];
  const { child, notes, exited } = startedIn(prefix, ...args, ...silent, "--json");
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as { readonly listening?: string; readonly grpc?: string };
    if (event.listening === undefined) continue;
    const told: string[] = [];
    createInterface({ input: child.stdout }).on("line", (one) => told.push(one));
    const stop = (signal: NodeJS.Signals = "SIGTERM"): void => void child.kill(signal);
    const { listening: address, grpc } = event;
    return { address, grpc, pid: child.pid ?? 0, notes, told, stop, exited };
  }
  throw new Error(`the server did not start: ${notes.join("\n")}`);
}
