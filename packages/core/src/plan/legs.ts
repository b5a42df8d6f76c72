import type { EndpointId } from "../base/index.ts";
import type { CutId, Segment } from "../model/index.ts";
import { backUpAffordable, type BackUp, type Finalist } from "./finalists.ts";
import type { Choice } from "./choices.ts";
import type { Leg, LegId, Predicted, Trigger } from "./plan.ts";
import { estimateAt, localValues, meanValue, type Priced, spansOf } from "./priced.ts";
import type { PlanRequest } from "./request.ts";
import { addValues, judge, meanReading, readingOf, segmentMs } from "../table/index.ts";
import type { ModelView, View } from "./view.ts";

/** What the builders of legs read. */
interface Context {
  readonly request: PlanRequest;
  readonly view: View;
  readonly model: ModelView;
  readonly remainingMs: number;
}

/**
 * Legs of a plan that runs something elsewhere: head here, remote, tail here, then what starts when the remote leg is
 * late or fails. The back-up here starts from the crossing that is here already; another place starts when it would be
 * quicker than here. All of them passed the same filters.
 */
export function remoteLegs(context: Context, chosen: Finalist, others: readonly Finalist[]): readonly Leg[] {
  const { priced, backUp } = chosen;
  const { request, view } = context;
  const { group, choice } = priced;
  if (!group) return [];
  const legs: Leg[] = [];
  const hasHead = group.from > choice.from;
  if (hasHead)
    legs.push(localLeg(context, "head", choice, choice.from, group.from, "request", [{ on: "begin" }]));
  const first: LegId | "request" = hasHead ? "head" : "request";
  const starts: Trigger = hasHead ? { on: "done", leg: "head" } : { on: "begin" };
  legs.push(remoteLeg(context, "remote", priced, first, [starts], "nothing"));
  if (group.to < choice.to) {
    const done: Trigger = { on: "done", leg: "remote" };
    legs.push(localLeg(context, "tail", choice, group.to, choice.to, "remote", [done]));
  }
  const endpoint = endpointOf(context, priced);
  const other = others.find(
    (one) => endpointOf(context, one.priced) !== endpoint && startsFrom(one.priced, priced) !== undefined,
  );
  const failed = (leg: LegId): Trigger => ({ on: "failed", leg });
  const affordable =
    view.endpoints.extraRunPrice[context.model.routes.endpoint[priced.route] ?? 0] ?? Infinity;
  const mayHedge = Number.isFinite(affordable);
  const otherFirst =
    other !== undefined && (!backUp || meanValue(other.priced.values) < meanValue(backUp.values));
  if (backUp) {
    const late: Trigger = { on: "late", leg: "remote", latestMs: latestMs(context, priced, backUp) };
    const hedges = mayHedge && backUpAffordable(request, priced, backUp);
    const triggers = [...(hedges ? [late] : []), failed(otherFirst ? "other" : "remote")];
    legs.push({
      ...localLeg(
        context,
        "local",
        backUp.choice,
        backUp.from,
        backUp.choice.to,
        backUp.takes === "head" ? first : "request",
        triggers,
      ),
      spends: hedges ? "hedge token" : "nothing",
    });
  }
  if (other) {
    const takes = startsFrom(other.priced, priced) === "head" ? first : "request";
    const hedges = !backUp && mayHedge;
    const late: Trigger = { on: "late", leg: "remote", latestMs: 2 * meanValue(priced.values) };
    const triggers = [...(hedges ? [late] : []), failed(backUp && !otherFirst ? "local" : "remote")];
    legs.push(remoteLeg(context, "other", other.priced, takes, triggers, hedges ? "hedge token" : "nothing"));
  }
  return legs;
}

