import type { Row } from "./play.ts";
import type { SceneOutcome } from "./run-scenes.ts";

/** How the demonstration was set up, for its JSON. */
export interface DemoSetup {
  readonly seed: number;
  /** The number for each scene, if one was given; null when each scene had its own. */
  readonly requests: number | null;
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  readonly tookMs: number;
}

/** The outcome as stable JSON: unknown figures are null. */
export function demoJson(outcomes: readonly SceneOutcome[], setup: DemoSetup): unknown {
  return {
    demo: "one-store",
    setup,
    lostRequests: outcomes.flatMap(({ rows }) => rows).filter(({ failed }) => failed !== undefined).length,
    scenes: outcomes.map(({ scene, links, rows, fixed, realCrowd }) => ({
      scene: scene.name,
      title: scene.title,
      model: scene.model,
      compares: scene.compares ?? "time",
      links,
      requests: rows.map(plain),
      always: Object.fromEntries(fixed.map((run) => [run.endpoint, run.rows.map(plain)])),
      realCrowd: realCrowd.map(plain),
    })),
  };
}

function plain(row: Row): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(row).map(([key, value]) => [
      key,
      typeof value === "number" && !Number.isFinite(value) ? null : (value as unknown),
    ]),
  );
}
