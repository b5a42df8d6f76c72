import { dropOldest, type EndpointId } from "../../words/base/index.ts";
import type { EndpointState } from "../endpoints/index.ts";
import { type Reputation, reputationOf, type ReputationParts } from "./reputation.ts";

/** The trust in the answers of each endpoint. */
export interface Reputations {
  readonly all: ReadonlyMap<EndpointId, Reputation>;
  of(endpoint: EndpointState): Reputation;
  clear(): void;
}

/** Inputs of `reputationsOf`. */
export interface ReputationsParts extends Omit<ReputationParts, "unseen"> {
  readonly endpoints: ReadonlyMap<EndpointId, EndpointState>;
  unseen(endpoint: EndpointState): number;
}

/** Endpoints that were in quarantine when they went and are remembered; the oldest is forgotten first. */
const maxGone = 1024;

/**
 * Starts with full trust in every endpoint. An endpoint that returns, or whose entry changes, becomes a new object, but its quarantine
 * continues: neither event makes wrong answers right.
 */
export function reputationsOf(parts: ReputationsParts): Reputations {
  const { endpoints, unseen } = parts;
  const all = new Map<EndpointId, Reputation>();
  const gone = new Map<EndpointId, Reputation>();

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
      const made = reputationOf(endpoint, { ...parts, unseen: () => unseen(endpoint) });
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
