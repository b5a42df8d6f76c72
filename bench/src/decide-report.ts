import { barsPlot, cdfPlot, htmlReport, type ReportTable, type Trace } from "@longshore/lab";
import {
  type ArrivalRow,
  allLocal,
  hedgeAt,
  oracle,
  type PolicyRow,
  replay,
  replayOffloader,
  scorePolicies,
  smoothedRate,
} from "./policy/index.ts";
import { meansVsOracle } from "./decide-arrivals.ts";

const three = (value: number): string => value.toFixed(3);

/** Every policy with its figures over the rows. */
export function scoreTable(rows: readonly PolicyRow[]): ReportTable {
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
    highlight: [scores.findIndex(({ policy }) => policy === "offloader")],
  };
}

const rowColumns = [
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
];

/** The offloader, row by row; those where offloading cannot pay are left out. */
export function ownTable(rows: readonly PolicyRow[]): ReportTable {
  const own = rows.filter(({ policy, scored }) => policy === "offloader" && scored);
  return {
    kind: "table",
    columns: rowColumns,
    rows: own.map((row) => [
      row.trace,
      row.requestBytes / 1000,
      row.localMs,
      row.roundTripMs,
      Math.round(row.meanMs),
      three(row.meanVsOracle),
      row.p99VsLocal.toFixed(2),
      three(row.extraRatio),
      row.remoteRatio.toFixed(2),
      three(row.probeRatio),
    ]),
  };
}

/** Rows of arrivals by their kind. */
export function arrivalTable(rows: readonly ArrivalRow[]): ReportTable {
  const kinds = [...new Set(rows.map(({ arrivals }) => arrivals))];
  return {
    kind: "table",
    columns: [
      "arrivals",
      "rows",
      "mean/oracle",
      "worst",
      "bound/oracle",
      "worst mean/local",
      "worst p99/local",
      "beyond local",
      "second runs",
      "in vain",
      "probes",
    ],
    rows: kinds.map((name) => {
      const own = rows.filter(({ arrivals }) => arrivals === name);
      const { averageMeanVsOracle, worstMeanVsOracle } = meansVsOracle(own);
      const most = (pick: (row: ArrivalRow) => number): number => Math.max(...own.map(pick));
      const pays = own.filter(({ scored }) => scored);
      return [
        name,
        `${pays.length}/${own.length}`,
        three(averageMeanVsOracle),
        three(worstMeanVsOracle),
        three(pays.reduce((sum, row) => sum + row.lowerBoundVsOracle, 0) / Math.max(1, pays.length)),
        three(most((row) => row.meanVsLocal)),
        most((row) => row.p99VsLocal).toFixed(2),
        most((row) => row.beyondLocal).toFixed(1),
        three(most((row) => row.secondRunRatio)),
        three(most((row) => row.inVainRatio)),
        three(most((row) => row.probeRatio)),
      ];
    }),
  };
}

/** Prints a table for people. */
export function print(table: ReportTable, say: (line: string) => void): void {
  const lines = [table.columns, ...table.rows].map((row) => row.map(String));
  const widths = table.columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  const pad = (cell: string, index: number): string =>
    index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0);
  for (const line of lines) say(`  ${line.map(pad).join("  ")}`);
}

/** The report as one page: scores, a row for each setting of the offloader, and the tail on one telling uplink. */
export async function decidePage(
  rows: readonly PolicyRow[],
  traces: readonly Trace[],
  footer: string,
): Promise<string> {
  const trace = traces.find(({ name }) => name.startsWith("TMobile-UMTS-driving.up")) ?? traces[0];
  const shown = trace && {
    trace,
    requestBytes: 20_000,
    localMs: 400,
    serverMs: 15,
    roundTripMs: 50,
    arrivals: 500,
  };
  const results = shown
    ? [
        ...[allLocal(), smoothedRate(), hedgeAt(0.5), oracle()].map((one) => replay(shown, one)),
        await replayOffloader(shown),
      ]
    : [];
  const samples = results.map(({ policy, tookMs }) => ({ name: policy, values: tookMs }));
  const names = scorePolicies(rows).filter(
    ({ policy }) => policy !== "all remote" && policy !== "ordered fallback",
  );
  const means = barsPlot(
    names.map(({ policy, worstMeanVsOracle, averageMeanVsOracle }) => ({
      name: policy,
      values: [averageMeanVsOracle, worstMeanVsOracle],
    })),
    ["average row", "worst row"],
    { x: "mean / oracle" },
  );
  const times = cdfPlot(samples, {
    x: "milliseconds",
    logarithmicX: true,
    mark: { at: 400, name: "local" },
  });
  return htmlReport({
    title: "Where to run: decisions on real uplinks",
    lead: "Mean time over the oracle's, tail over the device's own, and how often both sides ran. Rows count where offloading can pay.",
    summary: scoreTable(rows),
    sections: [
      { title: "Mean over the oracle's", content: [means] },
      {
        title: shown ? `Times on ${shown.trace.name}, 20 kB, 400 ms here` : "Times",
        content: [times],
      },
      { title: "The offloader, row by row", content: [ownTable(rows)] },
    ],
    footer,
  });
}
