import { writeFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import { meanBitsPerSecond, simulationReport, waysTable } from "@longshore/lab";
import { readScenario, type ScenarioFlags } from "./read-scenario.ts";
import { linkText, runScenarioFile, type ScenarioResult } from "./run-scenario.ts";
import { type CommandIo, type ExitCode, table } from "../options/io.ts";

/** Options of `longshore simulate`. */
export interface SimulateOptions extends ScenarioFlags {
  /** File for the raw rows, or `-` for the standard output. */
  readonly json?: string;
  readonly html?: string;
}

/** A figure without data, such as the energy of answers if there were none, is a dash, as in the report. */
function cell(value: unknown): string {
  if (typeof value !== "number") return String(value);
  return Number.isFinite(value) ? Number(value.toPrecision(value >= 100 ? 4 : 3)).toString() : "-";
}

/** A line of how the figures came about: the same for the same scenario, so that reports can be compared by byte. */
function footer({ scenario, model, runs }: ScenarioResult): string {
  const links = [...new Set(runs.flatMap((run) => run.links.map(({ up }) => linkText(up))))];
  return `Model ${model}, seed ${scenario.seed ?? 1}. Uplinks: ${links.slice(0, 12).join("; ")}${links.length > 12 ? `; ${links.length - 12} more` : ""}. The first ${runs[0]?.notCounted ?? 0} requests of each replay are not counted. The oracle knows the future of links, obeys the same queues and decides for one request after the other. Energy is estimated.`;
}

function jsonOf({ scenario, model, runs }: ScenarioResult): string {
  const body = {
    schemaVersion: 1,
    model,
    scenario,
    runs: runs.map(({ name, ways, notCounted, links }) => ({
      name,
      notCounted,
      links: links.map(({ endpoint, up }) => ({
        endpoint,
        trace: up.name,
        origin: up.origin,
        lengthMs: up.lengthMs,
        meanBitsPerSecond: meanBitsPerSecond(up),
      })),
      ways: ways.map(({ plan, ...way }) => ({ ...way, plan: plan ?? null })),
    })),
  };
  return `${JSON.stringify(body, null, 1)}\n`;
}

async function write(option: string, file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (error) {
    throw new LongshoreError("invalid-input", "resolve", `--${option} ${file} cannot be written`, {
      cause: error,
    });
  }
}

/**
 * Replays requests over recorded or made-up networks on a virtual clock, under the real planner, beliefs and guards, beside
 * the oracle and plans that never change. The same scenario and seed give the same bytes.
 */
export async function simulateCommand(
  file: string | undefined,
  options: SimulateOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const scenario = await readScenario(file, options);
  const result = await runScenarioFile(scenario, io);
  if (options.html !== undefined)
    await write("html", options.html, simulationReport(result.runs, footer(result)));
  if (options.json === "-") {
    io.out(jsonOf(result).trimEnd());
    return 0;
  }
  if (options.json !== undefined) await write("json", options.json, jsonOf(result));
  for (const run of result.runs) {
    const { columns, rows } = waysTable(run);
    io.out(
      `${run.name}\n${table(
        columns,
        rows.map((row) => row.map(cell)),
      )}\n`,
    );
  }
  io.note(
    `${result.runs.length === 1 ? "1 replay" : `${result.runs.length} replays`}, objective ${scenario.objective ?? "latency"}, seed ${scenario.seed ?? 1}; energy is estimated${options.html === undefined ? "" : `; report: ${options.html}`}`,
  );
  return 0;
}
