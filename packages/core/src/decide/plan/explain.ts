import { chanceBelow } from "../../words/estimate/index.ts";
import { meanWeight, type Objective } from "../goal/index.ts";
import { percent } from "./filter/deadline.ts";
import { filterIndex, filterOrder } from "./filter/order.ts";
import { defaultTieRatio, type Finalist } from "./finalists.ts";
import type { LocalCandidate } from "./back-up.ts";
import { noCodecs } from "./lost-lines.ts";
import { exclusions, noOther } from "./other-endpoints.ts";
import type { FilterName } from "./plan.ts";
import {
  firstMs,
  firstWaitsThere,
  isRemote,
  linkIsAssumed,
  loadHereMs,
  type Priced,
  type PricedRemote,
  runIsAssumed,
} from "./priced.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { judge, meanValue, readingOf, serviceRatioAt, waitMsAt } from "../table/index.ts";
import type { PlanRequest } from "./request.ts";
import type { ModelView, View } from "./view.ts";
import type { Explained } from "./explained.ts";

/**
 * Why the chosen endpoint, in one sentence. It agrees with the choice: where the stated times alone would lead to another one, it also
 * states the figures that were compared, and their parts.
 */
export function because(explained: Explained, chosen: Priced, values: Float64Array): string {
  const { locals, finalists, inputs } = explained;
  const { view, model, request } = inputs;
  const best = bestLocal(locals);
  const strain =
    view.device.strain === undefined ? "" : `; work here counts more, because ${view.device.strain}`;
  const rivalThere = leastScored(finalists);
  const staying = rivalThere?.staying ?? 0;
  if (!isRemote(chosen)) {
    const here = `this device finishes in about ${ms(meanValue(values))}${mark(runIsAssumed(inputs, chosen))}${loadingHere(inputs, chosen)}`;
    if (!rivalThere) return `${here}${aim(inputs, chosen, values)}; ${noOther(explained)}${strain}`;
    const counted = compared(inputs, sideHere(inputs, chosen, staying), sideThere(inputs, rivalThere));
    const { priced } = rivalThere;
    const rival = `${nameOf(view, model, priced)} would take ${withBackUp(rivalThere)} (${sending(inputs, priced)}${firstThere(inputs, priced)})${aimOther(inputs, priced, rivalThere.guarded.values)}`;
    return `${here}${aim(inputs, chosen, values)}${counted.chosen}; ${rival}${counted.other}${strain}`;
  }
  const own = finalists.find(({ priced }) => priced === chosen);
  const side = own ? sideThere(inputs, own) : sideHere(inputs, chosen, 0);
  const time = own ? withBackUp(own) : ms(meanValue(values));
  const there = `${nameOf(view, model, chosen)} finishes in about ${time} (${inParts(inputs, chosen)})`;
  let counted: Counted = { chosen: "", other: "" };
  let instead = `here it cannot run: ${locals[0]?.obstacle?.detail ?? "nothing runs models at this endpoint"}`;
  if (best?.priced && best.priced !== chosen) {
    const { priced, obstacle } = best;
    const ruled = obstacle ? ", too long" : request.limits.prefer === undefined ? "" : ", not preferred";
    if (ruled === "") counted = compared(inputs, side, sideHere(inputs, priced, staying));
    const figure = aimOther(inputs, priced, priced.values);
    instead = `here it would take ${ms(meanValue(priced.values))}${mark(runIsAssumed(inputs, priced))}${loadingHere(inputs, priced)}${ruled}${figure}${counted.other}`;
  }
  const among = amongOthers(explained, chosen, side);
  const said = counted.chosen || among.chosen;
  const tried = isExplored(inputs, chosen)
    ? "; tried as if it kept its promise, to see whether it does again"
    : "";
  return `${there}${aim(inputs, chosen, values)}${said}; ${instead}${among.others}${tried}${strain}`;
}

/** One side of a comparison: its stated time, what was compared, and the part of that which the time does not contain. */
interface Side {
  readonly statedMs: number;
  readonly score: number;
  readonly addedMs: number;
  /** The reason for that part. */
  readonly addedFor: string;
}

function sideHere(inputs: PlanInputs, { values, score }: Priced, staying: number): Side {
  const statedMs = statedOf(inputs, values);
  return { statedMs, score, addedMs: staying, addedFor: "later requests that it delays" };
}

