import {
  type Clock,
  dropOldest,
  type EndpointId,
  housekeepingCall,
  LongshoreError,
  waitAtMost,
} from "../../words/base/index.ts";
import { neededEndpoints } from "../steps/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type EndpointState, ranOf } from "../endpoints/index.ts";

/** For how long what was found out is told to all that ask, in milliseconds. */
const holdsMs = 1000;
/** An endpoint that does not say within so many milliseconds that it is ready is not. */
const patienceMs = 2000;
/** Models that are remembered; the one that was asked about longest ago goes. */
const maxModels = 256;

interface Found {
  /** Infinity while it is being found out. */
  untilMs: number;
  readonly ready: Promise<boolean>;
}

/**
 * Tells whether any endpoint is ready for a model, or one each for the models of its steps that are no part of it. What requests and questions have shown says little where there were none of late:
 * so the endpoints are asked when somebody wants to know, and all who want to know within a second are told the same. Balancers and
 * monitors may ask as often as they like, and are told what was so three seconds ago at most.
 */
export function readiness(
  clock: Clock,
  endpoints: ReadonlyMap<EndpointId, EndpointState>,
): (known: KnownModel) => Promise<boolean> {
  const found = new Map<string, Found>();

  async function isReady({ description }: KnownModel, { endpoint, health }: EndpointState): Promise<boolean> {
    if (!endpoint.capabilities?.ready) return !health.absent;
    const control = new AbortController();
    const base = housekeepingCall(`ready-${endpoint.info.id}`, control.signal);
    const call = { ...base, deadlineMs: clock.nowMs() + patienceMs };
    let ready = false;
    const asked = endpoint.capabilities?.ready(description.name, description.version, call).then(
      (said) => void (ready = said),
      () => undefined,
    );
    await waitAtMost(asked, patienceMs, call.abort, clock, "resolve");
    control.abort(new LongshoreError("cancelled", "resolve", "nobody waits for it any more"));
    return ready;
  }

  /** As soon as one of them is. */
  function anyReady(known: KnownModel, ids: readonly EndpointId[]): Promise<boolean> {
    const able = ids.flatMap((id) => endpoints.get(id) ?? []).filter(({ health }) => !health.distrusted);
    return new Promise((resolve) => {
      const asked = able.map((endpointState) =>
        isReady(known, endpointState).then((ready) => ready && resolve(true)),
      );
      void Promise.all(asked).then(() => resolve(false));
    });
  }

  async function allReady(known: KnownModel): Promise<boolean> {
    const needed = await Promise.all(neededEndpoints(known).map((ids) => anyReady(known, ids)));
    return needed.every(Boolean);
  }

  return (known) => {
    const key = JSON.stringify(ranOf(known.description));
    const before = found.get(key);
    if (before && clock.nowMs() < before.untilMs) return before.ready;
    const now: Found = { untilMs: Infinity, ready: allReady(known) };
    void now.ready.then(() => (now.untilMs = clock.nowMs() + holdsMs));
    found.delete(key);
    found.set(key, now);
    dropOldest(found, maxModels);
    return now.ready;
  };
}
