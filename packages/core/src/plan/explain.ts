import { accuracyDetail } from "./filter/accuracy.ts";
import { agreementDetail } from "./filter/agreement.ts";
import { codecDetail } from "./filter/codec.ts";
import { costDetail } from "./filter/cost.ts";
import { deadlineDetail } from "./filter/deadline.ts";
import { energyDetail } from "./filter/energy.ts";
import { loopDetail } from "./filter/loop.ts";
import { memoryDetail } from "./filter/memory.ts";
import { filterIndex } from "./filter/order.ts";
import { rightsDetail } from "./filter/rights.ts";
import { stateDetail } from "./filter/state.ts";
import { tierDetail } from "./filter/tier.ts";
import { trustDetail } from "./filter/trust.ts";
import { unavailableDetail } from "./filter/unavailable.ts";
import { zoneDetail } from "./filter/zone.ts";
import type { Finalist, LocalCandidate } from "./finalists.ts";
import type { Group, Options } from "./options.ts";
import type { FilterName, Lost } from "./plan.ts";
import type { Priced } from "./priced.ts";
import type { Question } from "./question.ts";
import { meanValue, serviceRatioAt, waitMsAt } from "../table/index.ts";
import type { Removed } from "./lost-tally.ts";
import type { Findings } from "./scan.ts";
import type { ModelView, View } from "./view.ts";

/** Lines of `lost` that get a sentence of their own; the rest are counted under the filter's general one. */
const detailedLines = 24;

/** What an explanation reads. */
export interface Explained {
  readonly question: Question;
  readonly options: Options;
  readonly findings: Findings;
  readonly locals: readonly LocalCandidate[];
  readonly finalists: readonly Finalist[];
}

/** What was not chosen: one line for each place and reason, with the number of candidates that it stands for. */
export function lostLines(
  explained: Explained,
  chosen: Priced | undefined,
  bestScore: number,
): readonly Lost[] {
  const { options, findings, locals, finalists } = explained;
  const { view, model } = explained.question;
  const lost: Lost[] = [];
  const self = view.device.info?.id ?? view.self;
  for (const one of locals) {
    if (one.priced !== undefined && one.priced === chosen) continue;
    const why = one.obstacle
      ? ({ kind: "filter", filter: one.obstacle.filter, detail: one.obstacle.detail } as const)
      : ({ kind: "score", score: one.priced?.score ?? Infinity, bestScore } as const);
    const cut = one.choice.bucket.cuts[one.choice.to]?.id ?? "end";
    lost.push({ endpoint: self, variant: one.choice.variant.name, cut, codecs: {}, why, count: 1 });
  }
  let detailed = 0;
  const endpointId = (route: number): string => view.endpoints.ids[model.routes.endpoint[route] ?? -1] ?? "";
  const line = (
    route: number,
    group: Group | undefined,
    coding: number,
    why: Lost["why"],
    count: number,
  ): Lost => ({
    endpoint: endpointId(route),
    variant: group?.choice.variant.name ?? "",
    cut: group?.choice.bucket.cuts[group.from]?.id ?? "",
    codecs: group?.choice.bucket.codings[coding]?.codecs ?? noCodecs,
    why,
    count,
  });
  for (let route = 0; route < findings.kept.length; route++) {
    const mine = chosen?.route === route ? 1 : 0;
    const count = (findings.kept[route] ?? 0) - mine;
    if (count <= 0) continue;
    // A finalist's own score counts its back-up; the others are known by the plain one.
    const finalist = mine === 0 ? finalists.find((one) => one.priced.route === route) : undefined;
    const score = finalist?.score ?? findings.bestScore[route] ?? Infinity;
    const group = options.groups[findings.bestGroup[route] ?? -1];
    lost.push(
      line(
        route,
        group,
        options.coding[findings.bestOption[route] ?? -1] ?? -1,
        { kind: "score", score, bestScore },
        count,
      ),
    );
  }
  for (const removed of findings.removed) {
    const detail =
      detailed++ < detailedLines ? sentence(explained, removed) : (general[removed.filter] ?? "");
    const why = { kind: "filter", filter: removed.filter, detail } as const;
    lost.push(line(removed.route, options.groups[removed.group], removed.coding, why, removed.count));
  }
  return lost;
}

const noCodecs: Readonly<Record<string, string>> = {};

