import type { EndpointId, Writable } from "../../words/base/index.ts";
import { type Bet, isDear } from "../estimate/index.ts";
import type { CutId, Segment } from "../../words/model/index.ts";
import { isThrifty } from "../goal/index.ts";
import { backUpAffordable, type Finalist } from "./finalists.ts";
import type { BackUp } from "./back-up.ts";
import type { Choice } from "./choices.ts";
import { hereMicrograms } from "./carbon.ts";
import { mostLocalMicros, mostRemoteMicros } from "./cost.ts";
import { localMicros } from "./local-cost.ts";
import { reachedHere } from "./options.ts";
import type { Leg, LegId, Predicted, Trigger } from "./plan.ts";
import {
  keptEstimate,
  loadHereMs,
  localMean,
  localValues,
  type Priced,
  type PricedRemote,
} from "./priced.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { inTimeMs, meanValue, overdueMs, pricesAt, serviceRatioAt } from "../table/index.ts";

/**
 * Legs of a plan that runs something elsewhere: head here, remote, tail here, then what starts when the remote leg is
 * late or fails. The back-up here starts from the crossing that is here already; another endpoint starts when it would be
 * quicker than here. All of them passed the same filters.
 */
export function remoteLegs(
  inputs: PlanInputs,
  chosen: Finalist,
  finalists: readonly Finalist[],
): readonly Leg[] {
  const { priced, backUp, guarded } = chosen;
  const { request } = inputs;
  const { group, choice } = priced;
  const legs: Leg[] = [];
  const hasHead = group.from > choice.from;
  if (hasHead)
    legs.push(localLeg(inputs, "head", choice, choice.from, group.from, "request", [{ on: "begin" }]));
  const first: LegId | "request" = hasHead ? "head" : "request";
  const starts: Trigger = hasHead ? { on: "done", leg: "head" } : { on: "begin" };
  legs.push(remoteLeg(inputs, "remote", priced, first, [starts], "nothing", guarded.bet));
  // Before the next step at another endpoint, a new plan is made.
  const tailTo = reachedHere(choice, group.to);
  if (group.to < tailTo) {
    const done: Trigger = { on: "done", leg: "remote" };
    legs.push(localLeg(inputs, "tail", choice, group.to, tailTo, "remote", [done]));
  }
  const endpoint = endpointOf(inputs, priced);
  const other = finalists.find(
    (one) =>
      endpointOf(inputs, one.priced) !== endpoint && startsFrom(one.priced, priced, !backUp) !== undefined,
  );
  // Where throughput is the objective, a second run takes capacity from other requests. With energy or cost as the objective, it runs only
  // if nothing else keeps the deadline.
  const thrifty = isThrifty(request.limits.objective);
  const spare = !thrifty && inputs.goal.kind !== "throughput";
  const mayHedge = spare || inputs.remainingMs < Infinity;
  const otherFirst =
    other !== undefined && (!backUp || meanValue(other.priced.values) < meanValue(backUp.values));
  if (backUp) {
    const late: Trigger = {
      on: "late",
      leg: "remote",
      latestMs: latestStartMs(inputs, priced, backUp),
    };
    const hedges = mayHedge && backUpAffordable(inputs, priced, backUp);
    const failing = failed(otherFirst ? "other" : "remote");
    legs.push(
      localLeg(
        inputs,
        "local",
        backUp.choice,
        backUp.from,
        backUp.choice.to,
        backUp.takes === "head" ? first : "request",
        hedges ? [late, failing] : [failing],
        undefined,
        hedges ? "hedge token" : "nothing",
      ),
    );
  }
  if (other) {
    const takes = startsFrom(other.priced, priced, !backUp) === "head" ? first : "request";
    const hedges = !backUp && !thrifty;
    const endpointIndex = inputs.model.routes.endpoint[priced.route] ?? -1;
    const dear = isDear(pricesAt(inputs.view.endpoints, endpointIndex));
    const latestMs = Math.min(
      dear ? Infinity : overdueMs(priced.values),
      inTimeMs(inputs.remainingMs, other.priced.values),
    );
    const late: Trigger = { on: "late", leg: "remote", latestMs };
    const failing = failed(backUp && !otherFirst ? "local" : "remote");
    const triggers = hedges ? [late, failing] : [failing];
    legs.push(remoteLeg(inputs, "other", other.priced, takes, triggers, hedges ? "hedge token" : "nothing"));
  }
  return legs;
}

