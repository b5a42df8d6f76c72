import { dirname, isAbsolute, join } from "node:path";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import { checkScenario, parseRate, type ScenarioFile, scenarioYaml } from "@longshore/lab";

/** The values of flags; each replaces the key of the file. */
export interface ScenarioFlags {
  readonly model?: string;
  readonly device?: string;
  readonly trace: readonly string[];
  readonly arrivals: readonly string[];
  readonly endpoint: readonly string[];
  readonly stretch?: number;
  readonly requests?: number;
  readonly deadline?: number;
  readonly objective?: string;
  readonly inTime?: number;
  readonly dataClass?: string;
  readonly zone: readonly string[];
  readonly agreement?: number;
  readonly seed?: number;
}

type Plain = Readonly<Record<string, unknown>>;

/** `edge,tier=edge,speed=2`: words and figures by name; a part without `=` is the `first`. */
export function pairs(option: string, text: string, first?: string): Plain {
  const found: Record<string, unknown> = {};
  for (const [index, part] of text.split(",").entries()) {
    const at = part.indexOf("=");
    if (at < 0 && index === 0 && first !== undefined) found[first] = part;
    else if (at <= 0) {
      throw new LongshoreError(
        "invalid-configuration",
        "resolve",
        `--${option} ${text}: '${part}' is not NAME=VALUE`,
      );
    } else {
      const value = part.slice(at + 1);
      found[part.slice(0, at)] = value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
    }
  }
  return found;
}

/** Files of a scenario lie beside it, wherever the command is run. */
function beside(folder: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => beside(folder, one));
  if (typeof value === "string") {
    if (isAbsolute(value) || parseRate(value) !== undefined || /^(?:every|poisson):/.test(value))
      return value;
    const there = join(folder, value);
    return existsSync(there) ? there : value;
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      key === "file" || key === "up" || key === "down" ? beside(folder, one) : one,
    ]),
  );
}

/**
 * A scenario of a file, of flags, or of both: flags win. Throws `invalid-configuration` with path, value and what is
 * allowed.
 */
export async function readScenario(file: string | undefined, flags: ScenarioFlags): Promise<ScenarioFile> {
  let written: Plain = {};
  if (file !== undefined) {
    const text = await readFile(file, "utf8").catch((error: unknown) => {
      throw new LongshoreError("invalid-input", "resolve", `the scenario ${file} cannot be read`, {
        cause: error,
      });
    });
    written = scenarioYaml(text, file);
    const folder = dirname(file);
    const moved = ["model", "traces", "arrivals", "endpoints"].filter((key) => key in written);
    written = {
      ...written,
      ...Object.fromEntries(moved.map((key) => [key, beside(folder, written[key])])),
    };
  }
  const { model, device, trace, arrivals, endpoint, zone } = flags;
  const said: Plain = {
    model: model?.includes("=") === true ? pairs("model", model) : model,
    device: device === undefined ? undefined : pairs("device", device),
    traces: trace.length > 0 ? trace : undefined,
    arrivals: arrivals.length > 0 ? arrivals : undefined,
    endpoints: endpoint.length > 0 ? endpoint.map((one) => pairs("endpoint", one, "id")) : undefined,
    stretch: flags.stretch,
    requests: flags.requests,
    deadlineMs: flags.deadline,
    objective: flags.objective,
    minInTimeRatio: flags.inTime,
    dataClass: flags.dataClass,
    zones: zone.length > 0 ? zone : undefined,
    minAgreementRatio: flags.agreement,
    seed: flags.seed,
  };
  const given = Object.entries(said).filter(([, value]) => value !== undefined);
  return checkScenario({ ...written, ...Object.fromEntries(given) }, file ?? "the scenario");
}
