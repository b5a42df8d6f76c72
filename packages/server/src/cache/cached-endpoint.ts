import {
  type Call,
  type Clock,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LoadReport,
  type ModelKnowledge,
  type Observer,
  type Progress,
  type Segment,
  type Tensors,
} from "@longshore/core";
import { copied, dropOldest, wrapEndpoint, readInputs, totalBytes } from "@longshore/core/internal";
import { answerKey, type KeyHash } from "./answer-key.ts";
import { entryBytes, fromMemory } from "./answer-copy.ts";
import { answerStore } from "./answer-store.ts";
import { singleFlight } from "./single-flight.ts";

/** The parts of a cache of answers. */
export interface CacheParts {
  readonly clock: Clock;
  readonly observer: Observer;
  readonly hash: KeyHash;
  /** Memory for answers, in bytes; 0 keeps none, and equal requests under way still share a run. */
  readonly maxBytes: number;
  /** How busy the endpoint is now, for answers that it gives from memory. Default: as it was when the answer was made. */
  readonly load?: () => LoadReport;
}

/** Models that are known to be cached or not; the oldest goes. */
const maxModels = 4096;

/** Answers that are kept, and equal requests that are under way at the same time and run once. */
export interface AnswerCache {
  /**
   * An answer from memory, that of an equal request under way, or that of `run`; the caller's, and an account that says which.
   * Answers are kept apart by tenant, rules, content of the model and inputs; failures are never kept.
   */
  infer(
    request: InferenceRequest,
    call: Call,
    run: (call: Call, inputs: Tensors) => Promise<InferenceResponse>,
  ): Promise<InferenceResponse>;
  clear(): void;
}

/** A cache for answers of all models of an endpoint, for its callers and for the steps of its pipelines. */
export function answerCache(parts: CacheParts): AnswerCache {
  const { clock, observer, hash, maxBytes, load } = parts;
  const answers = answerStore<InferenceResponse>(maxBytes);
  const flights = singleFlight<InferenceResponse>(clock);

  function again(response: InferenceResponse, model: string, tookMs: number): InferenceResponse {
    const { account, outputs } = response;
    return {
      ...response,
      outputs: copied(outputs),
      account: fromMemory(account, model, tookMs),
      ...(load ? { load: load() } : {}),
    };
  }

  function keep(key: string, { segment }: InferenceRequest, response: InferenceResponse): void {
    // An answer of a lesser variant is better than none now; the next request does not want it.
    if (response.account.segment.variant !== segment.variant) return;
    const { outputs } = response;
    const bytes = totalBytes(outputs) + key.length + entryBytes;
    const evicted = answers.put(key, { ...response, outputs: copied(outputs) }, bytes);
    if (evicted < 0) return;
    observer.record({
      kind: "cache-changed",
      atMs: clock.nowMs(),
      entries: answers.entries,
      bytes: answers.bytes,
      maxBytes,
      evicted,
    });
  }

  const infer: AnswerCache["infer"] = async (request, call, run) => {
    const { segment } = request;
    const { model, version } = segment;
    const startedMs = clock.nowMs();
    const inputs = await readInputs(request.inputs, call);
    const key = await answerKey(request, inputs, call, hash);
    const asked = (outcome: "hit" | "joined" | "miss", tookMs: number): void => {
      const atMs = clock.nowMs();
      observer.record({ kind: "cache-asked", atMs, callId: call.id, model, version, outcome, tookMs });
      observer.record({ kind: "stage-ended", atMs, callId: call.id, stage: "cache", name: outcome, tookMs });
    };
    const found = answers.get(key);
    const lookMs = clock.nowMs() - startedMs;
    if (found) {
      asked("hit", lookMs);
      return again(found, model, lookMs);
    }
    // A request that takes a lesser variant must not decide for those that do not.
    const flight = `${key} ${request.leastAgreementRatio ?? ""}`;
    // A request that waits for another's run needs no slot of its own.
    if (flights.under(flight)) request.pass?.[Symbol.dispose]();
    let keptMs = 0;
    const { value, joined, shared } = await flights.fly(flight, call, async (own) => {
      const response = await run(own, inputs);
      const answeredMs = clock.nowMs();
      keep(key, request, response);
      keptMs = clock.nowMs() - answeredMs;
      return response;
    });
    if (joined) {
      const tookMs = clock.nowMs() - startedMs;
      asked("joined", tookMs);
      return again(value, model, tookMs);
    }
    asked("miss", lookMs + keptMs);
    return shared ? { ...value, outputs: copied(value.outputs) } : value;
  };

  return { infer, clear: () => answers.clear() };
}

/** A pass that reserves no slot: the request is answered without a run, or judged again before one. */
export const noReservation: Disposable = { [Symbol.dispose]: () => undefined };

/** Whether an error says that there is no time or no slot for a run. */
function isForRun(thrown: unknown): boolean {
  return LongshoreError.is(thrown) && (thrown.reason === "rejected" || thrown.reason === "queue-full");
}

/**
 * Asks a cache before an endpoint, for models whose operator says that equal inputs have equal answers
 * (`ModelDescription.responseCache`). Requests of a sequence, those that name no content, and those for several answers pass
 * through. For want of time or a slot none is refused before its inputs are there: its answer may be in memory, or on its way.
 *
 * Which models are cached is learned from the descriptions that pass through here.
 */
export function cachedEndpoint(inner: Endpoint, answers: AnswerCache): Endpoint {
  const cached = new Map<string, boolean>();

  function learn(found: ModelKnowledge | undefined): void {
    if (!found) return;
    const { digest, responseCache = false } = found.description;
    if (cached.get(digest) === responseCache) return;
    cached.delete(digest);
    cached.set(digest, responseCache);
    dropOldest(cached, maxModels);
  }

  /** For a model whose answers are kept only requests that must run need a slot, and the run judges that again. */
  function admit(segment: Segment, judge: () => Disposable): Disposable {
    try {
      return judge();
    } catch (thrown) {
      if (cached.get(segment.digest) === true && isForRun(thrown)) return noReservation;
      throw thrown;
    }
  }

  const { admit: judge, known } = inner.capabilities;
  // `forgetsInputs` holds: answers are kept as copies, and requests that share a run wait for it before the first of them is answered.
  return wrapEndpoint(inner, {
    capabilities: {
      admit: judge && ((segment, call, least) => admit(segment, () => judge(segment, call, least))),
      known:
        known &&
        ((model, version, call) => {
          const found = known(model, version, call);
          learn(found);
          return found;
        }),
    },
    async describe(model, version, call) {
      const found = await inner.describe(model, version, call);
      learn(found);
      return found;
    },
    infer(request: InferenceRequest, call: Call, progress?: Progress) {
      const { digest } = request.segment;
      const takes = digest !== "" && !request.sequence && cached.get(digest) === true;
      if (!takes) return inner.infer(request, call, progress);
      return answers.infer(request, call, (own, inputs) => inner.infer({ ...request, inputs }, own));
    },
    async close() {
      answers.clear();
      await inner.close();
    },
  });
}
