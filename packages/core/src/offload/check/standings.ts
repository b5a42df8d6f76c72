import { dropOldest, type EndpointId } from "../../words/base/index.ts";
import type { EndpointState } from "../endpoints/index.ts";
import { type Standing, standingOf, type StandingParts } from "./standing.ts";

/** The trust in the answers of each endpoint. */
export interface Standings {
  readonly all: ReadonlyMap<EndpointId, Standing>;
  of(endpoint: EndpointState): Standing;
  clear(): void;
}

/** Inputs of `standingsOf`. */
export interface StandingsParts extends Omit<StandingParts, "unseen"> {
  readonly endpoints: ReadonlyMap<EndpointId, EndpointState>;
  unseen(endpoint: EndpointState): number;
}

/** Endpoints that were in quarantine when they went and are remembered; the oldest is forgotten first. */
const maxGone = 1024;

/**
 * Starts with full trust in every endpoint. An endpoint that returns, or whose entry changes, becomes a new object, but its quarantine
 * continues: neither event makes wrong answers right.
 */
export function standingsOf(parts: StandingsParts): Standings {
  const { endpoints, unseen } = parts;
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
    of(endpoint) {
      const { id } = endpoint.endpoint.info;
      const known = all.get(id);
      if (known?.endpoint === endpoint) return known;
      forget(id);
      const made = standingOf(endpoint, { ...parts, unseen: () => unseen(endpoint) });
      all.set(id, made);
      const before = gone.get(id);
      gone.delete(id);
      made.proof = before?.proof;
      if (before?.wrong) made.quarantine(...before.wrong);
      for (const [other, { endpoint: left }] of all) if (endpoints.get(other) !== left) forget(other);
      return made;
    },
    clear() {
      for (const id of all.keys()) forget(id);
    },
  };
}
