/**
 * Chooses which of very many endpoints a decision considers: those where the request is expected to end first, by the rough numbers of the
 * board (`board.ts`, a row of numbers for each endpoint), and a few random others.
 *
 * A decision prices an endpoint in about a microsecond and explains it in another, so it cannot consider all of ten thousand. A random few
 * dozen (Mitzenmacher 2001, "The power of two choices in randomized load balancing") is quick and nearly as good in the mean, but the
 * slowest answers show that the best endpoint was not among them. The board finds it. The random ones are for endpoints that look bad: too
 * little is known of them, or they were slow once.
 *
 * Endpoints that rules forbid are never considered: the allowed rows are kept for each set of rules, and their promises for each size of
 * input.
 *
 * Invariant: a decision over a shortlist keeps the same rules as one over all endpoints. If the shortlist leaves none, the decision
 * considers all.
 */
import {
  demandedRank,
  type EndpointId,
  type Random,
  type Rules,
  type TrustLevel,
  trustRank,
  type ZoneId,
} from "../../words/base/index.ts";
import type { Features } from "../../words/model/index.ts";
import { zoneRemoves } from "../../decide/plan/index.ts";
import { bucketFor, endpointTable, type EndpointTable, promisedMs } from "../../decide/table/index.ts";
import type { Board, BoardQuery } from "./board.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState } from "./endpoint-state.ts";

/** With more endpoints than this, decisions look at a shortlist. */
export const manyEndpoints = 128;

/** Endpoints chosen as the best by the board. */
const bestCount = 10;
/** Endpoints chosen at random. */
const drawnCount = 2;
/** Share of the decisions in which a random endpoint that is avoided or unproven is explored. */
export const exploredRatio = 0.01;
/**
 * Shortlists of recently used sets of rules are kept while they have at most this many rows for each endpoint. A region and its sites are
 * each a set.
 */
const keptRatio = 8;
/** A set counts for at least this many rows. */
const leastWeight = 32;

/** The request that a shortlist is for. */
export interface ShortlistRequest {
  readonly rules: Rules;
  readonly features: Features;
  readonly bytes: number;
  /** The endpoint that it prefers, which is always in the list. */
  readonly also: EndpointId | undefined;
}

/** Endpoints of one zone that are trusted alike. */
interface Neighbours {
  readonly zone: ZoneId;
  readonly trust: TrustLevel;
  readonly at: number[];
}

/** All endpoints of a model, ordered by promise. */
interface Ranked {
  readonly rows: Int32Array;
  readonly ids: readonly EndpointId[];
  /** Positions by zone and trust. */
  readonly neighbours: readonly Neighbours[];
  /** Promises by bucket of the first variant. */
  readonly promised: Map<number, Float64Array>;
}

/** The endpoints that one set of rules allows. */
interface Allowed {
  /** Positions among all, and their rows. */
  readonly at: Int32Array;
  readonly rows: Int32Array;
  /** Promises by bucket of the first variant. */
  readonly promised: Map<number, Pick<BoardQuery, "runMs" | "leastRunMs">>;
}

/** The shortlists of one model. */
export interface Shortlist {
  /** The endpoints that a decision considers, as it reads them. Those in `out` are paused for this model. */
  table(sought: ShortlistRequest, nowMs: number, out?: ReadonlyMap<EndpointId, string>): EndpointTable;
  /** The endpoints of the last table. */
  readonly looked: readonly EndpointState[];
}

