import {
  barsPlot,
  htmlReport,
  mean,
  type Plot,
  type ReportSection,
  type ReportTable,
  timelinePlot,
} from "@longshore/lab";
import { byteCount, milliseconds } from "../options/io.ts";
import { figureOf, type SceneOutcome } from "./run-scenes.ts";
import { figureWords, joules, mainReason, endpoints, endpointsInShort, sentence } from "./words.ts";

const legend = ["ours", "always device", "always edge", "always cloud"] as const;

/** Plots show a dash for what failed. */
const shown = (value: number): number => (Number.isFinite(value) ? value : NaN);

function bars(
  title: string,
  outcomes: readonly SceneOutcome[],
  scale: number,
  unit: string,
): Plot | undefined {
  if (outcomes.length === 0) return undefined;
  return barsPlot(
    outcomes.map(({ scene, rows, fixed }) => ({
      name: scene.title,
      values: [figureOf(scene, rows), ...fixed.map((run) => figureOf(scene, run.rows))].map((value) =>
        shown(value * scale),
      ),
    })),
    legend,
    { x: `${title}, ${unit} (-: failed, not allowed, or no such endpoint)` },
  );
}

function comparison(outcomes: readonly SceneOutcome[]): ReportTable {
  return {
    kind: "table",
    columns: ["scene", "ours", "where", "always device", "always edge", "always cloud", "right"],
    rows: outcomes.map(({ scene, rows, fixed }) => [
      scene.title,
      figureWords(scene, rows),
      endpointsInShort(rows),
      ...fixed.map((run) => figureWords(scene, run.rows)),
      `${(100 * mean(rows.map((row) => row.rightRatio))).toFixed(1)} %`,
    ]),
  };
}

function section(outcome: SceneOutcome): ReportSection {
  const { scene, rows, links, realCrowd } = outcome;
  const content: ReportSection["content"][number][] = [
    { kind: "text", text: scene.story },
    { kind: "text", text: `${sentence(outcome)} Because: ${mainReason(rows)}` },
  ];
  if (links.length > 0) content.push({ kind: "text", text: `Links: ${links.join("; ")}.` });
  content.push({
    kind: "table",
    columns: ["", "input", "where", "predicted", "took", "sent", "received", "energy", "answer", "happened"],
    rows: rows.map((row, index) => [
      index + 1,
      row.input.replace(/^.*\//, ""),
      row.failed === undefined ? row.where : `failed: ${row.failed}`,
      milliseconds(row.predictedMs),
      milliseconds(row.tookMs),
      byteCount(row.sentBytes),
      byteCount(row.receivedBytes),
      `${joules(row.millijoules)} (${row.energyLabel})`,
      row.answer,
      row.happened,
    ]),
  });
  if (rows.length > 1 && scene.sequence !== true) {
    content.push(
      timelinePlot(
        [
          { name: "took", points: rows.map((row, index) => [index + 1, row.tookMs] as const), draw: "dots" },
          {
            name: "predicted",
            points: rows.map((row, index) => [index + 1, row.predictedMs] as const),
            draw: "line",
          },
        ],
        { x: "request", y: "ms" },
      ),
    );
  }
  if (realCrowd.length > 0) {
    content.push({
      kind: "text",
      text: `A real run at small scale, ${realCrowd.length} requests at once on the real clock: ${endpoints(realCrowd)}, mean ${milliseconds(mean(realCrowd.map((row) => row.tookMs)))}.`,
    });
  }
  return { title: scene.title, content };
}

/** The report of the demonstration as one HTML file. */
export function demoHtml(outcomes: readonly SceneOutcome[], footer: string): string {
  const of = (what: "time" | "energy" | "accuracy"): readonly SceneOutcome[] =>
    outcomes.filter(({ scene }) => (scene.compares ?? "time") === what);
  const plots = [
    bars("mean time of a request", of("time"), 1, "ms"),
    bars("mean energy of a request on the device (estimated)", of("energy"), 0.001, "J"),
    bars("characters that were read wrong", of("accuracy"), 1, "%"),
  ].filter((plot) => plot !== undefined);
  const lost = outcomes.flatMap(({ rows }) => rows).filter(({ failed }) => failed !== undefined).length;
  const all = outcomes.flatMap(({ rows }) => rows).length;
  return htmlReport({
    title: "One store: where should each inference run?",
    lead: `${outcomes.length} scenes, ${all} requests, ${lost === 0 ? "none" : lost} lost. All networks are emulated on this machine; servers, models and inputs are real.`,
    summary: comparison(outcomes),
    sections: [{ title: "Ours beside each single endpoint", content: plots }, ...outcomes.map(section)],
    footer,
  });
}
