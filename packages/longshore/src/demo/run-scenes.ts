import { housekeepingCall } from "@longshore/core/internal";
import { mean } from "@longshore/lab";
import type { Greeting } from "./greet.ts";
import type { OpenedStore } from "./open-store.ts";
import { play, type Ready, type Row } from "./play.ts";
import type { Scene } from "./scenes.ts";
import { type EndpointChoice, linkLabels, openWorld } from "./world.ts";

/** A run with one endpoint only, for comparison. */
export interface FixedRun {
  readonly endpoint: Exclude<EndpointChoice, "any">;
  readonly rows: readonly Row[];
}

/** The outcome of one scene. */
export interface SceneOutcome {
  readonly scene: Scene;
  /** The emulated links, in words. */
  readonly links: readonly string[];
  readonly rows: readonly Row[];
  readonly fixed: readonly FixedRun[];
  /** A real crowd of a few requests at a time beside the one on the clock, where a scene has a crowd. */
  readonly realCrowd: readonly Row[];
}

/** How scenes are run. */
export interface RunOptions {
  readonly requests: number;
  readonly stop: AbortSignal;
  readonly progress: (words: string) => void;
}

const fixedEndpoints = ["device", "edge", "cloud"] as const;
/** The fewest requests of a fixed run: something that happens does so by the second. */
const leastFixed = 2;
/** Requests at a time in the real crowd. */
const realCrowdSize = 4;

/**
 * Plays a scene with all endpoints, then with each endpoint alone. The runs of the same device alone with the same inputs are
 * the same in every scene: they are played once and kept in `alone`.
 */
export async function runScene(
  scene: Scene,
  store: OpenedStore,
  options: RunOptions,
  alone: Map<string, readonly Row[]>,
): Promise<SceneOutcome> {
  const inputs = await store.inputsOf(scene);
  const run = async (choice: EndpointChoice, requests: number): Promise<readonly Row[]> => {
    await using world = await openWorld(scene, choice, store, greetingOf(scene, inputs[0], options.stop));
    return await play({ scene, choice, world, inputs, samples: store.samples, requests, ...pick(options) });
  };
  const rows = await run("any", options.requests);
  const fixed: FixedRun[] = [];
  for (const endpoint of fixedEndpoints) {
    const key = endpoint === "device" ? deviceKey(scene) : undefined;
    const known = key === undefined ? undefined : alone.get(key);
    // All inputs once: inputs differ in size, and a mean over others would be no comparison.
    const round = Math.max(leastFixed, inputs.length);
    const played = known ?? (await run(endpoint, Math.min(round, options.requests)));
    if (key !== undefined) alone.set(key, played);
    fixed.push({ endpoint, rows: played });
  }
  const realCrowd = scene.crowd ? await playCrowd(scene, store, options) : [];
  return { scene, links: linkLabels(scene, store), rows, fixed, realCrowd };
}

/** The first input as a greeting; none where the world changes before the first request, and for sequences. */
function greetingOf(scene: Scene, first: Ready | undefined, stop: AbortSignal): Greeting | undefined {
  if (!first || scene.sequence || scene.happenings?.some(({ at }) => at < 0)) return undefined;
  return {
    model: scene.model,
    inputs: new Map(Object.entries(first.inputs)),
    call: housekeepingCall("greeting", stop),
  };
}

/** Equal for scenes in which the device alone does the same. */
function deviceKey({ model, files, slowness, device, sequence }: Scene): string {
  return JSON.stringify([model, files, slowness ?? 1, device ?? {}, sequence ?? false]);
}

/** A few requests at once without others: the effect of real contention at the scale that this machine can show. */
async function playCrowd(scene: Scene, store: OpenedStore, options: RunOptions): Promise<readonly Row[]> {
  const { crowd: _crowd, ...quiet } = scene;
  const inputs = await store.inputsOf(scene);
  await using world = await openWorld(quiet, "any", store, greetingOf(quiet, inputs[0], options.stop));
  const run = (acquainted: boolean): Promise<readonly Row[]> =>
    play({
      scene: quiet,
      choice: "any",
      world,
      inputs,
      samples: store.samples,
      requests: 1,
      acquainted,
      ...pick(options),
    });
  await run(false);
  return (await Promise.all(Array.from({ length: realCrowdSize }, () => run(true)))).flat();
}

function pick({ stop, progress }: RunOptions): Pick<RunOptions, "stop" | "progress"> {
  return { stop, progress };
}

/** The figure that a scene compares, smaller better, as a mean; Infinity where a request failed. */
export function figureOf(scene: Scene, rows: readonly Row[]): number {
  if (rows.length === 0 || rows.some((row) => row.failed !== undefined)) return Infinity;
  if (scene.compares === "energy") {
    // Stretches of a sequence add up to the whole; single requests are compared by their mean.
    return (scene.sequence ? rows.length : 1) * mean(rows.map((row) => row.millijoules));
  }
  if (scene.compares === "accuracy") return mean(rows.map((row) => 100 * (1 - row.rightRatio)));
  return mean(rows.map((row) => row.tookMs));
}