/** Legs of a plan that runs everything here: in two parts when the middle is worth a second look, and another endpoint should this one fail. */
export function localLegs(
  inputs: PlanInputs,
  priced: Priced,
  finalists: readonly Finalist[],
  pauseAt: CutId | undefined,
): readonly Leg[] {
  const { choice } = priced;
  const pause = pauseAt === undefined ? undefined : choice.bucket.index.get(pauseAt);
  const legs: Leg[] = [];
  if (pause !== undefined && pause > choice.from && pause < choice.to) {
    legs.push(
      localLeg(inputs, "head", choice, choice.from, pause, "request", [{ on: "begin" }]),
      localLeg(inputs, "local", choice, pause, choice.to, "head", [{ on: "done", leg: "head" }]),
    );
  } else {
    const leg = localLeg(
      inputs,
      "local",
      choice,
      choice.from,
      choice.to,
      "request",
      [{ on: "begin" }],
      priced.values,
    );
    legs.push(leg);
  }
  const other = finalists.find((one) => startsFrom(one.priced, undefined) !== undefined);
  if (other) {
    legs.push(
      remoteLeg(inputs, "other", other.priced, "request", [{ on: "failed", leg: "local" }], "nothing"),
    );
  }
  return legs;
}

/**
 * Where another finalist could start: at the request's crossing, or at the output of the same head. A finalist that ends at the same cut as
 * the chosen one is a back-up if this device has none; a new plan follows when it is done.
 */
function startsFrom(
  other: PricedRemote,
  chosen: PricedRemote | undefined,
  standsBy = false,
): "request" | "head" | undefined {
  const { group, choice } = other;
  const alike = chosen?.choice === choice;
  if (group.to < choice.to && !(standsBy && alike && chosen.group.to === group.to)) return undefined;
  if (group.from === choice.from) return "request";
  return alike && chosen.group.from === group.from ? "head" : undefined;
}

function failed(leg: LegId): Trigger {
  return { on: "failed", leg };
}

/** The latest start of a back-up for a late leg; undefined if the back-up does not wait for lateness. */
export function latestOf({ starts }: Leg, { id }: Leg): number | undefined {
  for (const one of starts) if (one.on === "late" && one.leg === id) return one.latestMs;
  return undefined;
}

/** Whether a back-up starts when a leg has failed. */
export function waitsFor({ starts }: Leg, { id }: Leg): boolean {
  return starts.some((one) => one.on === "failed" && one.leg === id);
}

/** The latest start of the back-up that still meets the deadline, whatever the guard decides. */
function latestStartMs(inputs: PlanInputs, priced: PricedRemote, backUp: BackUp): number {
  const { choice, group } = priced;
  const headMs = group.from > choice.from ? localMean(choice, choice.from, group.from) : 0;
  return inTimeMs(inputs.remainingMs - headMs, backUp.values);
}

/** The mean run time that the endpoint itself promised. */
function promisedMs({ view, model }: PlanInputs, { route, there, waitMs }: PricedRemote): number {
  const ratio = serviceRatioAt(view.endpoints, model.routes.endpoint[route] ?? -1);
  return (meanValue(there) - waitMs) / ratio;
}

function endpointOf({ view, model }: PlanInputs, priced: Priced): EndpointId {
  return view.endpoints.ids[model.routes.endpoint[priced.route] ?? -1] ?? "";
}

