import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Unavailable } from "../install/index.ts";
import type { RunningPeer } from "../servers/index.ts";

/** How one check ended. */
export interface Outcome {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped; of a passed one what is worth telling. */
  readonly detail: string;
}

/** The context of a part. */
export interface PartContext {
  /** Our server with the models of `writeRepository`. */
  readonly server: RunningPeer;
  /** Only checks whose name contains one of these; empty for all. */
  readonly only: readonly string[];
  /** Told as each check ends. */
  told(outcome: Outcome): void;
}

/** One real client and its checks. */
export interface Part {
  readonly name: string;
  /** Runs only where it is named: what it needs takes long to build. */
  readonly dear?: boolean;
  run(context: PartContext): Promise<void>;
}

/** Whether a check is selected. */
export function asked(context: PartContext, name: string): boolean {
  return context.only.length === 0 || context.only.some((word) => name.includes(word));
}

/** Runs each of the selected checks, one after the other; one that is unavailable here is reported as skipped. */
export async function eachSelected<T extends { readonly name: string }>(
  context: PartContext,
  all: readonly T[],
  check: (one: T) => Promise<void>,
): Promise<void> {
  for (const one of all) {
    if (!asked(context, one.name)) continue;
    try {
      await check(one);
    } catch (thrown) {
      if (!(thrown instanceof Unavailable)) throw thrown;
      context.told({ name: one.name, outcome: "skipped", detail: thrown.message });
    }
  }
}

/** Runs a check if it is selected, and reports what it returns, or why it failed or is unavailable here. */
export async function reportCheck(
  context: PartContext,
  name: string,
  check: () => Promise<string>,
): Promise<void> {
  if (!asked(context, name)) return;
  try {
    context.told({ name, outcome: "passed", detail: await check() });
  } catch (thrown) {
    const detail = thrown instanceof Error ? thrown.message : String(thrown);
    context.told({ name, outcome: thrown instanceof Unavailable ? "skipped" : "failed", detail });
  }
}

/** Anything that a check opened and that is closed after it. */
export interface Open {
  close(): Promise<unknown>;
}

/**
 * Does the work in a folder of its own, which is deleted after it; the closers that the work put into the list run before, the
 * last first.
 */
export async function inFolder(
  name: string,
  work: (folder: string, open: Open[]) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), `longshore-${name}-`));
  const open: Open[] = [];
  try {
    await work(folder, open);
  } finally {
    for (const one of open.reverse()) await one.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The last words of a program, for a line of a report. */
export function lastWords(...texts: readonly string[]): string {
  const lines = texts
    .join("\n")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return (lines.at(-1) ?? "it printed nothing").slice(0, 300);
}
