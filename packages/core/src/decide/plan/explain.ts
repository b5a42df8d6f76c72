import { chanceBelow } from "../../words/estimate/index.ts";
import { percent } from "./filter/deadline.ts";
import { filterIndex, filterOrder } from "./filter/order.ts";
import type { Finalist, LocalCandidate } from "./finalists.ts";
import { noCodecs, removedDetail } from "./lost-lines.ts";
import { countLost, firstLost } from "./lost-tally.ts";
import type { Options } from "./options.ts";
import type { FilterName } from "./plan.ts";
import { isRemote, type Priced, type PricedRemote } from "./priced.ts";
import type { Question } from "./question.ts";
import { judge, meanValue, readingOf, serviceRatioAt, waitMsAt } from "../table/index.ts";
import type { Findings } from "./scan.ts";
import type { ModelView, View } from "./view.ts";

/** What an explanation reads. */
export interface Explained {
  readonly question: Question;
  readonly options: Options;
  readonly findings: Findings;
  readonly locals: readonly LocalCandidate[];
  readonly finalists: readonly Finalist[];
}

/** Why the chosen endpoint, in one sentence. */
export function because(explained: Explained, chosen: Priced, values: Float64Array): string {
  const { locals, finalists, findings, question } = explained;
  const { view, model } = question;
  const best = bestLocal(locals);
  if (!isRemote(chosen)) {
    const here = `this device finishes in about ${ms(meanValue(values))}`;
    const rival = finalists[0];
    const why = rival
      ? `${nameOf(view, model, rival.priced)} would take ${ms(meanValue(rival.priced.values))} (${sending(rival.priced)})`
      : findings.candidates > 0
        ? `no other endpoint may or can take it (${reasonsOf(findings)})`
        : "no other endpoint offers it";
    return `${here}${aim(question, chosen, values)}; ${why}`;
  }
  const there = `${nameOf(view, model, chosen)} finishes in about ${ms(meanValue(values))} (${inParts(chosen)})`;
  const instead =
    best?.priced && best.priced !== chosen
      ? `here it would take ${ms(meanValue(best.priced.values))}${best.obstacle ? ", too long" : ""}${aimOther(question, best.priced)}`
      : `here it cannot run: ${locals[0]?.obstacle?.detail ?? "nothing runs models at this endpoint"}`;
  return `${there}${aim(question, chosen, values)}; ${instead}${amongOthers(explained, chosen)}`;
}

