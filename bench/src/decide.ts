/** `bench decide`: guarded decisions on recorded uplinks, beside what others do and the oracle. Rules in `replay.ts` of lab. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  allLocal,
  barsPlot,
  cdfPlot,
  comparePolicies,
  hedgeAt,
  htmlReport,
  lastRate,
  linkShapes,
  oracle,
  orderedFallback,
  ours,
  type PolicyRow,
  readMahimahi,
  replay,
  type ReplaySetting,
  type ReportTable,
  scorePolicies,
  smoothedRate,
  syntheticTrace,
  type Trace,
} from "@longshore/lab";
import type { Bench } from "./harness.ts";

const policies = [
  orderedFallback,
  lastRate,
  smoothedRate,
  () => smoothedRate(1.2),
  () => hedgeAt(0),
  () => hedgeAt(0.5),
  () => hedgeAt(1),
  ours,
];

/** Uplinks, and downlinks replayed as uplinks (named so): on the latter nothing was tuned. */
function tracesOf(
  data: string | undefined,
  seed: number,
): { readonly traces: readonly Trace[]; readonly notRun: readonly string[] } {
  const folder = data && join(data, "traces/lte-mahimahi");
  if (!folder || !existsSync(folder)) {
    const traces = [0, 1].map((more) =>
      syntheticTrace(linkShapes.stalling, seed + more, 180_000, "stalling uplink"),
    );
    return { traces, notRun: ["recorded uplinks: no data folder (--data DIR); synthetic ones stand in"] };
  }
  const traces = readdirSync(folder)
    .filter((name) => /\.(?:up|down)$/.test(name))
    .sort()
    .map((name) =>
      readMahimahi(
        name.endsWith(".down") ? `${name} as uplink` : name,
        readFileSync(join(folder, name), "utf8"),
      ),
    );
  return { traces, notRun: [] };
}

function settingsOf(trace: Trace): readonly ReplaySetting[] {
  return [20_000, 150_000, 600_000].flatMap((requestBytes) =>
    [100, 400].flatMap((localMs) =>
      [20, 50].map((roundTripMs) => ({
        trace,
        requestBytes,
        localMs,
        serverMs: 15,
        roundTripMs,
        arrivals: 500,
      })),
    ),
  );
}

const three = (value: number): string => value.toFixed(3);

function scoreTable(rows: readonly PolicyRow[]): ReportTable {
  const scores = scorePolicies(rows);
  return {
    kind: "table",
    columns: [
      "policy",
      "worst mean/oracle",
      "average",
      "worst p99/local",
      "worst extra runs",
      "worst mean/local",
      "harm elsewhere",
    ],
    rows: scores.map((score) => [
      score.policy,
      three(score.worstMeanVsOracle),
      three(score.averageMeanVsOracle),
      score.worstP99VsLocal.toFixed(2),
      three(score.worstExtraRatio),
      three(score.worstMeanVsLocal),
      three(score.worstHarmRatio),
    ]),
    highlight: [scores.findIndex(({ policy }) => policy === "ours")],
  };
}

function print(table: ReportTable, say: (line: string) => void): void {
  const lines = [table.columns, ...table.rows].map((row) => row.map(String));
  const widths = table.columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  for (const line of lines)
    say(
      `  ${line.map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0))).join("  ")}`,
    );
}

