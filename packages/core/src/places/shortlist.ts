/**
 * Which of very many copies a decision looks at.
 *
 * Looking at all of them takes time in proportion to their number, and the best of ten thousand is hardly better than the
 * best of a few dozen that were drawn well: the load of the best of `d` drawn servers falls with `d` as if all were looked
 * at (Mitzenmacher 2001, "The power of two choices in randomized load balancing"), and with the best of the last draw kept
 * for the next, few draws are enough (Shah and Prabhakar 2002, "The use of memory in randomized load balancing"). Where
 * servers differ, a fair draw would mostly find slow ones, so most draws prefer those that promise most; the rest are fair,
 * so that whatever is idle is found.
 *
 * What is laid out for one draw serves a few decisions; loads are read for each. Places that zones or trust of a request
 * forbid are not drawn: those that are left are sorted once for each set of rules.
 *
 * Invariant: a decision over a shortlist keeps the same rules as one over all, and a request for which nothing on it is
 * left is decided over all.
 */
import { type EndpointId, type Random, type Rules, trustRank } from "../base/index.ts";
import { meanOf } from "../estimate/index.ts";
import { zoneRemoves } from "../plan/index.ts";
import { endpointTable, type EndpointTable, withLoads } from "../table/index.ts";
import type { KnownModel } from "./known-model.ts";
import type { Place } from "./place.ts";

/** With more places than this, decisions look at a shortlist. */
export const manyPlaces = 128;

/** Kept from the last draw, drawn by promise, and drawn fairly. */
const keptCount = 16;
const promisingCount = 24;
const fairCount = 16;
/** The power by which draws prefer those that promise most: half of them fall into the first quarter. */
const preference = 2;
/** A draw serves so many decisions, and no longer than this, in milliseconds. */
const decisionsPerDraw = 4;
const drawHoldsMs = 20;
/** Sets of rules whose places are kept sorted; the oldest goes first. */
const maxRules = 32;

/** Draws for one set of rules. */
interface Draws {
  /** Places that the rules allow, those that promise most first. */
  readonly sorted: readonly Place[];
  /** What they promise, in milliseconds. */
  readonly promised: ReadonlyMap<Place, number>;
  chosen: readonly Place[];
  table: EndpointTable;
  /** Decisions that the draw has served, and when it was made. */
  served: number;
  atMs: number;
}

/** The shortlists of one model. */
export interface Shortlist {
  /** The places that a decision under these rules looks at, as it reads them; those in `also` are among them. */
  table(rules: Rules, also: EndpointId | undefined, nowMs: number): EndpointTable;
  /** The places of the last table. */
  readonly looked: readonly Place[];
}

/** Shortlists among the places that offer a model, as far as they are known. */
export function shortlist(known: KnownModel, all: ReadonlyMap<EndpointId, Place>, random: Random): Shortlist {
  const byRules = new Map<string, Draws>();
  let looked: readonly Place[] = [];

  function begin(rules: Rules): Draws {
    const key = `${rules.zones?.join(" ") ?? "*"}|${rules.leastTrust}`;
    const found = byRules.get(key);
    if (found) return found;
    const draws: Draws = {
      ...sortedPlaces(known, all, rules),
      chosen: [],
      table: endpointTable([]),
      served: Infinity,
      atMs: -Infinity,
    };
    byRules.set(key, draws);
    if (byRules.size > maxRules) for (const oldest of byRules.keys()) return (byRules.delete(oldest), draws);
    return draws;
  }

  function draw(
    { sorted, promised, chosen }: Draws,
    also: EndpointId | undefined,
    nowMs: number,
  ): readonly Place[] {
    const best = chosen
      .filter((place) => place.health.unavailable(nowMs) === undefined)
      .map((place) => ({ place, endsMs: endsMs(place, promised.get(place) ?? 0, nowMs) }))
      .sort((one, other) => one.endsMs - other.endsMs);
    const drawn = new Set(best.slice(0, keptCount).map(({ place }) => place));
    const add = (ratio: number): void => {
      const place = sorted[Math.floor(ratio * sorted.length)];
      if (place) drawn.add(place);
    };
    for (let count = 0; count < promisingCount; count++) add(random.next() ** preference);
    for (let count = 0; count < fairCount; count++) add(random.next());
    const wanted = also === undefined ? undefined : all.get(also);
    if (wanted) drawn.add(wanted);
    return [...drawn];
  }

  return {
    get looked() {
      return looked;
    },
    table(rules, also, nowMs) {
      const draws = begin(rules);
      const missing = also !== undefined && !draws.table.index.has(also);
      if (missing || draws.served >= decisionsPerDraw || nowMs - draws.atMs > drawHoldsMs) {
        draws.chosen = draw(draws, also, nowMs);
        draws.table = endpointTable(draws.chosen.map((place) => place.view(nowMs)));
        draws.served = 0;
        draws.atMs = nowMs;
      } else {
        draws.table = withLoads(
          draws.table,
          draws.chosen.map((place) => place.view(nowMs)),
        );
      }
      draws.served++;
      looked = draws.chosen;
      return draws.table;
    },
  };
}

/** When a request that is sent there now is believed to end, in milliseconds from now. */
function endsMs(place: Place, promisedMs: number, nowMs: number): number {
  return place.queueMs(nowMs) + place.health.penaltyMs(nowMs) + promisedMs * place.service.ratio(nowMs);
}

/** Places that offer the model in allowed zones with enough trust, by what they promise for the whole. */
function sortedPlaces(
  { offersBy }: KnownModel,
  all: ReadonlyMap<EndpointId, Place>,
  rules: Rules,
): Pick<Draws, "sorted" | "promised"> {
  const least = trustRank(rules.leastTrust);
  const promised = new Map<Place, number>();
  for (const [id, [offer]] of offersBy) {
    const place = all.get(id);
    if (!place || !offer) continue;
    const { zone, trust } = place.endpoint.info;
    if (zoneRemoves([zone], rules.zones, false) !== false || trustRank(trust) < least) continue;
    const linkMs = place.table.down[0] ?? 0;
    promised.set(place, meanOf(offer.completionMs) - offer.queueMs + 2 * linkMs);
  }
  const sorted = [...promised].sort(([, one], [, other]) => one - other).map(([place]) => place);
  return { sorted, promised };
}
