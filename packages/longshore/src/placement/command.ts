import { type Call, LongshoreError, type Tensors } from "@longshore/core";
import { housekeepingCall, totalBytes } from "@longshore/core/internal";
import { chainMeasures, graphCosts, type SplitAnswer } from "@longshore/graph";
import { byteCount, type CommandIo, type ExitCode } from "../options/io.ts";
import type { OpenedFile } from "../engine/open-file.ts";
import type { OpenedModel } from "../engine/open-model.ts";
import { placementFigures } from "./describe-placement.ts";
import {
  bestPlacement,
  type PlacementProblem,
  type Shortfall,
  whyImpossible,
  wholePlacements,
} from "./find-placement.ts";
import { placementGoal, placementLimits, type NamedLimit } from "./goals.ts";
import type { PlacementOptions } from "./options.ts";
import { pinsOf } from "./pins.ts";
import { devicePower, hopFacts, endpointsOf } from "./endpoints.ts";
import { placementText, valueText } from "./print-placement.ts";
import { timesOf } from "./profile-of.ts";

/**
 * Finds the best placement of a graph on the device and one or two other endpoints, proves it or says by how much it may not be
 * the best, and shows what all on one endpoint would be. Exit code 1 when no placement keeps the limits.
 */
export async function findPlacement(
  opened: OpenedModel,
  file: OpenedFile,
  given: Tensors | undefined,
  options: PlacementOptions & { readonly goal: string; readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const endpoints = await endpointsOf(options);
  const { split, table } = file.graph;
  const { ids } = endpoints;
  const call: Call = housekeepingCall("split", io.stop);
  // Before any measurement: wrong names and goals are reported at once.
  pinsOf(
    split,
    split.names.map(() => true),
    options.keep,
    ids,
  );
  placementGoal(options, emptyMeasures, { nodes: 0, tensors: [] }, ids.length);
  const model = opened.model ?? "";
  const { profile, bucket, inputs } = await timesOf({ ...opened, model }, options.profile, given, io, call);
  const costs = graphCosts(split, table, bucket.cuts, inputs);
  const answerBytes = split.dag.tensors.reduce(
    (sum, { kept }, index) => sum + (kept ? (costs.tensorBytes[index] ?? 0) : 0),
    0,
  );
  const chain = chainMeasures({
    dag: split.dag,
    tiers: endpoints.speeds.map((speed, tier) => ({
      nodeMs: costs.nodeMs.map((ms) => ms / speed),
      spread: costs.spread,
      microsPerSecond: endpoints.microsPerSecond[tier] ?? 0,
    })),
    hops: hopFacts(endpoints, totalBytes(inputs), answerBytes),
    tensorBytes: costs.tensorBytes,
    nodeBytes: costs.nodeBytes,
    ...devicePower(endpoints),
  });
  // The radio's energy for the answer is the same for every placement that leaves the device.
  const answerMillijoules = endpoints.radio.downMillijoulesPerMegabit * 8e-6 * answerBytes;
  const energy = chain.deviceMillijoules;
  const measures = {
    ...chain,
    deviceMillijoules: {
      ...energy,
      hops: energy.hops.map((sum, hop) => (hop === 0 ? sum + answerMillijoules : sum)),
    },
  };
  const question: PlacementProblem = {
    dag: split.dag,
    tiers: ids.length,
    measures,
    goal: placementGoal(options, measures, split.dag, ids.length),
    limits: placementLimits(options, measures, split.dag, ids.length),
    pins: pinsOf(split, costs.canTravel, options.keep, ids),
  };
  const answer = bestPlacement(question);
  if (!answer) throw impossible(question);
  const figures = placementFigures(answer, split, table, measures, costs.tensorBytes, ids);
  const wholes = wholePlacements(question).map(({ tier, ...rest }) => ({
    endpoint: ids[tier] ?? "",
    ...rest,
  }));
  const report = {
    model: file.path,
    digest: profile.digest,
    goal: question.goal.name,
    unit: question.goal.unit,
    value: answer.value,
    exact: answer.exact,
    bound: answer.bound,
    gapRatio: gapOf(answer),
    ...figures,
    wholes,
    measuredOn: profile.measuredOn,
    measuredCuts: costs.measuredCuts,
  };
  io.out(options.json ? JSON.stringify(report) : placementText(report));
  return 0;
}

const emptyMeasure = { nodes: [], tensors: [], hops: [] };
/** Measures of nothing, for reading a goal before there are any. */
const emptyMeasures = {
  meanMs: emptyMeasure,
  outcomesMs: [emptyMeasure],
  deviceMillijoules: emptyMeasure,
  costMicros: emptyMeasure,
  disagreement: emptyMeasure,
  stagesMs: [emptyMeasure],
  deviceBytes: emptyMeasure,
};

function gapOf({ value, bound, exact }: SplitAnswer): number {
  return exact || value <= 0 ? 0 : (value - bound) / value;
}

function surely({ inTimeRatio }: NamedLimit): string {
  return inTimeRatio === undefined
    ? "in the mean"
    : `in ${Number((100 * inTimeRatio).toPrecision(6))} of 100 cases`;
}

/** That nothing keeps the limits, and which. */
function impossible(question: PlacementProblem): LongshoreError {
  const { alone, together } = whyImpossible(question);
  const amount = (value: number, unit: Shortfall["limit"]["unit"]): string =>
    unit === "bytes" ? byteCount(value) : valueText(value, unit);
  const words = (shortfalls: readonly Shortfall[]): string =>
    shortfalls
      .map(
        ({ limit, least }) =>
          `--${limit.flag} ${limit.atMost} (the least is ${amount(least, limit.unit)}${limit.flag === "deadline" ? `, ${surely(limit)}` : ""})`,
      )
      .join(", ");
  const flags = question.limits.map(({ flag }) => `--${flag}`).join(" and ");
  return new LongshoreError(
    "no-endpoint",
    "resolve",
    alone.length > 0
      ? `no placement keeps ${words(alone)}`
      : together.length > 0
        ? `each limit can be kept, but no placement was found that keeps ${flags} together; with the others kept: ${words(together)}`
        : `each limit can be kept, but no placement was found that keeps ${flags} together`,
  );
}