const general: Readonly<Partial<Record<FilterName, string>>> = {
  unavailable: "it does not answer, or failed for this request",
  loop: "its way leads back to where the request has been",
  tier: "the variant is not for its tier",
  state: "the sequence cannot go on there",
  codec: "it does not understand the codec",
  zone: "its zone is not allowed",
  trust: "it is trusted too little",
  rights: "the sender may not run that elsewhere",
  "data-class": "the policy keeps this data away",
  memory: "the part that runs here needs too much memory",
  agreement: "its answers agree too little with the exact ones",
  accuracy: "its accuracy is too low or unknown",
  cost: "it would cost too much",
  energy: "it would draw too much from this device",
  deadline: "it would end after the deadline",
};

function sentence(explained: Explained, removed: Removed): string {
  const { options } = explained;
  const { request, view, model, remainingMs } = explained.question;
  const { route, filter } = removed;
  const place = model.routes.endpoint[route] ?? -1;
  const info = view.endpoints.infos[place];
  const group = options.groups[removed.group];
  const codecs = group?.choice.bucket.codings[removed.coding]?.codecs ?? noCodecs;
  switch (filter) {
    case "unavailable":
      return unavailableDetail(view.endpoints.unavailable[place]);
    case "loop":
      return loopDetail(model.routes.paths[route] ?? []);
    case "tier":
      return tierDetail(group?.choice.variant.name ?? "", info?.tier ?? "");
    case "state":
      return stateDetail(request.sequence, info?.state ?? "none");
    case "codec":
      return codecDetail(codecs);
    case "zone":
      return zoneDetail(model.routes.zones[route] ?? [], request.rules.zones);
    case "trust":
      return trustDetail(model.routes.trust[route] ?? "none", request.rules.leastTrust);
    case "rights": {
      const cuts = group?.choice.bucket.cuts;
      return rightsDetail(cuts?.[group?.from ?? 0]?.id ?? "", cuts?.[group?.to ?? 0]?.id ?? "");
    }
    case "data-class":
      return removed.rule ?? general[filter] ?? "";
    case "memory":
      return memoryDetail(view.device.memoryBytes);
    case "agreement":
      return agreementDetail(request.limits);
    case "accuracy":
      return accuracyDetail(request.limits);
    case "cost":
      return costDetail(request.limits.maxCostMicros);
    case "energy":
      return energyDetail(request.limits.maxDeviceMillijoules);
    case "deadline":
      return deadlineDetail(remainingMs);
  }
}

/** Why the chosen place, in one sentence. */
export function because(explained: Explained, chosen: Priced, values: Float64Array): string {
  const { locals, finalists, findings } = explained;
  const { request, view, model } = explained.question;
  const best = bestLocal(locals);
  const { objective } = request.limits;
  if (chosen.route < 0) {
    const here = `this device finishes in about ${ms(meanValue(values))}`;
    const rival = finalists[0];
    const why = rival
      ? `${nameOf(view, model, rival.priced)} would take ${ms(meanValue(rival.guarded.values))} (${sending(rival.priced)})`
      : findings.candidates > 0
        ? `no other place may or can take it (${reasonsOf(findings)})`
        : "no other place offers it";
    return `${here}${aim(objective, chosen)}; ${why}`;
  }
  const there = `${nameOf(view, model, chosen)} finishes in about ${ms(meanValue(values))} (${inParts(chosen)})`;
  const instead =
    best?.priced && best.priced !== chosen
      ? `here it would take ${ms(meanValue(best.priced.values))}${best.obstacle ? ", too long" : ""}${aimOther(objective, best.priced)}`
      : `here it cannot run: ${locals[0]?.obstacle?.detail ?? "nothing runs models at this place"}`;
  return `${there}${aim(objective, chosen)}; ${instead}${amongOthers(explained, chosen)}`;
}

/** Why this one of several places: what it is charged for, and who came next. */
function amongOthers({ question, finalists, findings }: Explained, chosen: Priced): string {
  const { view, model } = question;
  let others = -1;
  for (const kept of findings.kept) if (kept > 0) others++;
  if (others < 1) return "";
  let next: Finalist | undefined;
  for (const one of finalists) {
    if (one.priced !== chosen && (!next || one.score < next.score)) next = one;
  }
  const place = model.routes.endpoint[chosen.route] ?? -1;
  const waitMs = waitMsAt(view.endpoints, place);
  const ratio = serviceRatioAt(view.endpoints, place);
  const said = [
    ...(waitMs >= 0.5 ? [`${ms(waitMs)} waiting`] : []),
    ...(Math.abs(ratio - 1) >= 0.1 ? [`${ratio.toFixed(1)} times what it promised`] : []),
  ];
  const charged = said.length > 0 ? `, charged with ${said.join(" and ")}` : "";
  const rival = next
    ? ` before ${nameOf(view, model, next.priced)} with ${ms(meanValue(next.guarded.values))}`
    : "";
  return `; best of ${others + 1} places${charged}${rival}`;
}

