import type { EndpointId } from "../../words/base/index.ts";
import type { Explained } from "./explained.ts";
import { filterIndex, filterOrder } from "./filter/order.ts";
import { removedDetail } from "./lost-lines.ts";
import type { FilterName } from "./plan.ts";

/** Endpoints that a sentence names; the rest are counted. Keeps explanations and error messages short. */
const mostNamed = 3;

/** Why one endpoint does not take the request. */
interface Exclusion {
  readonly endpoint: EndpointId;
  /** Position of the filter that removed its last candidates; -1 if it offers nothing. */
  readonly filter: number;
  readonly why: string;
}

/** The sentence that no other endpoint takes the request, with each endpoint and the reason. */
export function noOther(explained: Explained): string {
  if (explained.inputs.view.endpoints.ids.length === 0) return "no other endpoint is known";
  return `no other endpoint takes it (${exclusions(explained)})`;
}

/**
 * For example "edge: connection refused; cloud: waiting for its first offer"; empty if no other endpoint is known. `own` is listed with
 * them.
 */
export function exclusions(
  explained: Explained,
  own?: { readonly endpoint: EndpointId; readonly filter: FilterName; readonly why: string },
): string {
  const { ids } = explained.inputs.view.endpoints;
  const furthest = furthestFilters(explained);
  const all: Exclusion[] = own ? [{ ...own, filter: filterIndex(own.filter) }] : [];
  for (const [at, endpoint] of ids.entries()) {
    const route = furthest.route[at] ?? -1;
    const filter = furthest.filter[at] ?? -1;
    all.push({ endpoint, filter, why: route < 0 ? "" : reasonOf(explained, endpoint, filter, route) });
  }
  // Those that came furthest come first: their limit is the one to change.
  all.sort((one, other) => other.filter - one.filter);
  const named = all.slice(0, mostNamed).map(({ endpoint, why }) => {
    return `${endpoint}: ${why || withoutOffer(explained, endpoint)}`;
  });
  const more = all.length - named.length;
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}

/** For each endpoint, the last filter that removed one of its candidates, with the route; -1 if there is none. */
function furthestFilters({ inputs, findings }: Explained): {
  readonly filter: readonly number[];
  readonly route: readonly number[];
} {
  const { routes } = inputs.model;
  const filter: number[] = [];
  const firstRoute: number[] = [];
  for (let route = 0; route < routes.count; route++) {
    const at = routes.endpoint[route] ?? -1;
    firstRoute[at] ??= route;
    for (const used of findings.lost.used) {
      if ((findings.lost.columns[used]?.count[route] ?? 0) === 0 || used <= (filter[at] ?? -1)) continue;
      filter[at] = used;
      firstRoute[at] = route;
    }
  }
  return { filter, route: firstRoute };
}

function reasonOf(explained: Explained, endpoint: EndpointId, filter: number, route: number): string {
  const name = filterOrder[filter];
  // A filter removed at most some codecs of it: it takes part once it has loaded the model.
  if (explained.findings.lost.unready[route]) return "it has not loaded the model yet";
  if (name === undefined) return "";
  const detail = removedDetail(explained, name, route);
  if (name !== "unavailable") return detail;
  const unsaid = explained.inputs.model.poll?.failures.get(endpoint);
  return unsaid && !detail.includes(unsaid.message) ? `${detail}: ${unsaid.message}` : detail;
}

/** Why an endpoint offers nothing of the model. */
function withoutOffer({ inputs }: Explained, endpoint: EndpointId): string {
  const { poll: asked } = inputs.model;
  const unsaid = asked?.failures.get(endpoint);
  if (unsaid)
    return unsaid.reason === "deadline-exceeded" ? "its offer did not come in time" : unsaid.message;
  const heard = asked?.reports.get(endpoint);
  if (asked && !heard) return "waiting for its first offer";
  if (heard && !heard.knowledge) return "it does not have this model";
  return heard ? "it has another version or content of this model" : "it offers nothing of this model";
}
