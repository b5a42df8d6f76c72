import {
  type Clock,
  dropOldest,
  type EndpointId,
  housekeepingCall,
  LongshoreError,
  waitAtMost,
} from "../../words/base/index.ts";
import { endpointsByStep } from "../steps/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type EndpointState, ranOf } from "../endpoints/index.ts";

/** How long a result serves all callers, in milliseconds. */
const holdsMs = 1000;
/** An endpoint that does not answer in this time counts as not ready, in milliseconds. */
const patienceMs = 2000;
/** The most models whose result is kept. The one used least recently is dropped. */
const maxModels = 256;

interface Found {
  /** Infinity while it is being found out. */
  untilMs: number;
  readonly ready: Promise<boolean>;
}

/**
 * Returns whether any endpoint is ready for a model, and for the models of its steps that other endpoints have. Earlier requests and polls
 * say little after a quiet time, so the endpoints are polled when this is called. Calls within a second share one result, so balancers and
 * monitors may call as often as they like. A result is at most three seconds old.
 */
export function readiness(
  clock: Clock,
  endpoints: ReadonlyMap<EndpointId, EndpointState>,
): (known: KnownModel) => Promise<boolean> {
  const found = new Map<string, Found>();

  async function isReady({ description }: KnownModel, { endpoint, health }: EndpointState): Promise<boolean> {
    if (!endpoint.capabilities.ready) return !health.absent;
    const control = new AbortController();
    const base = housekeepingCall(`ready-${endpoint.info.id}`, control.signal);
    const call = { ...base, deadlineMs: clock.nowMs() + patienceMs };
    let ready = false;
    const asked = endpoint.capabilities.ready(description.name, description.version, call).then(
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
    const needed = await Promise.all(endpointsByStep(known).map((ids) => anyReady(known, ids)));
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
