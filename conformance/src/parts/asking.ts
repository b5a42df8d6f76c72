import { setTimeout as pause } from "node:timers/promises";
import type { Result } from "longshore";
import { run } from "../install/index.ts";
import { command } from "../servers/index.ts";
import { lastWords } from "./part.ts";

/** Runs the command to its good end. Throws what it said otherwise. */
export async function longshore(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await run(process.execPath, [command, ...args], { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`longshore ${args[0]}: ${lastWords(out, err)}`);
  return out;
}

/** So long Triton may take to count a run whose answer it has sent, in looks of 50 ms. */
const mostLooks = 100;

/**
 * How often a server has run a model. Triton counts a run after its answer, so the figure is read again while it is below
 * `expected`.
 */
export async function runsAt(address: string, model: string, expected = 0): Promise<number> {
  for (let look = 1; ; look++) {
    const reply = await fetch(`http://${address}/v2/models/${model}/stats`);
    const json = (await reply.json()) as { model_stats?: { inference_count: number }[] };
    const runs = json.model_stats?.[0]?.inference_count ?? NaN;
    if (!(runs < expected) || look >= mostLooks) return runs;
    await pause(50);
  }
}

/** Where the parts of a request ran, in words, whichever of its plans and legs ran them. */
export const legsOf = ({ accounts }: Result): string =>
  accounts.map(({ segment: { from, to }, endpoint }) => `${from}..${to} at ${endpoint}`).join(", ");
