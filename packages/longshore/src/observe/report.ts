import type { WayFigures } from "@longshore/lab";
import { byteCount, milliseconds, table } from "../options/io.ts";
import type { FiguresOfModel } from "./observed.ts";
import type { WhatIf } from "./what-if.ts";

const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`;

/** The observed requests, a line for each model. */
export function figuresText(models: readonly FiguresOfModel[]): string {
  return table(
    [
      "model",
      "requests",
      "failed",
      "clients",
      "per second",
      "sent",
      "answer",
      "p50",
      "p95",
      "at once",
      "alone",
    ],
    models.map((one) => [
      one.model,
      String(one.requests),
      String(one.failed),
      String(one.clients),
      one.requestsPerSecond.toPrecision(2),
      byteCount(one.requestBytes),
      byteCount(one.replyBytes),
      milliseconds(one.tookP50Ms),
      milliseconds(one.tookP95Ms),
      one.meanInFlight.toFixed(2),
      milliseconds(one.runMs),
    ]),
  );
}

/** The ways that are worth telling, in words. */
const names: Readonly<Record<string, string>> = {
  longshore: "longshore",
  "always the device": "device",
  "always edge": "edge",
  "always server": "server, best coding",
};
const nowName = "server, as now";

interface Told {
  readonly name: string;
  readonly figures: WayFigures;
}

function toldWays({ ways, asNow }: WhatIf): readonly Told[] {
  const told = ways.flatMap(({ name: way, figures }) => {
    const name = names[way];
    return name === undefined || figures === asNow ? [] : [{ name, figures }];
  });
  return asNow ? [...told, { name: nowName, figures: asNow }] : told;
}

function savedText(ways: readonly Told[]): string {
  const of = (wanted: string): WayFigures | undefined => ways.find(({ name }) => name === wanted)?.figures;
  const [ours, now] = [of("longshore"), of(nowName)];
  if (!ours || !now) return "";
  const saved = 1 - ours.meanMs / now.meanMs;
  const times = `${milliseconds(ours.meanMs)} on the mean instead of ${milliseconds(now.meanMs)}`;
  const at = `${percent(ours.awayRatio)} of the answers with a part of another endpoint, ${byteCount(ours.meanSentBytes)} sent for each instead of ${byteCount(now.meanSentBytes)}`;
  return saved >= 0.02
    ? `Offloading would have saved ${percent(saved)} of the time: ${times}; ${at}.`
    : `Offloading would have saved nothing to speak of: ${times}; ${at}.`;
}

/** The results of replays, for people. `supposed` says for which devices. */
export function whatIfText(one: WhatIf, supposed: string): string {
  const { figures, profiled, replayed, crowdRatio } = one;
  const ways = toldWays(one);
  const rows = ways.map(({ name, figures: told }) => [
    name,
    milliseconds(told.meanMs),
    milliseconds(told.p95Ms),
    `${told.meanMillijoules.toFixed(0)} mJ`,
    byteCount(told.meanSentBytes),
    percent(told.awayRatio),
    String(told.missed),
  ]);
  return [
    `${figures.model}: ${supposed}`,
    `  ${savedText(ways)}`,
    ...table(["way", "mean", "p95", "device energy (est.)", "sent", "away", "failed"], rows)
      .split("\n")
      .map((line) => `  ${line}`),
    `  Replayed: ${replayed} requests of the busiest client, as of one device; others keep ${percent(crowdRatio)} of the server busy.`,
    `  A run at the server alone: ${milliseconds(figures.runMs)} (${figures.runFrom}). ${
      profiled
        ? "Parts and codings as in the profile of the package, its sizes included; as now: in the bytes that were seen."
        : "No profile: the model runs whole, here or there (give --models, and 'longshore profile MODEL --write')."
    }`,
  ].join("\n");
}

/** The same for a script. */
export function whatIfJson(one: WhatIf): Record<string, unknown> {
  const { figures, profiled, replayed, crowdRatio } = one;
  return {
    ...figures,
    profiled,
    replayed,
    crowdRatio,
    ways: toldWays(one).map(({ name: way, figures: told }) => ({ way, ...told })),
  };
}