function sideThere(inputs: PlanInputs, { guarded, score }: Finalist): Side {
  const addedMs = meanWeight(inputs.goal) * guarded.chargedMs;
  return { statedMs: statedOf(inputs, guarded.values), score, addedMs, addedFor: "the risk that it is late" };
}

/** The figure that the line states of a completion: its percentile where the objective is one (see `aimFigure`), else the mean. */
function statedOf({ request }: PlanInputs, values: Float64Array): number {
  const percentile = percentileOf(request.limits.objective);
  return judge(values, readingOf(percentile === undefined ? undefined : Number(percentile) / 100));
}

function percentileOf(objective: Objective): string | undefined {
  return /p(\d+(?:\.\d+)?)/.exec(objective)?.[1];
}

/** Additions to both sides of a comparison; empty if the stated times agree with the choice. */
interface Counted {
  readonly chosen: string;
  readonly other: string;
}

/** Where the objective is a time: the figures that were compared, if the stated times would lead to the other choice. */
function compared({ goal, request }: PlanInputs, chosen: Side, other: Side): Counted {
  if (!goal.isPlain || shown(chosen.statedMs) <= shown(other.statedMs)) return { chosen: "", other: "" };
  const [reading] = goal.readings;
  // Where nothing is expected in time, the best cases are compared.
  const best = reading?.stride !== 1 && reading?.low === 0 && reading.weight === 0;
  const percentile = percentileOf(request.limits.objective);
  const read = best ? " at best" : percentile === undefined ? "" : ` in ${percentile} % of the time`;
  const counted = ({ score, addedMs, addedFor }: Side): string => {
    const added = Math.abs(addedMs) >= 0.05 ? `, ${ms(addedMs)} of it for ${addedFor}` : "";
    return ` and counts as ${ms(score)}${read}${added}`;
  };
  const within =
    shown(chosen.score) > shown(other.score) ? `, within ${tiePercent(request)} % of the best` : "";
  return { chosen: `${counted(chosen)}${within}`, other: counted(other) };
}

function tiePercent({ tieRatio = defaultTieRatio }: PlanRequest): number {
  return Math.max(1, Math.round(100 * tieRatio));
}

/** The precision of a stated time. */
function shown(value: number): number {
  return value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}

/** The remote candidate that a run here is compared with. */
function leastScored(finalists: readonly Finalist[]): Finalist | undefined {
  let least: Finalist | undefined;
  for (const one of finalists) if (!least || one.score < least.score) least = one;
  return least;
}

/** "29 ms with its back-up, 165 ms without". The parts of a candidate add up to the time without the back-up. */
function withBackUp({ priced, guarded }: Finalist): string {
  const aloneMs = meanValue(priced.values);
  const guardedMs = meanValue(guarded.values);
  return aloneMs - guardedMs >= 0.05 * aloneMs
    ? `${ms(guardedMs)} with its back-up, ${ms(aloneMs)} without`
    : ms(guardedMs);
}

/** Whether an endpoint is priced below the belief about it, to see whether that still holds. */
function isExplored({ view, model }: PlanInputs, { route }: Priced): boolean {
  const { explored } = view.endpoints;
  return explored !== undefined && explored.endpoint === model.routes.endpoint[route];
}

/** Why this endpoint was chosen among several: its charges, and the next best. */
function amongOthers(
  { inputs, finalists, findings }: Explained,
  chosen: Priced,
  side: Side,
): { readonly chosen: string; readonly others: string } {
  const { view, model } = inputs;
  let others = -1;
  for (let route = 0; route < model.routes.count; route++) if ((findings.kept[route] ?? 0) > 0) others++;
  if (others < 1) return { chosen: "", others: "" };
  let next: Finalist | undefined;
  for (const one of finalists) {
    if (one.priced !== chosen && (!next || one.score < next.score)) next = one;
  }
  const endpointIndex = model.routes.endpoint[chosen.route] ?? -1;
  const waitMs = waitMsAt(view.endpoints, endpointIndex);
  const ratio = serviceRatioAt(view.endpoints, endpointIndex);
  const said: string[] = [];
  if (waitMs >= 0.5) said.push(`${ms(waitMs)} waiting`);
  if (Math.abs(ratio - 1) >= 0.1) said.push(`${ratio.toFixed(1)} times what it promised`);
  const charged = said.length > 0 ? `, charged with ${said.join(" and ")}` : "";
  const best = `; best of ${others + 1} endpoints${charged}`;
  if (!next) return { chosen: "", others: best };
  const counted = compared(inputs, side, sideThere(inputs, next));
  const figure = aimOther(inputs, next.priced, next.guarded.values);
  const rival = `${nameOf(view, model, next.priced)} with ${ms(meanValue(next.guarded.values))}${figure}${counted.other}`;
  return { chosen: counted.chosen, others: `${best} before ${rival}` };
}

