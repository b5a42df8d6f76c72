import { writeFile } from "node:fs/promises";
import { setMaxListeners } from "node:events";
import { cpus } from "node:os";
import { LongshoreError } from "@longshore/core";
import { traceFile } from "../options/link-of.ts";
import { demoHtml } from "../demo/html.ts";
import { demoJson } from "../demo/json.ts";
import { openStore } from "../demo/open-store.ts";
import type { Row } from "../demo/play.ts";
import { runScene, type SceneOutcome } from "../demo/run-scenes.ts";
import { requestsOf, type Scene, scenes } from "../demo/scenes.ts";
import { comparisonTable, sceneList, sceneText } from "../demo/words.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";

/** Options of `longshore demo`. */
export interface DemoOptions {
  readonly scene: readonly string[];
  readonly trace?: string;
  readonly requests?: number;
  readonly seed: number;
  readonly html: string;
  readonly json: boolean;
}

/** The named scenes, in the order of the story; all when none was named. */
export function chosenScenes(names: readonly string[]): readonly Scene[] {
  if (names.length === 0) return scenes;
  const unknown = names.find((name) => !scenes.some((scene) => scene.name === name));
  if (unknown !== undefined) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      `there is no scene '${unknown}'; there are ${scenes.map(({ name }) => name).join(", ")}`,
    );
  }
  return scenes.filter(({ name }) => names.includes(name));
}

/** Plays the store's scenes on this machine, prints what happened and writes the report. */
export async function demo(options: DemoOptions, io: CommandIo): Promise<ExitCode> {
  if (options.scene.includes("list")) {
    io.out(
      options.json
        ? JSON.stringify(scenes.map(({ name, title, story }) => ({ name, title, story })))
        : sceneList(scenes),
    );
    return 0;
  }
  // Every leg under way listens to it, and several requests are under way at once.
  setMaxListeners(0, io.stop);
  const startedMs = performance.now();
  const chosen = chosenScenes(options.scene);
  const trace = options.trace === undefined ? undefined : await traceFile(options.trace);
  const progress = (words: string): void => io.progress(words);
  if (!options.json)
    io.note(
      `links are synthetic (seed ${options.seed})${trace ? `, but one is ${trace.name}, recorded` : ""}`,
    );
  await using store = await openStore({ scenes: chosen, seed: options.seed, trace, stop: io.stop, progress });
  if (store.measured.length > 0)
    io.note(`measured here, because there was no profile: ${store.measured.join(", ")}`);
  const outcomes: SceneOutcome[] = [];
  const alone = new Map<string, readonly Row[]>();
  for (const scene of chosen) {
    const outcome = await runScene(
      scene,
      store,
      { requests: requestsOf(scene, options.requests), stop: io.stop, progress },
      alone,
    );
    outcomes.push(outcome);
    if (!options.json) io.out(`${sceneText(outcome)}\n`);
  }
  const tookMs = performance.now() - startedMs;
  const processor = `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} threads`;
  const footer = `Node.js ${process.version}, ${processor}. Device: WebAssembly, one thread; edge and cloud: ONNX Runtime in processes of their own on loopback. Links of synthetic generators, seed ${options.seed}${trace ? `, and the recorded trace ${trace.name}` : ""}. Energy is estimated from run time, bytes and published figures. ${(tookMs / 1000).toFixed(0)} s in all.`;
  await writeFile(options.html, demoHtml(outcomes, footer));
  if (options.json) {
    const setup = {
      seed: options.seed,
      requests: options.requests ?? null,
      node: process.version,
      platform: process.platform,
      processor,
      tookMs,
    };
    io.out(JSON.stringify(demoJson(outcomes, setup)));
  } else {
    io.out(`${comparisonTable(outcomes)}\n`);
    io.note(
      `energy: e = estimated, m = measured. Report: ${options.html}. ${(tookMs / 1000).toFixed(0)} s in all.`,
    );
  }
  return outcomes.every(({ rows }) => rows.every(({ failed }) => failed === undefined)) ? 0 : 1;
}
