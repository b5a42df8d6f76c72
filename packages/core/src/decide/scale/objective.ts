import { LongshoreError } from "../../words/base/index.ts";

/** The limits of a fleet for the requests of a model. At least one of the two is present. */
export interface ScaleObjective {
  /** This share of the requests is answered within `withinMs`. */
  readonly latency?: { readonly ratio: number; readonly withinMs: number };
  /** At most this share of the requests misses `deadlineMs`. */
  readonly misses?: { readonly ratio: number; readonly deadlineMs: number };
}

const form =
  "such as p95=200ms, or p95=200ms,misses=1%,deadline=2s (p50 to p99.9; misses needs a deadline or a latency)";

function wrong(text: string, why: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", `objective '${text.slice(0, 80)}': ${why}`);
}

/** Milliseconds of `200ms`, `200` or `2s`; undefined for anything else. */
function milliseconds(text: string): number | undefined {
  const [, digits, unit = "ms"] = /^(\d{1,9}(?:\.\d{1,6})?)(ms|s)?$/.exec(text) ?? [];
  const ms = Number(digits) * (unit === "s" ? 1000 : 1);
  return ms > 0 && ms <= 3_600_000 ? ms : undefined;
}

/**
 * Reads an objective. Throws `invalid-input` that names the problem: an unknown or repeated key, a value out of range, a
 * limit that contradicts another or follows from it.
 *
 * @example
 * ```ts
 * import { parseScaleObjective } from "@longshore/core/internal";
 *
 * console.log(parseScaleObjective("p95=200ms,misses=1%,deadline=2s").latency?.withinMs); // 200
 * ```
 */
export function parseScaleObjective(text: string): ScaleObjective {
  const found = new Map<string, string>();
  for (const part of text.split(",")) {
    const [, key, value] = /^\s*([a-z][a-z0-9.]*)\s*=\s*(\S+)\s*$/.exec(part) ?? [];
    if (key === undefined || value === undefined)
      throw wrong(text, `'${part.trim()}' is not KEY=VALUE, ${form}`);
    const name = key.startsWith("p") ? "latency" : key;
    if (found.has(name))
      throw wrong(text, `it states ${name === "latency" ? "two latencies" : `'${key}' twice`}`);
    if (name === "latency") found.set("quantile", key.slice(1));
    else if (key !== "misses" && key !== "deadline") throw wrong(text, `'${key}' is not known, ${form}`);
    found.set(name, value);
  }
  const latency = latencyOf(text, found);
  const misses = missesOf(text, found, latency);
  if (!latency && !misses) throw wrong(text, `it limits nothing: state a latency or misses, ${form}`);
  if (latency && misses) checkBoth(text, latency, misses);
  return { ...(latency ? { latency } : {}), ...(misses ? { misses } : {}) };
}

function latencyOf(text: string, found: ReadonlyMap<string, string>): ScaleObjective["latency"] {
  const value = found.get("latency");
  if (value === undefined) return undefined;
  const percent = Number(found.get("quantile"));
  if (!(percent >= 50 && percent <= 99.9)) {
    throw wrong(text, `p${found.get("quantile") ?? ""} is out of range: p50 to p99.9`);
  }
  const withinMs = milliseconds(value);
  if (withinMs === undefined) throw wrong(text, `'${value}' is no time: 1ms to 3600s`);
  return { ratio: Number((percent / 100).toFixed(6)), withinMs };
}

function missesOf(
  text: string,
  found: ReadonlyMap<string, string>,
  latency: ScaleObjective["latency"],
): ScaleObjective["misses"] {
  const value = found.get("misses");
  const stated = found.get("deadline");
  if (value === undefined) {
    if (stated !== undefined) throw wrong(text, "a deadline without misses limits nothing: add misses=1%");
    return undefined;
  }
  const [, digits] = /^(\d{1,2}(?:\.\d{1,4})?)%$/.exec(value) ?? [];
  const ratio = Number(digits) / 100;
  if (!(ratio >= 0.0001 && ratio <= 0.5)) {
    throw wrong(text, `misses=${value} is out of range: 0.01% to 50%; no number of endpoints promises 0%`);
  }
  const deadlineMs = stated === undefined ? latency?.withinMs : milliseconds(stated);
  if (deadlineMs === undefined) {
    throw wrong(text, stated === undefined ? `misses needs a deadline, ${form}` : `'${stated}' is no time`);
  }
  return { ratio, deadlineMs };
}

/** Refuses two limits of which one decides alone: that is probably a mistake. */
function checkBoth(
  text: string,
  latency: NonNullable<ScaleObjective["latency"]>,
  misses: NonNullable<ScaleObjective["misses"]>,
): void {
  const allowed = 1 - latency.ratio;
  const percent = (ratio: number): string => `${Number((100 * ratio).toPrecision(4))} %`;
  if (
    misses.deadlineMs <= latency.withinMs &&
    misses.ratio <= allowed &&
    misses.deadlineMs < latency.withinMs
  ) {
    throw wrong(
      text,
      `the limits contradict each other: ${percent(allowed)} may be later than ${latency.withinMs} ms, but only ${percent(misses.ratio)} later than ${misses.deadlineMs} ms`,
    );
  }
  if (misses.deadlineMs >= latency.withinMs && misses.ratio >= allowed) {
    throw wrong(
      text,
      `misses=${percent(misses.ratio)} after ${misses.deadlineMs} ms follows from ${percent(allowed)} after ${latency.withinMs} ms: leave it out, or state fewer misses or a shorter deadline`,
    );
  }
}