/** The report as one page: scores, a row for each setting of ours, and the tail on one telling uplink. */
function page(rows: readonly PolicyRow[], traces: readonly Trace[], footer: string): string {
  const own = rows.filter(({ policy, scored }) => policy === "ours" && scored);
  const trace = traces.find(({ name }) => name.startsWith("TMobile-UMTS-driving.up")) ?? traces[0];
  const shown = trace && {
    trace,
    requestBytes: 20_000,
    localMs: 400,
    serverMs: 15,
    roundTripMs: 50,
    arrivals: 500,
  };
  const samples = shown
    ? [allLocal(), smoothedRate(), hedgeAt(0.5), ours(), oracle()].map((policy) => ({
        name: policy.name,
        values: replay(shown, policy).tookMs,
      }))
    : [];
  const names = scorePolicies(rows).filter(
    ({ policy }) => policy !== "all remote" && policy !== "ordered fallback",
  );
  return htmlReport({
    title: "Where to run: decisions on real uplinks",
    lead: "Mean time over the oracle's, tail over the device's own, and how often both sides ran. Rows count where offloading can pay.",
    summary: scoreTable(rows),
    sections: [
      {
        title: "Mean over the oracle's",
        content: [
          barsPlot(
            names.map(({ policy, worstMeanVsOracle, averageMeanVsOracle }) => ({
              name: policy,
              values: [averageMeanVsOracle, worstMeanVsOracle],
            })),
            ["average row", "worst row"],
            { x: "mean / oracle" },
          ),
        ],
      },
      {
        title: shown ? `Times on ${shown.trace.name}, 20 kB, 400 ms here` : "Times",
        content: [
          cdfPlot(samples, { x: "milliseconds", logarithmicX: true, mark: { at: 400, name: "local" } }),
        ],
      },
      {
        title: "Ours, row by row",
        content: [
          {
            kind: "table",
            columns: [
              "trace",
              "kB",
              "local ms",
              "round trip ms",
              "mean ms",
              "mean/oracle",
              "p99/local",
              "extra",
              "sent",
              "probes",
            ],
            rows: own.map((row) => [
              row.trace,
              row.requestBytes / 1000,
              row.localMs,
              row.roundTripMs,
              Math.round(row.meanMs),
              row.meanVsOracle,
              row.p99VsLocal,
              row.extraRatio,
              row.remoteRatio,
              row.probeRatio,
            ]),
          },
        ],
      },
    ],
    footer,
  });
}

export const bench: Bench = {
  name: "decide",
  about:
    "guarded decisions on uplinks: link and device are FIFO, honest sensors for ours, a request every 500 ms",
  bars: {
    worstMeanVsOracle: { atMost: 1.2 },
    averageMeanVsOracle: { atMost: 1.08 },
    worstP99VsLocal: { atMost: 1.4 },
    worstExtraLocalRatio: { atMost: 0.15 },
    worstProbeRatio: { atMost: 0.05 },
  },
  async run({ data, seed, args, say }) {
    const { traces, notRun } = tracesOf(data, seed);
    const rows: PolicyRow[] = [];
    for (const trace of traces) {
      say(`  replaying ${trace.name} (${trace.origin}, ${Math.round(trace.lengthMs / 1000)} s)`);
      for (const setting of settingsOf(trace)) rows.push(...comparePolicies(setting, policies));
    }
    const tuned = rows.filter(({ trace }) => !trace.endsWith("as uplink"));
    say("");
    print(scoreTable(tuned), say);
    if (tuned.length < rows.length) {
      say("\n  downlinks replayed as uplinks, on which nothing was tuned:");
      print(scoreTable(rows.filter(({ trace }) => trace.endsWith("as uplink"))), say);
    }
    const html = args[args.indexOf("--html") + 1];
    if (args.includes("--html") && html)
      writeFileSync(
        html,
        page(tuned, traces, `seed ${seed}; times are simulated from recorded packet opportunities`),
      );
    const own = scorePolicies(tuned).find(({ policy }) => policy === "ours");
    if (!own) throw new Error("no row was replayed");
    return Promise.resolve({
      figures: {
        worstMeanVsOracle: own.worstMeanVsOracle,
        averageMeanVsOracle: own.averageMeanVsOracle,
        worstP99VsLocal: own.worstP99VsLocal,
        worstExtraLocalRatio: own.worstExtraRatio,
        worstMeanVsLocal: own.worstMeanVsLocal,
        worstHarmRatio: own.worstHarmRatio,
        worstProbeRatio: own.worstProbeRatio,
      },
      rows: rows.map((row) => ({ ...row })),
      notRun,
    });
  },
};
