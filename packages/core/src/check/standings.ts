import { dropOldest, type EndpointId } from "../base/index.ts";
import type { Place } from "../places/index.ts";
import { type Standing, standingOf, type StandingParts } from "./standing.ts";

/** How far the answers of each place are believed. */
export interface Standings {
  readonly all: ReadonlyMap<EndpointId, Standing>;
  of(place: Place): Standing;
  clear(): void;
}

/** What they need. */
export interface StandingsParts extends Omit<StandingParts, "unseen"> {
  readonly places: ReadonlyMap<EndpointId, Place>;
  unseen(place: Place): number;
}

/** Places that were in quarantine when they went and are remembered; the oldest is forgotten first. */
const maxGone = 1024;

/**
 * Starts with everybody in good standing. A place is made anew when it comes back, and when something else is said of it: neither
 * makes right what was wrong, so that its quarantine goes on.
 */
export function standingsOf(parts: StandingsParts): Standings {
  const { places, unseen } = parts;
  const all = new Map<EndpointId, Standing>();
  const gone = new Map<EndpointId, Standing>();

  function forget(id: EndpointId): void {
    const one = all.get(id);
    one?.[Symbol.dispose]();
    all.delete(id);
    if (one?.quarantined) gone.set(id, one);
    dropOldest(gone, maxGone);
  }

  return {
    all,
    of(place) {
      const { id } = place.endpoint.info;
      const known = all.get(id);
      if (known?.place === place) return known;
      forget(id);
      const made = standingOf(place, { ...parts, unseen: () => unseen(place) });
      all.set(id, made);
      const before = gone.get(id);
      gone.delete(id);
      made.proof = before?.proof;
      if (before?.wrong) made.quarantine(...before.wrong);
      for (const [other, { place: left }] of all) if (places.get(other) !== left) forget(other);
      return made;
    },
    clear() {
      for (const id of all.keys()) forget(id);
    },
  };
}
