/**
 * Which of very many copies a decision looks at: those where the request is expected to be over first, by the rough
 * numbers of the board, and a few others, drawn.
 *
 * A decision prices a place in about a microsecond and explains it in another, so looking at all of ten thousand is out of the
 * question. Drawing a few dozen (Mitzenmacher 2001, "The power of two choices in randomized load balancing") is quick and
 * nearly as good on the mean; the slowest answers show that the best one was not among them. The board finds it.
 * Those drawn are there for what nobody believes any good: a place of which too little is known, or that was slow once.
 *
 * What rules forbid is never looked at: the rows that are left are kept for each set of rules, what they promise for each size
 * of input.
 *
 * Invariant: a decision over a shortlist keeps the same rules as one over all, and a request for which nothing on it is
 * left is decided over all.
 */
import { demandedRank, type EndpointId, type Random, type Rules, trustRank } from "../base/index.ts";
import type { Features } from "../model/index.ts";
import { zoneRemoves } from "../plan/index.ts";
import { bucketFor, endpointTable, type EndpointTable, promisedMs } from "../table/index.ts";
import type { Board, Look } from "./board.ts";
import type { KnownModel } from "./known-model.ts";
import type { Place } from "./place.ts";

/** With more places than this, decisions look at a shortlist. */
export const manyPlaces = 128;

/** The best by the board, and drawn. */
const bestCount = 10;
const drawnCount = 2;
/** Share of the decisions in which a drawn place that is avoided, or unproven, gets a chance. */
export const exploredRatio = 0.01;
/** Sets of rules whose places are kept; the oldest goes first. */
const maxRules = 32;

/** What a request is that a shortlist is for. */
export interface Sought {
  readonly rules: Rules;
  readonly features: Features;
  readonly bytes: number;
  /** Where it would rather go on, and what is among the places in any case. */
  readonly also: EndpointId | undefined;
}

/** The places that one set of rules allows. */
interface Allowed {
  /** Those that promise most first. */
  readonly rows: Int32Array;
  /** What they promise, by bucket of the first variant. */
  readonly promised: Map<number, Pick<Look, "runMs" | "leastRunMs">>;
}

/** The shortlists of one model. */
export interface Shortlist {
  /** The places that a decision looks at, as it reads them. Those `out` are left alone for this model. */
  table(sought: Sought, nowMs: number, out?: ReadonlyMap<EndpointId, string>): EndpointTable;
  /** The places of the last table. */
  readonly looked: readonly Place[];
}

/** Shortlists among the places that offer a model, as far as they are known. */
export function shortlist(known: KnownModel, board: Board, random: Random): Shortlist {
  const byRules = new Map<string, Allowed>();
  let looked: readonly Place[] = [];

  function allowedBy(rules: Rules): Allowed {
    const key = `${rules.zones?.join(" ") ?? "*"}|${rules.leastTrust}`;
    const found = byRules.get(key);
    if (found) return found;
    const allowed: Allowed = { rows: rowsWithin(known, board, rules), promised: new Map() };
    byRules.set(key, allowed);
    if (byRules.size > maxRules)
      for (const oldest of byRules.keys()) return (byRules.delete(oldest), allowed);
    return allowed;
  }

  function promisedTo({ rows, promised }: Allowed, features: Features): Pick<Look, "runMs" | "leastRunMs"> {
    const [variant] = known.table.variants;
    const bucket = variant ? bucketFor(variant, features) : 0;
    const found = promised.get(bucket);
    if (found) return found;
    const runMs = Float64Array.from(rows, (row) => promisedAt(known, board, row, bucket));
    const leastRunMs = runMs.slice();
    for (let index = runMs.length - 2; index >= 0; index--) {
      leastRunMs[index] = Math.min(leastRunMs[index] ?? 0, leastRunMs[index + 1] ?? 0);
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
      const allowed = allowedBy(rules);
      const { rows } = allowed;
      const promised = promisedTo(allowed, features);
      const skipped = out && out.size > 0 ? new Set(Array.from(out.keys(), board.rowOf)) : undefined;
      const chosen = new Set(board.first({ rows, ...promised, bytes, count: bestCount, skipped }, nowMs));
      let tried: Place | undefined;
      for (let count = 0; count < drawnCount; count++) {
        const place = board.placeAt(rows[Math.floor(random.next() * rows.length)] ?? -1);
        if (!place) continue;
        chosen.add(place);
        if (place.untried(nowMs)) tried = place;
      }
      if (tried && random.next() >= exploredRatio) tried = undefined;
      const wanted = also === undefined ? undefined : board.placeAt(board.rowOf(also) ?? -1);
      if (wanted) chosen.add(wanted);
      looked = [...chosen];
      return endpointTable(looked.map((place) => place.view(nowMs, { afresh: place === tried })));
    },
  };
}

/** Rows of places that offer the model in allowed zones with enough trust, those that promise most first. */
function rowsWithin(known: KnownModel, board: Board, rules: Rules): Int32Array {
  const least = demandedRank(rules.leastTrust);
  const rows: { readonly row: number; readonly runMs: number }[] = [];
  for (const [id, offers] of known.offersBy) {
    const row = board.rowOf(id);
    const info = row === undefined ? undefined : board.placeAt(row)?.endpoint.info;
    if (row === undefined || !info || offers.length === 0) continue;
    if (zoneRemoves([info.zone], rules.zones, false) !== false || trustRank(info.trust) < least) continue;
    rows.push({ row, runMs: promisedAt(known, board, row, 0) });
  }
  return Int32Array.from(
    rows.sort((one, other) => one.runMs - other.runMs),
    ({ row }) => row,
  );
}

function promisedAt({ blocksBy }: KnownModel, board: Board, row: number, bucket: number): number {
  const id = board.placeAt(row)?.endpoint.info.id ?? "";
  return promisedMs(blocksBy.get(id) ?? [], bucket);
}
