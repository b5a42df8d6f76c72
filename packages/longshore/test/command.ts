import type { ExitCode } from "../src/options/io.ts";
import { runCommand } from "../src/command/run-command.ts";

/** How a command ended, and what it said. */
interface Ran {
  readonly code: ExitCode;
  /** Its results. */
  readonly out: string;
  /** Its notes for a person. */
  readonly notes: string;
  /** Both, in the order in which they came. */
  readonly said: string;
}

/** Runs `longshore` in this process until it is done. */
export async function command(...args: readonly string[]): Promise<Ran> {
  const out: string[] = [];
  const notes: string[] = [];
  const said: string[] = [];
  const code = await runCommand(args, {
    out: (text) => void (out.push(text), said.push(text)),
    note: (text) => void (notes.push(text), said.push(text)),
    progress: () => undefined,
    environment: {},
    stop: new AbortController().signal,
  });
  return { code, out: out.join("\n"), notes: notes.join("\n"), said: said.join("\n") };
}
