import {
  type Clock,
  type EndpointId,
  housekeepingCall,
  LongshoreError,
  type Reason,
  waitAtMost,
} from "../../words/base/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/** How long a result serves all callers, in milliseconds: probes may come from many balancers. */
const holdsMs = 1000;
/** An endpoint without an answer in this time counts as unreachable, in milliseconds. */
const patienceMs = 2000;
/** Any other failure is an answer of the endpoint. */
const silent: ReadonlySet<Reason> = new Set<Reason>([
  "unreachable",
  "no-answer",
  "deadline-exceeded",
  "bad-reply",
]);

/** Returns whether any endpoint answers now. Polls the endpoints at most once a second, and only when called. */
export function reachability(
  clock: Clock,
  endpoints: ReadonlyMap<EndpointId, EndpointState>,
): () => Promise<boolean> {
  let untilMs = -Infinity;
  let found: Promise<boolean> = Promise.resolve(false);

  async function answers({ endpoint, health }: EndpointState): Promise<boolean> {
    const { probe, models } = endpoint.capabilities ?? {};
    if (!probe && !models) return !health.absent;
    const control = new AbortController();
    const base = housekeepingCall(`reach-${endpoint.info.id}`, control.signal);
    const call = { ...base, deadlineMs: clock.nowMs() + patienceMs };
    let reached = false;
    const asked = (probe ? probe(0, call) : (models?.(call) ?? Promise.resolve())).then(
      () => void (reached = true),
      (thrown: unknown) =>
        void (reached = !silent.has(LongshoreError.from(thrown, "resolve", "asking").reason)),
    );
    await waitAtMost(asked, patienceMs, call.abort, clock, "resolve");
    control.abort(new LongshoreError("cancelled", "resolve", "nobody waits for it any more"));
    return reached;
  }

  /** As soon as one of them does. */
  function any(): Promise<boolean> {
    return new Promise((resolve) => {
      const asked = Array.from(endpoints.values(), (one) =>
        answers(one).then((reached) => reached && resolve(true)),
      );
      void Promise.all(asked).then(() => resolve(false));
    });
  }

  return () => {
    const nowMs = clock.nowMs();
    if (nowMs < untilMs) return found;
    untilMs = Infinity;
    found = any().finally(() => (untilMs = clock.nowMs() + holdsMs));
    return found;
  };
}
