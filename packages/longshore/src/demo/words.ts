import { mean } from "@longshore/lab";
import { byteCount, milliseconds, table } from "../options/io.ts";
import type { Row } from "./play.ts";
import { figureOf, type FixedRun, type SceneOutcome } from "./run-scenes.ts";
import type { Scene } from "./scenes.ts";

/** Millijoules for people: `1.24 J`. */
export function joules(millijoules: number): string {
  if (millijoules === 0) return "0 J";
  return Number.isFinite(millijoules) ? `${(millijoules / 1000).toFixed(millijoules < 100 ? 3 : 2)} J` : "-";
}

/** The list of scenes. */
export function sceneList(scenes: readonly Scene[]): string {
  return table(
    ["scene", "what is the matter"],
    scenes.map(({ name, title }) => [name, title]),
  );
}

/** One line for each request of a scene. */
export function rowsTable(rows: readonly Row[]): string {
  return table(
    ["", "input", "where", "predicted", "took", "sent", "energy", "answer", "happened"],
    rows.map((row, index) => [
      String(index + 1),
      row.input.replace(/^.*\//, ""),
      row.failed === undefined ? row.where : `failed: ${row.failed}`,
      milliseconds(row.predictedMs),
      milliseconds(row.tookMs),
      byteCount(row.sentBytes),
      `${joules(row.millijoules)} ${row.energyLabel === "measured" ? "m" : "e"}`,
      row.answer,
      row.happened,
    ]),
  );
}

/** The figure that a scene compares, in its unit. */
export function figureWords(scene: Scene, rows: readonly Row[]): string {
  const figure = figureOf(scene, rows);
  if (!Number.isFinite(figure)) {
    const row = rows.find(({ failed }) => failed !== undefined);
    // A scene without that endpoint is no failure of it.
    if (row?.failed === "no-endpoint" && row.input === "") return "-";
    return row ? `failed (${row.failed})` : "failed";
  }
  if (scene.compares === "energy") return joules(figure);
  return scene.compares === "accuracy" ? `${(100 - figure).toFixed(1)} % right` : milliseconds(figure);
}

/** Where the requests of a scene ran and how many of them, most first. */
function counted(rows: readonly Row[]): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const { failed, where } of rows) {
    const way = failed === undefined ? where : `failed: ${failed}`;
    counts.set(way, (counts.get(way) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** The same in words: `edge x4; device x2`. */
export function endpoints(rows: readonly Row[]): string {
  const all = counted(rows);
  return all.map(([where, count]) => (all.length === 1 ? where : `${where} x${count}`)).join("; ");
}

/** The same without the other attempts and the codecs of crossings, for narrow tables. */
export function endpointsInShort(rows: readonly Row[]): string {
  return endpoints(
    rows.map((row) => ({ ...row, where: row.where.replace(/;.*$/, "").replaceAll(/ \([^)]*\)/g, "") })),
  );
}

/** Why the requests went where most of them did, in the planner's words; why the first failed where most did. */
export function mainReason(rows: readonly Row[]): string {
  const [main] = counted(rows)[0] ?? [];
  return (
    rows.find(({ failed, where }) => failed === undefined && where === main)?.because ??
    rows[0]?.failure ??
    ""
  );
}

/** The endpoint that is best if all requests go to one; undefined without any. */
function bestFixed({ scene, fixed }: SceneOutcome): FixedRun | undefined {
  return [...fixed].sort((a, b) => figureOf(scene, a.rows) - figureOf(scene, b.rows))[0];
}

/** Why ours is worse than the best single endpoint, in a sentence; undefined if it is not, or if a request failed. */
export function whyWorse(outcome: SceneOutcome): string | undefined {
  const { scene, rows } = outcome;
  const best = bestFixed(outcome);
  const figure = figureOf(scene, rows);
  if (!best || !Number.isFinite(figure) || figure <= figureOf(scene, best.rows)) return undefined;
  const elsewhere = rows.filter(({ where }) => where !== best.endpoint);
  if (elsewhere.length === 0)
    return `Always ${best.endpoint} is the same choice: the two runs differ by other work on this machine.`;
  const hit = elsewhere.find(({ happened }) => happened !== "");
  if (hit)
    return `Always ${best.endpoint} is better here, as it was not concerned: ${hit.happened}, which no choice can know before.`;
  const predicted = milliseconds(mean(elsewhere.map(({ predictedMs }) => predictedMs)));
  const took = milliseconds(mean(elsewhere.map(({ tookMs }) => tookMs)));
  return `Always ${best.endpoint} is better here: ${elsewhere.length} of ${rows.length} requests ran elsewhere, where ${predicted} were predicted on average and ${took} taken.`;
}

/** The outcome of a scene, in a sentence, and why it is worse than the best single endpoint, if it is. */
export function sentence(outcome: SceneOutcome): string {
  const { scene, rows } = outcome;
  const lost = rows.filter(({ failed }) => failed !== undefined).length;
  const best = bestFixed(outcome);
  const why = whyWorse(outcome);
  const single =
    best && Number.isFinite(figureOf(scene, best.rows))
      ? `the best single endpoint is ${best.endpoint} with ${figureWords(scene, best.rows)}`
      : "no single endpoint answers every request";
  const answers = lost === 0 ? "no request was lost" : `${lost} of ${rows.length} requests were lost`;
  return `Ran on ${endpoints(rows)}: ${figureWords(scene, rows)}; ${single}; ${answers}.${why === undefined ? "" : ` ${why}`}`;
}

/** Everything about a scene. */
export function sceneText(outcome: SceneOutcome): string {
  const { scene, links, rows, realCrowd } = outcome;
  return [
    `== ${scene.name}: ${scene.title}`,
    scene.story,
    ...(links.length > 0 ? [`links      ${links.join("; ")}`] : []),
    rowsTable(rows),
    `because    ${mainReason(rows)}`,
    ...(realCrowd.length > 0
      ? [
          `really     ${realCrowd.length} requests at once, on the real clock: ${endpoints(realCrowd)}, mean ${milliseconds(mean(realCrowd.map((row) => row.tookMs)))}`,
        ]
      : []),
    `result     ${sentence(outcome)}`,
  ].join("\n");
}

/** The comparison of all scenes with each endpoint alone. */
export function comparisonTable(outcomes: readonly SceneOutcome[]): string {
  return table(
    ["scene", "ours", "where", "always device", "always edge", "always cloud", "answers right"],
    outcomes.map(({ scene, rows, fixed }) => [
      scene.name,
      figureWords(scene, rows),
      endpointsInShort(rows),
      ...fixed.map((run) => figureWords(scene, run.rows)),
      `${(100 * mean(rows.map((row) => row.rightRatio))).toFixed(1)} %`,
    ]),
  );
}
