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

/** How often a server has run a model. */
export async function runsAt(address: string, model: string): Promise<number> {
  const reply = await fetch(`http://${address}/v2/models/${model}/stats`);
  const json = (await reply.json()) as { model_stats?: { inference_count: number }[] };
  return json.model_stats?.[0]?.inference_count ?? NaN;
}

/** Where the parts of a request ran, in words, whichever of its plans and legs ran them. */
export const legsOf = ({ accounts }: Result): string =>
  accounts.map(({ segment: { from, to }, endpoint }) => `${from}..${to} at ${endpoint}`).join(", ");
