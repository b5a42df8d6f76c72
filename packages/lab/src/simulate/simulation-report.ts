import {
  barsPlot,
  cdfPlot,
  htmlReport,
  type Plot,
  type PointSeries,
  type ReportSection,
  type ReportTable,
  timelinePlot,
} from "../report/index.ts";
import { packetBytes, inEvenSteps, type Trace } from "../trace/index.ts";
import type { Limits } from "@longshore/core";
import { objectiveOf, timeOf } from "./figures.ts";
import type { SimulatedWay } from "./simulation.ts";

/** One replay with its result. */
export interface SimulatedRun {
  /** The replayed trace and arrivals. */
  readonly name: string;
  readonly ways: readonly SimulatedWay[];
  readonly limits: Limits;
  readonly notCounted: number;
  /** The links whose capacity the report draws, with the endpoint that each leads to. */
  readonly links: readonly { readonly endpoint: string; readonly up: Trace }[];
}

/** The most plans drawn separately in a timeline. The others are drawn as one. */
const mostPlans = 7;
/** The shortest step of a plotted rate, in milliseconds. */
const rateStepMs = 1000;
/** Points of a line over many requests. */
const mostPoints = 400;

const units: Readonly<Record<string, string>> = { energy: "mJ", cost: "micros", chance: "late" };

/** Of a sum with weights it is the sum. */
function unitOf({ objective = "latency" }: Limits): string {
  return units[objective] ?? (objective.includes("=") || objective.includes(",") ? "sum" : "ms");
}

/** The table of all ways of a run. */
export function waysTable({ ways, limits }: SimulatedRun): ReportTable {
  const unit = unitOf(limits);
  return {
    kind: "table",
    columns: [
      "",
      "plan",
      `${unit} / oracle`,
      "mean ms",
      "p50",
      "p95",
      "p99",
      "missed",
      "away",
      "extra",
      "mJ",
      "kB sent",
    ],
    rows: ways.map(({ name, plan, figures }) => [
      name,
      plan ?? "changes",
      // Its value, if the oracle's is 0.
      figures.vsOracle?.toFixed(3) ?? `${figures.objective.toFixed(3)} / 0`,
      figures.meanMs,
      figures.p50Ms,
      figures.p95Ms,
      figures.p99Ms,
      figures.missed,
      `${Math.round(100 * figures.awayRatio)} %`,
      `${Math.round(100 * figures.extraRatio)} %`,
      figures.meanMillijoules,
      figures.meanSentBytes / 1000,
    ]),
    highlight: [0],
  };
}

/** The choices of one way over time: a dot for each request, a colour for each plan. */
function choices({ rows }: SimulatedWay, limits: Limits): Plot {
  const counts = new Map<string, number>();
  for (const { plan, outcome } of rows) {
    if (outcome === "answered") counts.set(plan, (counts.get(plan) ?? 0) + 1);
  }
  const names = [...counts].sort(([, a], [, b]) => b - a).map(([name]) => name);
  const own = new Set(names.slice(0, names.length > mostPlans ? mostPlans - 1 : mostPlans));
  const series = new Map<string, [number, number][]>([...own].map((name) => [name, []]));
  for (const row of rows) {
    const name = row.outcome !== "answered" ? "missed" : own.has(row.plan) ? row.plan : "others";
    const points = series.get(name) ?? [];
    points.push([row.atMs / 1000, timeOf(row, limits) ?? row.tookMs]);
    series.set(name, points);
  }
  return timelinePlot(
    [...series].map(([name, points]): PointSeries => ({ name, points })),
    {
      x: "seconds",
      y: "ms (logarithmic)",
      logarithmicY: true,
      ...(limits.deadlineMs === undefined ? {} : { mark: { at: limits.deadlineMs, name: "deadline" } }),
    },
  );
}