function segmentOf({ model }: PlanInputs, choice: Choice, from: number, to: number): Segment {
  const { description } = model.table;
  return {
    model: description.name,
    version: description.version,
    digest: description.digest,
    variant: choice.variant.name,
    from: choice.bucket.cuts[from]?.id ?? "start",
    to: choice.bucket.cuts[to]?.id ?? "end",
  };
}

function stateAt({ request }: PlanInputs, endpoint: EndpointId): Leg["state"] {
  const { sequence } = request;
  if (!sequence) return "none";
  return sequence.step === 0 || sequence.resident === endpoint ? "resident" : "carried";
}

function localLeg(
  inputs: PlanInputs,
  id: LegId,
  choice: Choice,
  from: number,
  to: number,
  takes: Leg["takes"],
  starts: readonly Trigger[],
  known?: Float64Array,
  spends: Leg["spends"] = "nothing",
): Leg {
  const { view } = inputs;
  const { device } = view;
  const values = known ?? localValues(inputs, choice, from, to);
  const holdsMs = meanValue(values) - device.queueMs;
  const runMs = holdsMs - loadHereMs(inputs, choice, from, to);
  const endpoint = device.info?.id ?? view.self;
  const deviceMillijoules = runMs * device.activeWatts;
  const carbonMicrograms = hereMicrograms(view, deviceMillijoules, true);
  const predicted: Writable<Predicted> = {
    completionMs: keptEstimate(inputs, values),
    deviceMillijoules,
    costMicros: localMicros(device, runMs),
    mostMicros: mostLocalMicros(device, choice, from, to),
    agreementRatio: choice.agreementRatio,
    accuracyRatio: choice.variant.accuracyRatio,
    sentBytes: 0,
  };
  if (!Number.isNaN(carbonMicrograms)) predicted.carbonMicrograms = carbonMicrograms;
  return {
    id,
    segment: segmentOf(inputs, choice, from, to),
    endpoint,
    takes,
    codecs: {},
    state: stateAt(inputs, endpoint),
    starts,
    spends,
    holdsMs: Math.max(0, holdsMs),
    predicted,
  };
}

function remoteLeg(
  inputs: PlanInputs,
  id: LegId,
  priced: PricedRemote,
  takes: Leg["takes"],
  starts: readonly Trigger[],
  spends: Leg["spends"],
  bet?: Bet,
): Leg {
  const { view } = inputs;
  const { choice, group, up, there, down } = priced;
  const endpoint = endpointOf(inputs, priced);
  const coding = choice.bucket.codings[priced.coding];
  const values = inputs.scratch.beliefs.take();
  for (let index = 0; index < values.length; index++) {
    const moving = (up[index] ?? 0) + (down[index] ?? 0);
    values[index] = moving + (there[index] ?? 0) + (priced.encoding[index] ?? 0);
  }
  const predicted: Writable<Predicted> = {
    completionMs: keptEstimate(inputs, values),
    deviceMillijoules: priced.deviceMillijoules - priced.localMs * view.device.activeWatts,
    costMicros: priced.thereMicros,
    mostMicros: mostRemoteMicros(inputs, group, priced.route, priced.sentBytes),
    agreementRatio: priced.agreementRatio,
    accuracyRatio: priced.accuracyRatio,
    sentBytes: priced.sentBytes,
  };
  if (!Number.isNaN(priced.thereMicrograms)) predicted.carbonMicrograms = priced.thereMicrograms;
  const leg: Writable<Leg> = {
    id,
    segment: segmentOf(inputs, choice, group.from, group.to),
    endpoint,
    takes,
    codecs: coding?.codecs ?? {},
    state: stateAt(inputs, endpoint),
    starts,
    spends,
    predicted,
    travels: {
      upMs: keptEstimate(inputs, up),
      thereMs: keptEstimate(inputs, there),
      downMs: keptEstimate(inputs, down),
      promisedMs: promisedMs(inputs, priced),
    },
  };
  if (bet) leg.bet = bet;
  return leg;
}