/** Shortlists among the endpoints that offer a model, as far as they are known. */
export function shortlist(known: KnownModel, board: Board, random: Random): Shortlist {
  const byRules = new Map<string, Allowed>();
  let weight = 0;
  let ranked: Ranked | undefined;
  let looked: readonly EndpointState[] = [];

  function allowedBy(all: Ranked, rules: Rules): Allowed {
    const key = `${rules.zones?.join(" ") ?? "*"}|${rules.leastTrust}`;
    const found = byRules.get(key);
    if (found) {
      byRules.delete(key);
      byRules.set(key, found);
      return found;
    }
    const at = allowedAt(all, rules);
    const allowed: Allowed = { at, rows: at.map((index) => all.rows[index] ?? -1), promised: new Map() };
    byRules.set(key, allowed);
    weight += Math.max(leastWeight, at.length);
    for (const [oldest, { rows }] of byRules) {
      if (weight <= keptRatio * Math.max(manyEndpoints, all.rows.length) || oldest === key) break;
      byRules.delete(oldest);
      weight -= Math.max(leastWeight, rows.length);
    }
    return allowed;
  }

  function promisedTo(
    all: Ranked,
    { at, promised }: Allowed,
    features: Features,
  ): Pick<BoardQuery, "runMs" | "leastRunMs"> {
    const [variant] = known.table.variants;
    const bucket = variant ? bucketFor(variant, features) : 0;
    const found = promised.get(bucket);
    if (found) return found;
    let each = all.promised.get(bucket);
    if (!each) {
      each = Float64Array.from(all.ids, (id) => promisedMs(known.blocksBy.get(id) ?? [], bucket));
      all.promised.set(bucket, each);
    }
    const runMs = new Float64Array(at.length);
    const leastRunMs = new Float64Array(at.length);
    let least = Infinity;
    for (let index = at.length - 1; index >= 0; index--) {
      const ms = each[at[index] ?? 0] ?? 0;
      runMs[index] = ms;
      leastRunMs[index] = least = Math.min(least, ms);
    }
    const made = { runMs, leastRunMs };
    promised.set(bucket, made);
    return made;
  }

  return {
    get looked() {
      return looked;
    },
    table({ rules, features, bytes, also }, nowMs, out) {
      ranked ??= rankedOf(known, board);
      const allowed = allowedBy(ranked, rules);
      const { rows } = allowed;
      const promised = promisedTo(ranked, allowed, features);
      const skipped = out && out.size > 0 ? new Set(Array.from(out.keys(), board.rowOf)) : undefined;
      const chosen = new Set(board.first({ rows, ...promised, bytes, count: bestCount, skipped }, nowMs));
      let tried: EndpointState | undefined;
      for (let count = 0; count < drawnCount; count++) {
        const endpoint = board.endpointAt(rows[Math.floor(random.next() * rows.length)] ?? -1);
        if (!endpoint) continue;
        chosen.add(endpoint);
        if (endpoint.reading.untried(nowMs)) tried = endpoint;
      }
      if (tried && random.next() >= exploredRatio) tried = undefined;
      const wanted = also === undefined ? undefined : board.endpointAt(board.rowOf(also) ?? -1);
      if (wanted) chosen.add(wanted);
      looked = [...chosen];
      return endpointTable(
        looked.map((endpoint) => endpoint.reading.view(nowMs, { afresh: endpoint === tried })),
      );
    },
  };
}

/** Endpoints that offer the model. */
function rankedOf(known: KnownModel, board: Board): Ranked {
  const found: { readonly row: number; readonly endpoint: EndpointState; readonly runMs: number }[] = [];
  for (const [id, offers] of known.offersBy) {
    const row = board.rowOf(id) ?? -1;
    const endpoint = board.endpointAt(row);
    if (endpoint && offers.length > 0)
      found.push({ row, endpoint, runMs: promisedMs(known.blocksBy.get(id) ?? [], 0) });
  }
  found.sort((one, other) => one.runMs - other.runMs);
  const neighbours = new Map<string, Neighbours>();
  for (const [index, { endpoint }] of found.entries()) {
    const { zone, trust } = endpoint.endpoint.info;
    const key = `${trust} ${zone}`;
    const same = neighbours.get(key);
    if (same) same.at.push(index);
    else neighbours.set(key, { zone, trust, at: [index] });
  }
  return {
    rows: Int32Array.from(found, ({ row }) => row),
    ids: found.map(({ endpoint }) => endpoint.endpoint.info.id),
    neighbours: [...neighbours.values()],
    promised: new Map(),
  };
}

/** Positions of the endpoints in allowed zones and with enough trust, in order. */
function allowedAt({ neighbours }: Ranked, { zones, leastTrust }: Rules): Int32Array {
  const least = demandedRank(leastTrust);
  const at = neighbours.flatMap((some) =>
    zoneRemoves([some.zone], zones, false) === false && trustRank(some.trust) >= least ? some.at : [],
  );
  return Int32Array.from(at).sort();
}
