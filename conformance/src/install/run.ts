import { spawn } from "node:child_process";

/** How a program ended. */
export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** How a program is run. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** It is killed after this long; default 600,000 (installing may take minutes). */
  readonly timeoutMs?: number;
}

/** Runs a program to its end and keeps what it prints. A program that is not there ends with code 127. */
export function run(
  command: string,
  args: readonly string[],
  { cwd, env, timeoutMs = 600_000 }: RunOptions = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    child.on("error", (thrown) => {
      clearTimeout(timer);
      resolve({ code: 127, out, err: thrown.message });
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      if (over) err += `\nit was ended after ${timeoutMs} ms`;
      resolve({ code: code ?? (over ? 124 : 1), out, err });
    });
  });
}

/** The same, for a program that has to succeed. Throws with its last words. */
export async function must(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, out, err } = await run(command, args, options);
  if (code === 0) return out;
  const words = (err.trim() || out.trim()).split("\n").slice(-4).join(" | ").slice(-600);
  throw new Error(`${command} ${args.slice(0, 3).join(" ")} ended with ${code}: ${words}`);
}