/** Why this one of several endpoints: what it is charged for, and who came next. */
function amongOthers({ question, finalists, findings }: Explained, chosen: Priced): string {
  const { view, model } = question;
  let others = -1;
  for (let route = 0; route < model.routes.count; route++) if ((findings.kept[route] ?? 0) > 0) others++;
  if (others < 1) return "";
  let next: Finalist | undefined;
  for (const one of finalists) {
    if (one.priced !== chosen && (!next || one.score < next.score)) next = one;
  }
  const endpointState = model.routes.endpoint[chosen.route] ?? -1;
  const waitMs = waitMsAt(view.endpoints, endpointState);
  const ratio = serviceRatioAt(view.endpoints, endpointState);
  const said: string[] = [];
  if (waitMs >= 0.5) said.push(`${ms(waitMs)} waiting`);
  if (Math.abs(ratio - 1) >= 0.1) said.push(`${ratio.toFixed(1)} times what it promised`);
  const charged = said.length > 0 ? `, charged with ${said.join(" and ")}` : "";
  const rival = next
    ? ` before ${nameOf(view, model, next.priced)} with ${ms(meanValue(next.guarded.values))}`
    : "";
  return `; best of ${others + 1} endpoints${charged}${rival}`;
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
function inParts(priced: PricedRemote): string {
  const { localMs, there, down } = priced;
  const downMs = meanValue(down);
  const here = localMs >= 0.5 ? `${ms(localMs)} here, ` : "";
  const back = downMs >= 0.5 ? `, ${ms(downMs)} back` : "";
  return `${here}${sending(priced)}, ${ms(meanValue(there))} there${back}`;
}

function sending(priced: PricedRemote): string {
  const { group, choice, up, encodeMs } = priced;
  const cut = choice.bucket.cuts[group.from]?.id ?? "start";
  const what = cut === "start" ? "input" : `what ${cut} gives`;
  const all = Object.values(choice.bucket.codings[priced.coding]?.codecs ?? noCodecs);
  const codecs = all.length > 1 ? [...new Set(all)] : all;
  const as = codecs.length > 0 ? ` as ${codecs.join(" and ")}` : "";
  return `${ms(meanValue(up) + encodeMs)} sending ${bytes(priced.sentBytes)} of ${what}${as}`;
}

/** What of a candidate counts besides its usual time: its energy, its price, its chance. */
function aim(question: Question, priced: Priced, values: Float64Array): string {
  const { goal, remainingMs } = question;
  const { objective, minInTimeRatio } = question.request.limits;
  const figure = aimFigure(question, priced, values);
  const about = objective === "energy" || objective === "cost" ? ` for about ${figure}` : figure;
  const estimated = objective === "energy" ? " of this device (estimated)" : "";
  if (goal.kind !== "chance" || objective === "chance" || minInTimeRatio === undefined)
    return about + estimated;
  const asked = `${percent(minInTimeRatio)} of all cases`;
  return `${figure}, since nothing takes at most ${Math.round(remainingMs)} ms in ${asked}`;
}

function aimOther(question: Question, priced: Priced): string {
  const { objective } = question.request.limits;
  const figure = aimFigure(question, priced, priced.values);
  return (objective === "energy" || objective === "cost") && figure !== "" ? ` and ${figure}` : figure;
}

/** The figure that is made small; none where the usual time says it. */
function aimFigure({ goal, request, remainingMs }: Question, priced: Priced, values: Float64Array): string {
  const { objective } = request.limits;
  const { accuracyRatio, choice, deviceMillijoules, costMicros } = priced;
  if (goal.kind === "chance") {
    return remainingMs === Infinity
      ? ""
      : `, in time in ${percent(chanceBelow({ values }, remainingMs))} of all cases`;
  }
  if (objective === "energy") return `${amount(deviceMillijoules)} mJ`;
  if (objective === "cost") return `${amount(costMicros)} millionths`;
  if (objective === "accuracy" && accuracyRatio !== undefined) {
    return ` with variant ${choice.variant.name}, right in ${(accuracyRatio * 100).toFixed(1)} %`;
  }
  if (goal.kind !== "sum" || objective === "latency" || objective === "mean") return "";
  if (goal.isPlain) {
    const percentile = /p(\d+)/.exec(objective)?.[1];
    if (percentile === undefined) return "";
    return `, ${percentile} % of the time within ${ms(judge(values, readingOf(Number(percentile) / 100)))}`;
  }
  const energy = goal.energyWeight > 0 ? `, ${amount(deviceMillijoules)} mJ` : "";
  const money = goal.costWeight > 0 ? `, ${amount(costMicros)} millionths` : "";
  return `${energy}${money} (least of ${objective})`;
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

function reasonsOf(findings: Findings): string {
  const { lost } = findings;
  return lost.used.map((filter) => `${filterOrder[filter] ?? ""}: ${countLost(lost, filter)}`).join(", ");
}

/** The constraint that the last survivors fell to, and a sentence that says so. */
export function whyNone(explained: Explained): { readonly filter: FilterName; readonly because: string } {
  const { findings, question } = explained;
  const { request, view, model } = question;
  // Where nothing runs the model, here is no way: others, if any have it, say why they are none.
  const { info } = view.device;
  const mayBe = ({ choice }: LocalCandidate): boolean => findings.candidates === 0 || choice.slowness > 0;
  const locals = info ? explained.locals.filter(mayBe) : [];
  const count = findings.candidates + locals.length;
  if (count === 0) {
    const because = `no endpoint that is known offers ${request.model} from ${request.from} to ${request.to}`;
    return { filter: "unavailable", because };
  }
  let last: { filter: FilterName; endpoint: string; detail: string } | undefined;
  for (const { obstacle } of locals) {
    if (!obstacle || (last && filterIndex(obstacle.filter) <= filterIndex(last.filter))) continue;
    last = { filter: obstacle.filter, endpoint: info?.id ?? view.self, detail: obstacle.detail };
  }
  const latest = Math.max(-1, ...findings.lost.used);
  if (latest > (last ? filterIndex(last.filter) : -1)) {
    const filter = filterOrder[latest] ?? "unavailable";
    const route = firstLost(findings.lost, latest);
    const endpoint = view.endpoints.infos[model.routes.endpoint[route] ?? -1]?.id ?? "";
    last = { filter, endpoint, detail: removedDetail(explained, filter, route) };
  }
  const filter = last?.filter ?? "unavailable";
  return {
    filter,
    because: `none of ${count} ways to run ${request.model} is left; the last fell to the ${filter} filter (${last?.endpoint ?? ""}: ${last?.detail ?? ""})`,
  };
}