/** Legs of a plan that runs everything here: in two parts when the middle is worth a second look, and another place should this one fail. */
export function localLegs(
  context: Context,
  priced: Priced,
  others: readonly Finalist[],
  pauseAt: CutId | undefined,
): readonly Leg[] {
  const { choice } = priced;
  const pause = pauseAt === undefined ? undefined : choice.bucket.index.get(pauseAt);
  const legs: Leg[] = [];
  if (pause !== undefined && pause > choice.from && pause < choice.to) {
    legs.push(
      localLeg(context, "head", choice, choice.from, pause, "request", [{ on: "begin" }]),
      localLeg(context, "local", choice, pause, choice.to, "head", [{ on: "done", leg: "head" }]),
    );
  } else {
    const leg = localLeg(
      context,
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
  const other = others.find((one) => startsFrom(one.priced, undefined) !== undefined);
  if (other) {
    legs.push(
      remoteLeg(context, "other", other.priced, "request", [{ on: "failed", leg: "local" }], "nothing"),
    );
  }
  return legs;
}

/** What another finalist could start from: the request's crossing, or the output of the same head. */
function startsFrom(other: Priced, chosen: Priced | undefined): "request" | "head" | undefined {
  const { group, choice } = other;
  if (!group || group.to < choice.to) return undefined;
  if (group.from === choice.from) return "request";
  const same = chosen?.choice === choice && chosen.group?.from === group.from;
  return same ? "head" : undefined;
}

/** The moment at which the back-up starts whatever the guard thinks: in time for the deadline, and before it gets absurd. */
function latestMs(context: Context, priced: Priced, backUp: BackUp): number {
  const headMs = headMean(priced);
  const remoteMs = meanValue(priced.values) - headMs;
  const patienceMs = Math.max(1.5 * remoteMs, meanValue(backUp.values));
  const careful = judge(backUp.values, readingOf(0.9));
  return Math.max(0, Math.min(patienceMs, context.remainingMs - headMs - careful));
}

/** Mean of what runs here before the crossing leaves. */
function headMean({ choice, group }: Priced): number {
  if (!group || group.from <= choice.from) return 0;
  return segmentMs(choice.bucket, choice.from, group.from, meanReading) * choice.slowness;
}

/** What the place itself promised for the run, by the mean. */
function promisedMs({ view, model }: Context, { route, parts }: Priced): number {
  const ratio = view.endpoints.serviceRatio[model.routes.endpoint[route] ?? 0] ?? 1;
  return (parts.thereMs - parts.waitMs) / ratio;
}

function endpointOf({ view, model }: Context, priced: Priced): EndpointId {
  return view.endpoints.infos[model.routes.endpoint[priced.route] ?? -1]?.id ?? "";
}

function segmentOf({ model }: Context, choice: Choice, from: number, to: number): Segment {
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

function stateAt({ request }: Context, endpoint: EndpointId): Leg["state"] {
  const { sequence } = request;
  if (!sequence) return "none";
  return sequence.step === 0 || sequence.resident === endpoint ? "resident" : "carried";
}

function localLeg(
  context: Context,
  id: LegId,
  choice: Choice,
  from: number,
  to: number,
  takes: Leg["takes"],
  starts: readonly Trigger[],
  known?: Float64Array,
): Leg {
  const { view } = context;
  const { device } = view;
  const values = known ?? localValues(choice.bucket, from, to, choice.slowness, device.queueMs);
  const runMs = meanValue(values) - device.queueMs;
  const endpoint = device.info?.id ?? view.self;
  const predicted: Predicted = {
    completionMs: estimateAt(values, view.atMs),
    deviceMillijoules: runMs * device.activeWatts,
    costMicros: ((device.info?.rates.microsPerSecond ?? 0) / 1000) * runMs,
    agreementRatio: choice.agreementRatio,
    accuracyRatio: choice.variant.accuracyRatio,
    sentBytes: 0,
  };
  return {
    id,
    segment: segmentOf(context, choice, from, to),
    endpoint,
    takes,
    codecs: {},
    state: stateAt(context, endpoint),
    starts,
    spends: "nothing",
    predicted,
  };
}

function remoteLeg(
  context: Context,
  id: LegId,
  priced: Priced,
  takes: Leg["takes"],
  starts: readonly Trigger[],
  spends: Leg["spends"],
): Leg {
  const { view } = context;
  const { choice, group } = priced;
  const spans = spansOf(view, context.model, priced);
  const endpoint = endpointOf(context, priced);
  const coding = choice.bucket.codings[priced.coding];
  const values = new Float64Array(spans.up);
  addValues(values, spans.there);
  addValues(values, spans.down);
  for (let index = 0; index < values.length; index++) {
    values[index] = (values[index] ?? 0) + priced.parts.encodeMs;
  }
  return {
    id,
    segment: segmentOf(context, choice, group?.from ?? choice.from, group?.to ?? choice.to),
    endpoint,
    takes,
    codecs: coding?.codecs ?? {},
    state: stateAt(context, endpoint),
    starts,
    spends,
    predicted: {
      completionMs: estimateAt(values, view.atMs),
      deviceMillijoules: priced.deviceMillijoules - priced.parts.localMs * view.device.activeWatts,
      costMicros: priced.costMicros,
      agreementRatio: priced.agreementRatio,
      accuracyRatio: priced.accuracyRatio,
      sentBytes: priced.sentBytes,
    },
    travels: {
      upMs: estimateAt(spans.up, view.atMs),
      thereMs: estimateAt(spans.there, view.atMs),
      downMs: estimateAt(spans.down, view.atMs),
      promisedMs: promisedMs(context, priced),
    },
  };
}