function bestLocal(locals: readonly LocalCandidate[]): LocalCandidate | undefined {
  let best: LocalCandidate | undefined;
  for (const one of locals) {
    if (one.priced && (!best?.priced || one.priced.score < best.priced.score)) best = one;
  }
  return best;
}

function nameOf(view: View, model: ModelView, priced: Priced): string {
  const id = view.endpoints.ids[model.routes.endpoint[priced.route] ?? -1];
  const path = model.routes.paths[priced.route] ?? [];
  const via = path.length > 1 ? ` (on to ${path.slice(1).join(", ")})` : "";
  return `${id ?? "another endpoint"}${via}`;
}

/** "41 ms sending 96 kB after detect as jpeg-85, 38 ms running there". */
function inParts(inputs: PlanInputs, priced: PricedRemote): string {
  const { localMs, there, down } = priced;
  const downMs = meanValue(down);
  const here = localMs >= 0.5 ? `${ms(localMs)} here, ` : "";
  const back = downMs >= 0.5 ? `, ${ms(downMs)} back` : "";
  const first = firstThere(inputs, priced);
  const thereMs = meanValue(there) - firstMs(inputs, priced.group, priced.route);
  return `${here}${sending(inputs, priced)}${first}, ${ms(thereMs)} there${mark(runIsAssumed(inputs, priced))}${back}`;
}

/** ", 700 ms loading there, 120 ms connecting", where that has to be done first; ", 60 ms slow start" on an idle connection. */
function firstThere(inputs: PlanInputs, { group, route }: PricedRemote): string {
  const { loadMs, connectMs, slowStartMs } = firstWaitsThere(inputs, group, route);
  const loading = loadMs >= 0.5 ? `, ${ms(loadMs)} loading there` : "";
  const connecting = connectMs >= 0.5 ? `, ${ms(connectMs)} connecting` : "";
  return `${loading}${connecting}${slowStartMs >= 0.5 ? `, ${ms(slowStartMs)} slow start of TCP` : ""}`;
}

/** " with 700 ms loading", where the model is not loaded here. */
function loadingHere(inputs: PlanInputs, { choice }: Priced): string {
  const loadMs = loadHereMs(inputs, choice, choice.from, choice.to);
  return loadMs >= 0.5 ? ` with ${ms(loadMs)} loading` : "";
}

/** Marks a figure that was not measured. */
function mark(assumed: boolean): string {
  return assumed ? " (assumed, not measured yet)" : "";
}

function sending(inputs: PlanInputs, priced: PricedRemote): string {
  const { group, choice, up, encoding } = priced;
  const cut = choice.bucket.cuts[group.from]?.id ?? "start";
  const what = cut === "start" ? "input" : `what ${cut} gives`;
  const all = Object.values(choice.bucket.codings[priced.coding]?.codecs ?? noCodecs);
  const codecs = all.length > 1 ? [...new Set(all)] : all;
  const as = codecs.length > 0 ? ` as ${codecs.join(" and ")}` : "";
  const assumed = mark(linkIsAssumed(inputs, priced));
  const encodeMs = meanValue(encoding);
  const work = encodeMs >= 0.5 ? `${ms(encodeMs)} encoding, ` : "";
  return `${work}${ms(meanValue(up))} sending ${bytes(priced.sentBytes)} of ${what}${as}${assumed}`;
}