/** The loss of each way against the oracle up to a moment, in units of the objective. */
function regret({ ways, limits, notCounted }: SimulatedRun): Plot {
  const best = ways.find(({ kind }) => kind === "oracle")?.rows ?? [];
  const series = ways
    .filter(({ kind }) => kind !== "oracle")
    .map(({ name, rows }): PointSeries => {
      const points: [number, number][] = [];
      let lost = 0;
      const counted = rows.slice(notCounted);
      const stride = Math.max(1, Math.ceil(counted.length / mostPoints));
      for (const [index, row] of counted.entries()) {
        const own = objectiveOf(row, limits);
        const least = objectiveOf(best[row.index] ?? row, limits);
        if (own !== undefined && least !== undefined) lost += own - least;
        if (index % stride === 0 || index === counted.length - 1) points.push([row.atMs / 1000, lost / 1000]);
      }
      return { name, points, draw: "line" };
    });
  const unit =
    { ms: "s", mJ: "J", micros: "thousands of micros", late: "thousands" }[unitOf(limits)] ?? "thousands";
  return timelinePlot(series, { x: "seconds", y: `lost to the oracle, ${unit}` });
}

function rates({ links, ways }: SimulatedRun): Plot {
  const lastMs = Math.max(...ways.flatMap(({ rows }) => rows.map(({ atMs, tookMs }) => atMs + tookMs)));
  return timelinePlot(
    links.map(({ endpoint, up }) => ({
      name: `to ${endpoint}`,
      points: ratePoints(up, lastMs),
      draw: "steps",
    })),
    { x: "seconds", y: "uplink, Mbit/s" },
  );
}

function ratePoints(trace: Trace, untilMs: number): readonly [number, number][] {
  const stepMs = Math.max(rateStepMs, untilMs / mostPoints);
  const steps = inEvenSteps(trace, Math.min(stepMs, trace.lengthMs));
  const points: [number, number][] = [];
  for (let atMs = 0; atMs < untilMs; atMs += stepMs) {
    const packets = steps.positionAt(atMs + stepMs) - steps.positionAt(atMs);
    points.push([atMs / 1000, (packets * packetBytes * 8) / stepMs / 1000]);
  }
  return points;
}

function section(run: SimulatedRun): ReportSection {
  const { ways, limits, notCounted } = run;
  // The oracle last, so that each way has the same colour in all plots: the others go without it.
  const took = [...ways]
    .sort((a, b) => Number(a.kind === "oracle") - Number(b.kind === "oracle"))
    .map(({ name, rows }) => ({
      name,
      values: rows.slice(notCounted).map((row) => timeOf(row, limits) ?? Infinity),
    }));
  const mark = limits.deadlineMs === undefined ? {} : { mark: { at: limits.deadlineMs, name: "deadline" } };
  const [ours] = ways;
  const best = ways.find(({ kind }) => kind === "oracle");
  return {
    title: run.name,
    content: [
      waysTable(run),
      {
        kind: "text",
        text: "The first column of figures is the objective over the oracle's; away: another endpoint had a part; extra: a leg ran in vain. Share of requests answered within a time:",
      },
      cdfPlot(took, { x: "milliseconds", logarithmicX: true, ...mark }),
      { kind: "text", text: "What Longshore chose for each request, and how long it took." },
      ...(ours ? [choices(ours, limits)] : []),
      { kind: "text", text: "What the oracle chose." },
      ...(best ? [choices(best, limits)] : []),
      ...(run.links.length > 0
        ? [{ kind: "text", text: "What the links could carry." } as const, rates(run)]
        : []),
      { kind: "text", text: "Regret: what each way has lost against the oracle since the beginning." },
      regret(run),
    ],
  };
}

/** The report of one or several replays as one HTML file. */
export function simulationReport(runs: readonly SimulatedRun[], footer: string): string {
  const [first] = runs;
  const names = first?.ways.filter(({ kind }) => kind !== "oracle").map(({ name }) => name) ?? [];
  const requests = runs.reduce((sum, { ways }) => sum + (ways[0]?.figures.counted ?? 0), 0);
  const bars = barsPlot(
    runs.map(({ name, ways }) => ({
      name,
      values: names.map((wanted) => ways.find((way) => way.name === wanted)?.figures.vsOracle ?? NaN),
    })),
    names,
    { x: `${unitOf(first?.limits ?? {})} over the oracle's`, mark: { at: 1, name: "oracle" } },
  );
  return htmlReport({
    title: "Where each inference should have run",
    lead: `${requests} requests in ${runs.length} ${runs.length === 1 ? "replay" : "replays"}, decided by the planner, beliefs and guards that run in production, on a virtual clock. Network, endpoints and service times are simulated.`,
    sections: [{ title: "Beside the oracle", content: [bars] }, ...runs.map(section)],
    footer,
  });
}
