/**
 * Where the runs of one version of a model fail. A broken file, a version that does not fit the accelerator, a bad canary:
 * the server that says so is well, and its other models are as good there as before. Whoever holds that against the whole
 * place, as a proxy does that counts replies of 5xx, takes all of its models away for the fault of one.
 *
 * So a failure of which the place itself says that it was a run's is held against that version there: its pause doubles and its
 * charge fades as those of a place do. What a place does not say (it is unreachable, silent, or answers nonsense) is held
 * against all of it, at once.
 *
 * Invariant: of the places that would answer, at most half are left alone for the runs of one version. Where more of them
 * fail, the requests or the model are more likely at fault, and leaving all alone would turn some failures into nothing but failures.
 */
import { dropOldest, type EndpointId, type LongshoreError, type Random, type Reason } from "../base/index.ts";
import type { ModelDescription, Segment } from "../model/index.ts";
import { type EndpointTable, withFailing } from "../table/index.ts";
import type { Place } from "./place.ts";
import { type PlaceHealth, placeHealth } from "./place-health.ts";

/** The version that was run. */
export type Ran = Pick<Segment, "model" | "version" | "digest">;

/** The version that is described. */
export function ranOf({ name, version, digest }: ModelDescription): Ran {
  return { model: name, version, digest };
}

/** What is held against versions at places. */
export interface RunFailures {
  /** Tells whether a failure is the version's own; then it is noted here, and nothing is to be held against the place. */
  failed(of: Ran, place: Place, error: LongshoreError, nowMs: number): boolean;
  /** It ran there. */
  answered(of: Ran, place: EndpointId, nowMs: number): void;
  /** How its runs fare there; undefined where none failed lately. */
  at(of: Ran, place: EndpointId): PlaceHealth | undefined;
  /** Places where it is left alone now, and why, of those that may run it. Empty almost always. */
  out(of: Ran, among: ReadonlyMap<EndpointId, unknown>, nowMs: number): ReadonlyMap<EndpointId, string>;
  /** The table as a decision about that version reads it. */
  charged(table: EndpointTable, of: Ran, out: ReadonlyMap<EndpointId, string>, nowMs: number): EndpointTable;
  /** A place is gone. */
  forget(place: EndpointId): void;
}

/** Failures that a place tells of a run: whoever says so is there. */
const ofRuns: ReadonlySet<Reason> = new Set<Reason>(["run-failed", "run-deadline", "runtime-crashed"]);
/** Versions that fail somewhere at the same time; the oldest is forgotten first. */
const maxVersions = 256;

const none: ReadonlyMap<EndpointId, string> = new Map();

/** Starts with nothing that failed. */
export function runFailures(places: ReadonlyMap<EndpointId, Place>, random: Random): RunFailures {
  const byVersion = new Map<string, Map<EndpointId, PlaceHealth>>();
  const keyOf = ({ model, version, digest }: Ran): string => JSON.stringify([model, version, digest]);
  const found = (of: Ran): Map<EndpointId, PlaceHealth> | undefined =>
    byVersion.size === 0 ? undefined : byVersion.get(keyOf(of));

  function made(of: Ran): Map<EndpointId, PlaceHealth> {
    const known = found(of);
    if (known) return known;
    const fresh = new Map<EndpointId, PlaceHealth>();
    byVersion.set(keyOf(of), fresh);
    dropOldest(byVersion, maxVersions);
    return fresh;
  }

  return {
    failed(of, place, error, nowMs) {
      if (!ofRuns.has(error.reason)) return false;
      const { id } = place.endpoint.info;
      const byPlace = made(of);
      const health = byPlace.get(id) ?? placeHealth(random);
      byPlace.set(id, health);
      health.failed(error, nowMs);
      return true;
    },
    answered(of, place, nowMs) {
      const byPlace = found(of);
      const health = byPlace?.get(place);
      if (!byPlace || !health) return;
      health.succeeded(nowMs);
      if (health.penaltyMs(nowMs) > 0) return;
      byPlace.delete(place);
      if (byPlace.size === 0) byVersion.delete(keyOf(of));
    },
    at: (of, place) => found(of)?.get(place),
    out(of, among, nowMs) {
      const byPlace = found(of);
      if (!byPlace) return none;
      const paused = [...byPlace].filter(
        ([id, health]) => among.has(id) && nowMs < health.pausedUntilMs && answers(places.get(id), nowMs),
      );
      if (paused.length === 0) return none;
      let answering = 0;
      for (const id of among.keys()) {
        // Half of them are as many as are left alone: the others need not be counted.
        if (answering >= 2 * paused.length) break;
        if (answers(places.get(id), nowMs)) answering++;
      }
      paused.sort(([, one], [, other]) => other.pausedUntilMs - one.pausedUntilMs);
      const most = Math.floor(answering / 2);
      return new Map(paused.slice(0, most).map(([id, health]) => [id, whyOf(of, health, nowMs)]));
    },
    charged(table, of, out, nowMs) {
      const byPlace = found(of);
      if (!byPlace) return table;
      return withFailing(
        table,
        [...byPlace].map(([id, health]) => ({
          id,
          penaltyMs: health.penaltyMs(nowMs),
          unavailable: out.get(id),
        })),
      );
    },
    forget(place) {
      for (const [key, byPlace] of byVersion) {
        if (byPlace.delete(place) && byPlace.size === 0) byVersion.delete(key);
      }
    },
  };
}

function answers(place: Place | undefined, nowMs: number): boolean {
  return place !== undefined && place.health.unavailable(nowMs) === undefined;
}

function whyOf({ model, version }: Ran, health: PlaceHealth, nowMs: number): string {
  return `of version ${version} of ${model}: ${health.unavailable(nowMs) ?? ""}`;
}