/** The figure of a candidate besides its usual time: its energy, its price, or its probability. */
function aim(inputs: PlanInputs, priced: Priced, values: Float64Array): string {
  const { goal, remainingMs } = inputs;
  const { objective, minInTimeRatio } = inputs.request.limits;
  const figure = aimFigure(inputs, priced, values);
  const about = isAmount(objective) && figure !== "" ? ` for about ${figure}` : figure;
  const estimated = objective === "energy" ? " of this device (estimated)" : "";
  if (goal.kind !== "chance" || objective === "chance" || minInTimeRatio === undefined)
    return about + estimated;
  const asked = `${percent(minInTimeRatio)} of all cases`;
  return `${figure}, since nothing takes at most ${Math.round(remainingMs)} ms in ${asked}`;
}

function aimOther(inputs: PlanInputs, priced: Priced, values: Float64Array): string {
  const { objective } = inputs.request.limits;
  const figure = aimFigure(inputs, priced, values);
  return isAmount(objective) && figure !== "" ? ` and ${figure}` : figure;
}

/** Whether an objective is an amount besides the time. */
function isAmount(objective: Objective): boolean {
  return objective === "energy" || objective === "cost" || objective === "carbon";
}

/** The figure of the objective; empty if the usual time is that figure. */
function aimFigure({ goal, request, remainingMs }: PlanInputs, priced: Priced, values: Float64Array): string {
  const { objective } = request.limits;
  const { accuracyRatio, choice, deviceMillijoules, costMicros, carbonMicrograms } = priced;
  if (goal.kind === "chance") {
    return remainingMs === Infinity
      ? ""
      : `, in time in ${percent(chanceBelow({ values }, remainingMs))} of all cases`;
  }
  if (objective === "energy") return `${amount(deviceMillijoules)} mJ`;
  if (objective === "cost") return `${amount(costMicros)} micros`;
  if (objective === "carbon") return carbonText(carbonMicrograms);
  if (objective === "accuracy" && accuracyRatio !== undefined) {
    return ` with variant ${choice.variant.name}, right in ${(accuracyRatio * 100).toFixed(1)} %`;
  }
  if (goal.kind !== "sum" || objective === "latency" || objective === "mean") return "";
  if (goal.isPlain) {
    const percentile = percentileOf(objective);
    if (percentile === undefined) return "";
    return `, ${percentile} % of the time within ${ms(judge(values, readingOf(Number(percentile) / 100)))}`;
  }
  const energy = goal.energyWeight > 0 ? `, ${amount(deviceMillijoules)} mJ` : "";
  const money = goal.costWeight > 0 ? `, ${amount(costMicros)} micros` : "";
  const carbon = goal.carbonWeight > 0 ? `, ${carbonText(carbonMicrograms)}` : "";
  return `${energy}${money}${carbon} (least of ${objective})`;
}

function carbonText(micrograms: number): string {
  return Number.isNaN(micrograms) ? "an unknown amount of CO2" : `${amount(micrograms)} µg of CO2`;
}

function amount(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1);
}

function ms(value: number): string {
  return `${amount(value)} ms`;
}

function bytes(count: number): string {
  if (count < 1000) return `${Math.round(count)} bytes`;
  return count < 1e6 ? `${amount(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** The constraint that removed the last candidates, and a sentence that says so. */
export function whyNone(explained: Explained): { readonly filter: FilterName; readonly because: string } {
  const { findings, inputs } = explained;
  const { request, view } = inputs;
  // If no endpoint runs the model, this device is not a candidate either. The explanation covers endpoints that have the model, if any.
  const { info } = view.device;
  const mayBe = ({ choice }: LocalCandidate): boolean => findings.candidates === 0 || choice.slowness > 0;
  const locals = info ? explained.locals.filter(mayBe) : [];
  const count = findings.candidates + locals.length;
  if (count === 0) {
    const why = exclusions(explained);
    const because = `no known endpoint offers ${request.model} from ${request.from} to ${request.to}${why && ` (${why})`}`;
    return { filter: "unavailable", because };
  }
  let own: LocalCandidate["obstacle"];
  for (const { obstacle } of locals) {
    if (obstacle && (!own || filterIndex(obstacle.filter) > filterIndex(own.filter))) own = obstacle;
  }
  const latest = Math.max(own ? filterIndex(own.filter) : -1, ...findings.lost.used);
  const filter = filterOrder[latest] ?? "unavailable";
  const here = own && { endpoint: info?.id ?? view.self, filter: own.filter, why: own.detail };
  const why = exclusions(explained, here);
  return { filter, because: `no endpoint may or can run ${request.model}${why && ` (${why})`}` };
}
