import type { Explained } from "./explained.ts";
import { accuracyDetail } from "./filter/accuracy.ts";
import { agreementDetail } from "./filter/agreement.ts";
import { codecDetail } from "./filter/codec.ts";
import { costDetail } from "./filter/cost.ts";
import { deadlineDetail } from "./filter/deadline.ts";
import { energyDetail } from "./filter/energy.ts";
import { loopDetail } from "./filter/loop.ts";
import { onlyDetail } from "./filter/only.ts";
import { memoryDetail } from "./filter/memory.ts";
import { filterIndex, filterOrder } from "./filter/order.ts";
import { rightsDetail } from "./filter/rights.ts";
import { stateDetail } from "./filter/state.ts";
import { tierDetail } from "./filter/tier.ts";
import { trustDetail } from "./filter/trust.ts";
import { unavailableDetail } from "./filter/unavailable.ts";
import { zoneDetail } from "./filter/zone.ts";
import type { Finalist } from "./finalists.ts";
import type { FilterName, LostCandidate } from "./plan.ts";
import type { Priced } from "./priced.ts";

/** Lines of `lost` that get a sentence of their own; the rest are counted under the filter's general one. */
const detailedLines = 24;

/** The alternatives that were not chosen: one line for each endpoint and reason, with the number of candidates behind it. */
export function lostLines(
  explained: Explained,
  chosen: Priced | undefined,
  bestScore: number,
): readonly LostCandidate[] {
  const lost: LostCandidate[] = [];
  addLocal(lost, explained, chosen, bestScore);
  addBeaten(lost, explained, chosen, bestScore);
  addRemoved(lost, explained);
  return lost;
}

/** Those elsewhere that passed the filters, which the next decision may choose. */
export function beatenLines(
  explained: Explained,
  chosen: Priced,
  bestScore: number,
): readonly LostCandidate[] {
  const lost: LostCandidate[] = [];
  addBeaten(lost, explained, chosen, bestScore);
  return lost;
}

/** Adds the alternatives that this device could have run. */
function addLocal(
  lost: LostCandidate[],
  { inputs, locals }: Explained,
  chosen: Priced | undefined,
  bestScore: number,
): void {
  const { device, self } = inputs.view;
  const endpoint = device.info?.id ?? self;
  for (const { priced, obstacle, choice } of locals) {
    if (priced !== undefined && priced === chosen) continue;
    const why: LostCandidate["why"] = obstacle
      ? { kind: "filter", filter: obstacle.filter, detail: obstacle.detail }
      : { kind: "score", score: priced?.score ?? Infinity, bestScore };
    const cut = choice.bucket.cuts[choice.to]?.id ?? "end";
    lost.push({ endpoint, variant: choice.variant.name, cut, codecs: noCodecs, why, count: 1 });
  }
}

/** Candidates that passed the filters and lost by score: the best of each route stands for the others. */
function addBeaten(
  lost: LostCandidate[],
  { inputs, options, findings, finalists }: Explained,
  chosen: Priced | undefined,
  bestScore: number,
): void {
  const { view, model } = inputs;
  const { count: routes, endpoint } = model.routes;
  const { kept, bestGroup, bestOption, bestScore: scores } = findings;
  const own = chosen?.route ?? -1;
  for (let route = 0; route < routes; route++) {
    const count = (kept[route] ?? 0) - (route === own ? 1 : 0);
    if (count <= 0) continue;
    const group = options.groups[bestGroup[route] ?? -1];
    const coding = options.coding[bestOption[route] ?? -1] ?? -1;
    const finalist = route === own ? undefined : finalistOf(finalists, route);
    lost.push({
      endpoint: view.endpoints.ids[endpoint[route] ?? -1] ?? "",
      variant: group?.choice.variant.name ?? "",
      cut: group?.choice.bucket.cuts[group.from]?.id ?? "",
      codecs: group?.choice.bucket.codings[coding]?.codecs ?? noCodecs,
      // The best candidate of the chosen route is the chosen one, whose score bounds those of the others.
      why: {
        kind: "score",
        score: route === own ? bestScore : (finalist?.score ?? scores[route] ?? Infinity),
        bestScore,
      },
      count,
    });
  }
}

/** A finalist's score includes its back-up; other candidates have the plain score. */
function finalistOf(finalists: readonly Finalist[], route: number): Finalist | undefined {
  for (const one of finalists) if (one.priced.route === route) return one;
  return undefined;
}

/** Candidates removed by filters. Equal lines are merged. */
function addRemoved(lost: LostCandidate[], explained: Explained): void {
  const { inputs, options, findings } = explained;
  const { view, model } = inputs;
  const { count: routes, endpoint } = model.routes;
  const { used, columns } = findings.lost;
  const shared: (LostCandidate["why"] | undefined)[] = [];
  let own = 0;
  for (let route = 0; route < routes; route++) {
    for (const filter of used) {
      const column = columns[filter];
      const count = column?.count[route] ?? 0;
      if (!column || count === 0) continue;
      const name = filterOrder[filter] ?? "unavailable";
      const told = general[name];
      let why: LostCandidate["why"];
      if (told !== undefined && own++ < detailedLines) {
        why = { kind: "filter", filter: name, detail: removedDetail(explained, name, route) };
      } else {
        why = shared[filter] ??= {
          kind: "filter",
          filter: name,
          detail: told ?? removedDetail(explained, name, route),
        };
      }
      const group = options.groups[column.group[route] ?? 0];
      lost.push({
        endpoint: view.endpoints.ids[endpoint[route] ?? -1] ?? "",
        variant: group?.choice.variant.name ?? "",
        cut: group?.choice.bucket.cuts[group.from]?.id ?? "",
        codecs: group?.choice.bucket.codings[column.coding[route] ?? 0]?.codecs ?? noCodecs,
        why,
        count,
      });
    }
  }
}

/** Sentences for endpoints beyond the first few, each of which has its own sentence. */
const general: Readonly<Partial<Record<FilterName, string>>> = {
  unavailable: "it does not answer, or failed for this request",
  only: "the request is for other endpoints",
  loop: "its way leads back to where the request has been",
  tier: "the variant is not for its tier",
  state: "the sequence cannot go on there",
  codec: "it does not understand the codec",
  zone: "its zone is not allowed",
  trust: "it is trusted too little",
  rights: "the sender may not run that elsewhere",
  "data-class": "the policy keeps this data away",
};

/** Codecs of what travels raw. */
export const noCodecs: Readonly<Record<string, string>> = {};

/** The sentence why a filter removed the candidates of a route. */
export function removedDetail(explained: Explained, filter: FilterName, route: number): string {
  const { options, findings } = explained;
  const { request, view, model, remainingMs } = explained.inputs;
  const endpointIndex = model.routes.endpoint[route] ?? -1;
  const info = view.endpoints.infos[endpointIndex];
  const column = findings.lost.columns[filterIndex(filter)];
  const group = options.groups[column?.group[route] ?? -1];
  const codecs = group?.choice.bucket.codings[column?.coding[route] ?? -1]?.codecs ?? noCodecs;
  switch (filter) {
    case "unavailable":
      return unavailableDetail(view.endpoints.unavailable[endpointIndex]);
    case "only":
      return onlyDetail(request.limits);
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
      return findings.lost.rules[route] ?? general[filter] ?? "";
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
      return deadlineDetail(remainingMs, request.limits.minInTimeRatio);
  }
}