function bestLocal(locals: readonly LocalCandidate[]): LocalCandidate | undefined {
  let best: LocalCandidate | undefined;
  for (const one of locals) {
    if (one.priced && (!best?.priced || one.priced.score < best.priced.score)) best = one;
  }
  return best;
}

function nameOf(view: View, model: ModelView, priced: Priced): string {
  const info = view.endpoints.infos[model.routes.endpoint[priced.route] ?? -1];
  const path = model.routes.paths[priced.route] ?? [];
  const via = path.length > 1 ? ` (on to ${path.slice(1).join(", ")})` : "";
  return `${info?.id ?? "another place"}${via}`;
}

/** "41 ms sending 96 kB after detect as jpeg-85, 38 ms running there". */
function inParts(priced: Priced): string {
  const { parts } = priced;
  const said = [sending(priced), `${ms(parts.thereMs)} there`];
  if (parts.localMs >= 0.5) said.unshift(`${ms(parts.localMs)} here`);
  if (parts.downMs >= 0.5) said.push(`${ms(parts.downMs)} back`);
  return said.join(", ");
}

function sending(priced: Priced): string {
  const { group, choice, parts } = priced;
  const cut = choice.bucket.cuts[group?.from ?? 0]?.id ?? "start";
  const what = cut === "start" ? "input" : `what ${cut} gives`;
  const codecs = [...new Set(Object.values(choice.bucket.codings[priced.coding]?.codecs ?? noCodecs))];
  const as = codecs.length > 0 ? ` as ${codecs.join(" and ")}` : "";
  return `${ms(parts.upMs + parts.encodeMs)} sending ${bytes(priced.sentBytes)} of ${what}${as}`;
}

function aim(objective: string, priced: Priced): string {
  if (objective === "energy")
    return ` for about ${amount(priced.deviceMillijoules)} mJ of this device (estimated)`;
  if (objective === "cost") return ` for about ${amount(priced.costMicros)} millionths`;
  if (objective === "accuracy" && priced.accuracyRatio !== undefined) {
    return ` with variant ${priced.choice.variant.name}, right in ${(priced.accuracyRatio * 100).toFixed(1)} %`;
  }
  return "";
}

function aimOther(objective: string, priced: Priced): string {
  if (objective === "energy") return ` and ${amount(priced.deviceMillijoules)} mJ`;
  if (objective === "cost") return ` and ${amount(priced.costMicros)} millionths`;
  if (objective === "accuracy" && priced.accuracyRatio !== undefined) {
    return ` with variant ${priced.choice.variant.name}, right in ${(priced.accuracyRatio * 100).toFixed(1)} %`;
  }
  return "";
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
  const counts = new Map<FilterName, number>();
  for (const one of findings.removed) counts.set(one.filter, (counts.get(one.filter) ?? 0) + one.count);
  return [...counts].map(([filter, count]) => `${filter}: ${count}`).join(", ");
}

/** The constraint that the last survivors fell to, and a sentence that says so. */
export function whyNone(explained: Explained): { readonly filter: FilterName; readonly because: string } {
  const { findings, locals } = explained;
  const { request, view, model } = explained.question;
  const count = findings.candidates + locals.length;
  if (count === 0) {
    return {
      filter: "unavailable",
      because: `no place that is known offers ${request.model} from ${request.from} to ${request.to}`,
    };
  }
  let last: { filter: FilterName; endpoint: string; detail: () => string } | undefined;
  const later = (filter: FilterName): boolean => !last || filterIndex(filter) > filterIndex(last.filter);
  for (const { obstacle } of locals) {
    if (!obstacle || !later(obstacle.filter)) continue;
    const endpoint = view.device.info?.id ?? view.self;
    last = { filter: obstacle.filter, endpoint, detail: () => obstacle.detail };
  }
  for (const removed of findings.removed) {
    if (!later(removed.filter)) continue;
    const endpoint = view.endpoints.infos[model.routes.endpoint[removed.route] ?? -1]?.id ?? "";
    last = { filter: removed.filter, endpoint, detail: () => sentence(explained, removed) };
  }
  const filter = last?.filter ?? "unavailable";
  return {
    filter,
    because: `none of ${count} ways to run ${request.model} is left; the last fell to the ${filter} filter (${last?.endpoint ?? ""}: ${last?.detail() ?? ""})`,
  };
}
