import type { ProfileMachine } from "@longshore/core";
import { byteCount, milliseconds, table } from "../options/io.ts";
import type { PlacementFigures } from "./describe-placement.ts";
import type { NamedGoal } from "./goals.ts";

/** Everything that is known of the best placement. */
export interface PlacementReport extends PlacementFigures {
  readonly model: string;
  readonly goal: string;
  readonly unit: NamedGoal["unit"];
  readonly value: number;
  readonly exact: boolean;
  readonly bound: number;
  readonly gapRatio: number;
  readonly wholes: readonly {
    readonly endpoint: string;
    readonly value: number;
    readonly breaks: readonly string[];
  }[];
  readonly measuredOn: ProfileMachine;
  readonly measuredCuts: number;
}

/** Most tensors of one crossing that are named. */
const mostNamed = 6;

/** A value in its unit. */
export function valueText(value: number, unit: NamedGoal["unit"]): string {
  if (unit === "ms") return milliseconds(value);
  if (unit === "missRatio") return `${(100 * (1 - value)).toFixed(1)} % in time`;
  const digits = value === 0 ? "0" : value < 10 ? value.toPrecision(3) : value.toFixed(1);
  return unit === "weighted" ? digits : `${digits} ${unit}`;
}

/** The placement for people. */
export function placementText(report: PlacementReport): string {
  const { stages, passages, wholes, unit, goal } = report;
  const value = (one: number): string =>
    goal === "throughput" ? `${(1000 / one).toPrecision(3)} a second` : valueText(one, unit);
  const rows = stages.flatMap(({ endpoint, nodes, ms }, tier) => {
    const passage = passages[tier];
    const named = passage?.tensors.slice(0, mostNamed).map(({ name }) => name) ?? [];
    const more = (passage?.tensors.length ?? 0) - named.length;
    return [
      [endpoint, nodes === 1 ? "1 node" : `${nodes} nodes`, "", milliseconds(ms)],
      ...(passage
        ? [
            [
              `> ${passage.to}`,
              `${passage.cut === null ? "" : `${passage.cut}: `}${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`,
              byteCount(passage.bytes),
              milliseconds(passage.ms),
            ],
            ["", "round trip, answer", "", milliseconds(passage.answerMs)],
          ]
        : []),
    ];
  });
  return [
    `${report.model}, goal ${goal}: ${value(report.value)}, ${proofText(report, value)}`,
    table(["endpoint", "what", "bytes", "time"], rows),
    `mean ${milliseconds(report.meanMs)}, p95 ${milliseconds(report.p95Ms)}; device ${valueText(report.deviceMillijoules, "mJ")}, ${byteCount(report.deviceBytes)} of weights; ${valueText(report.costMicros, "micros")}; busiest stage ${milliseconds(report.busiestMs)}`,
    table(
      ["all on", goal, ""],
      wholes.map(({ endpoint, value: whole, breaks }) => [
        endpoint,
        value(whole),
        breaks.length === 0 ? "" : `does not keep ${breaks.map((flag) => `--${flag}`).join(", ")}`,
      ]),
    ),
    `times measured on ${report.measuredOn.description} (${report.measuredOn.runtime}), at ${report.measuredCuts} ${report.measuredCuts === 1 ? "cut" : "cuts"} inside; between them shared out by calculated work. Tensors travel as they are`,
  ].join("\n");
}

function proofText({ exact, gapRatio, bound }: PlacementReport, value: (one: number) => string): string {
  if (exact) return "proved the best for these costs";
  return `not proved: nothing is better than ${value(bound)} (gap ${(100 * gapRatio).toFixed(2)} %)`;
}
