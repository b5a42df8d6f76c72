/**
 * Finds endpoints whose answers are wrong although they look right. A client that trusts every reply of the right shape keeps using an
 * endpoint with a broken accelerator, with other content under the same name, or that lies, as long as it is quick.
 *
 * Two things are known of an answer in advance: the results of golden inputs, and that endpoints which run the same content agree. So an
 * endpoint gets a golden input when it is first used, when it returns, and from time to time. A small share of requests also runs at a
 * second permitted endpoint. If two answers differ, a third one (of this device if possible) decides which is wrong, or golden inputs do. A
 * wrong endpoint is quarantined: it gets nothing but golden inputs or, without any, requests that another endpoint answers. Right answers
 * in a row end the quarantine.
 *
 * Invariant: a check uses no endpoint that the request itself could not have used.
 */
import {
  type Clock,
  dropOldest,
  type EndpointId,
  housekeepingCall,
  failureEvent,
  LongshoreError,
  type Observer,
  type Random,
  withTime,
} from "../../words/base/index.ts";
import type { Endpoint, Offer } from "../../wire/endpoint/index.ts";
import { isForeignDigest } from "../../wire/oip/index.ts";
import { endCut, type ModelDescription, type Segment, startCut } from "../../words/model/index.ts";
import { disowned, type EndpointState } from "../endpoints/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import type { GoldenInputs, GoldenPair } from "./golden.ts";
import type { CheckOptions } from "./options.ts";
import { difference, toleranceFor } from "./same-answer.ts";
import { sampling } from "./sampling.ts";
import type { Reputation } from "./reputation.ts";
import { reputationsOf } from "./reputations.ts";

/** The answer of one endpoint to a request. */
export interface Opinion {
  readonly endpoint: EndpointId;
  /** Whether it is this endpoint, which is trusted. */
  readonly here: boolean;
  readonly outputs: Tensors;
  /** How far its variant and codecs agree with the exact answer, by the profile. */
  readonly agreementRatio: number;
}

/** The request that opinions are about. */
export interface Subject {
  readonly callId: string;
  readonly model: string;
}

/** An answered request, and the means to run it elsewhere. */
export interface AnsweredRequest extends Subject {
  readonly answer: Opinion;
  /**
   * Runs the request at one more permitted endpoint: this one, the named one although it is paused, or the best that is not in `without`;
   * of those paused for failures, the one whose pause ends first. Undefined if there is none. Rejects if the endpoint does not answer.
   */
  ask(from: {
    readonly without?: ReadonlySet<EndpointId>;
    readonly only?: EndpointId | "here";
  }): Promise<Opinion | undefined>;
}

/** Checks of one offloader. */
export interface Checks extends Disposable {
  /** Records an answer of an endpoint, checked or not. */
  gave(endpoint: EndpointId): void;
  /**
   * Whether a request that this endpoint answered is to be checked, which spends a token; undefined: no. The caller then keeps
   * a copy of the request for `examine`.
   */
  wants(answeredBy: EndpointId, bytes: number): boolean;
  /** Compares an answer with other opinions and draws the consequences. Never rejects. */
  examine(answered: AnsweredRequest): Promise<void>;
  /** Records that answers were compared before one was returned. `why` tells how one differs from the right one. */
  compared(
    about: Subject,
    right: Opinion,
    others: readonly { readonly opinion: Opinion; readonly why: string | undefined }[],
  ): void;
  /** Records that answers differ and none is known to be right: golden inputs decide. */
  undecided(about: Subject, opinions: readonly Opinion[]): void;
  /** Whether only requests can end the quarantine of some endpoint, so that it should get some whose answers were confirmed. */
  readonly awaiting: boolean;
  /**
   * Sends an endpoint a golden input if one is due, as after a failure (`downAtMs`, which includes its runs of the model; default: the
   * endpoint alone). A wrong answer quarantines it. Throws the error of the endpoint.
   */
  prove(
    endpointState: EndpointState,
    description: ModelDescription,
    offers: readonly Offer[],
    downAtMs?: number,
  ): Promise<void>;
}

/** Inputs of `createChecks`. */
export interface CheckParts {
  readonly options: CheckOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly endpoints: ReadonlyMap<EndpointId, EndpointState>;
  /** The set of usable endpoints changed. */
  changed(): void;
}

/** Checks under way at once. */
const maxUnderWay = 2;
/** Share of requests that also go to a quarantined endpoint if no others are run twice: nothing else ends its quarantine. */
const leastAwaitedRatio = 0.01;

/** Starts with full trust in every endpoint. */
export function createChecks(parts: CheckParts): Checks {
  const { clock, random, observer, endpoints, options } = parts;
  const { sampleRatio = 0.01, burst = 8, maxBytes = 8 * 2 ** 20 } = options;
  const { goldenEveryMs = 600_000, patienceMs = 10_000 } = options;
  const goldens = new Map<string, Promise<GoldenInputs | undefined>>();
  let tokens = Math.min(1, burst);
  let underWay = 0;
  let closed = false;
  const controls = new Set<AbortController>();
  const samples = sampling(random);
  const reputations = reputationsOf({
    ...parts,
    unseen: (endpointState) => samples.unseen(endpointState),
    retry: (one) => void retry(one),
  });

  function goldenOf(description: ModelDescription): Promise<GoldenInputs | undefined> {
    const { name, version, digest } = description;
    const key = keyOf(description);
    const known = goldens.get(key);
    if (known) return known;
    const found = (async () => {
      const golden = await options.golden?.(name, version);
      if (!golden || golden.pairs.length === 0) return undefined;
      // A foreign server does not state the content behind a name. That its answers are those of the name is what the input checks.
      return isForeignDigest(digest) || (golden.digest ?? digest) === digest ? golden : undefined;
    })();
    goldens.set(key, found);
    // As many as models in use; the oldest goes.
    dropOldest(goldens, 256);
    found.catch((thrown: unknown) => {
      goldens.delete(key);
      const error = LongshoreError.from(thrown, "resolve", `golden inputs of ${name}`);
      observer.record(failureEvent(error, { id: `golden-${name}`, model: name }, clock.nowMs()));
    });
    return found.catch(() => undefined);
  }

  /** One golden input, in turn. Throws when it is not answered, or not rightly. */
  async function askGolden(
    endpoint: Endpoint,
    segment: Segment,
    { dataClass }: GoldenInputs,
    pair: GoldenPair,
    agreementRatio: number,
  ): Promise<string | undefined> {
    const { id } = endpoint.info;
    const control = new AbortController();
    const base = housekeepingCall(`golden-${id}`, control.signal);
    const asked = { ...base, rules: { ...base.rules, dataClass } };
    const late = `${id} did not answer a golden input`;
    using own = withTime(asked, clock, patienceMs, () => new LongshoreError("no-answer", "execute", late));
    controls.add(control);
    try {
      const { outputs } = await endpoint.infer({ segment, inputs: pair.inputs, codecs: {} }, own.call);
      return difference(pair.outputs, outputs, pair.tolerance ?? toleranceFor(agreementRatio));
    } finally {
      controls.delete(control);
    }
  }

  /** True if a golden input was answered rightly; undefined if there is none. */
  async function prove(one: Reputation): Promise<boolean | undefined> {
    const { proof, endpoint: endpointState } = one;
    if (!proof) return undefined;
    const golden = await goldenOf(proof.description);
    const pair = golden?.pairs[one.goldenSent++ % golden.pairs.length];
    if (!golden || !pair) return undefined;
    const variant = proof.description.variants.find(({ name }) => name === proof.segment.variant);
    const because = await askGolden(
      endpointState.endpoint,
      proof.segment,
      golden,
      pair,
      variant?.agreementRatio ?? 1,
    );
    const { id } = endpointState.endpoint.info;
    const outcome = because === undefined ? "agreed" : "wrong";
    told(`golden-${id}`, proof.description.name, id, "golden input", outcome);
    if (because === undefined) {
      samples.right(endpointState);
      return true;
    }
    const { name } = proof.description;
    one.quarantine("golden input", name, `its answer to golden input ${pair.name} of ${name} ${because}`);
    return false;
  }

  async function retry(one: Reputation): Promise<void> {
    if (closed) return;
    try {
      const right = await prove(one);
      // Without golden inputs it is judged by requests that others answer, too.
      if (right !== undefined) one.judged(right);
      else one.wait();
    } catch (thrown) {
      one.proofGone = LongshoreError.is(thrown) && disowned(thrown, false);
      // It does not answer at all: that is no sign of being right.
      one.judged(false);
    }
  }

  function told(
    callId: string,
    model: string,
    endpoint: EndpointId,
    against: string,
    outcome: "agreed" | "wrong" | "undecided",
  ): void {
    observer.record({
      kind: "answer-checked",
      atMs: clock.nowMs(),
      callId,
      model,
      endpoint,
      against,
      outcome,
    });
  }

  /** Records whether an answer turned out to be right. */
  function judge({ callId, model }: Subject, one: Opinion, right: boolean, against: Opinion, why = ""): void {
    told(callId, model, one.endpoint, against.endpoint, right ? "agreed" : "wrong");
    const endpointState = one.here ? undefined : endpoints.get(one.endpoint);
    if (!endpointState) return;
    if (right) samples.right(endpointState);
    const known = reputations.of(endpointState);
    if (known.quarantined) {
      known.judged(right);
      return;
    }
    if (known.evidence.seen(right, one.agreementRatio * against.agreementRatio)) {
      const what = `its answer of ${model} ${why} (${against.endpoint} says otherwise)`;
      known.quarantine("agreement", model, what);
    }
  }

  const apart = (one: Opinion, other: Opinion): string | undefined =>
    difference(one.outputs, other.outputs, toleranceFor(one.agreementRatio * other.agreementRatio));

  async function settle(
    answered: AnsweredRequest,
    first: Opinion,
    second: Opinion,
    why: string,
  ): Promise<void> {
    if (second.here || first.here) {
      const [believed, other] = second.here ? [second, first] : [first, second];
      judge(answered, other, false, believed, why);
      return;
    }
    const without = new Set([first.endpoint, second.endpoint]);
    const doubted = (): boolean => reputations.all.get(second.endpoint)?.quarantined === true;
    const asked = async (): Promise<Opinion | undefined> =>
      (await answered.ask({ only: "here" })) ?? (await answered.ask({ without }));
    const third = await asked().catch((thrown: unknown) => {
      // A quarantined endpoint is judged even if the third does not answer.
      if (!doubted()) throw thrown;
      return undefined;
    });
    const firstWrong = third && apart(third, first);
    const secondWrong = third && apart(third, second);
    if (third && (firstWrong === undefined) !== (secondWrong === undefined)) {
      judge(answered, first, firstWrong === undefined, third, firstWrong);
      judge(answered, second, secondWrong === undefined, third, secondWrong);
      return;
    }
    // A quarantined endpoint is wrong if no other endpoint agrees with it.
    if (doubted()) judge(answered, second, false, first, why);
    else await undecided(answered, [first, second]);
  }

  async function undecided({ callId, model }: Subject, opinions: readonly Opinion[]): Promise<void> {
    const [first, second] = opinions;
    if (first && second) told(callId, model, first.endpoint, second.endpoint, "undecided");
    for (const { endpoint } of opinions) {
      const endpointState = endpoints.get(endpoint);
      if (endpointState) await prove(reputations.of(endpointState)).catch(() => undefined);
    }
  }

  function awaited(): Reputation | undefined {
    for (const one of reputations.all.values()) if (one.awaitsRequests) return one;
    return undefined;
  }

  async function examine(answered: AnsweredRequest): Promise<void> {
    const { answer } = answered;
    const only = awaited()?.endpoint.endpoint.info.id;
    const second = await answered.ask(
      only === undefined ? { without: new Set([answer.endpoint]) } : { only },
    );
    if (!second || closed) return;
    const why = apart(second, answer);
    if (why === undefined) {
      judge(answered, answer, true, second);
      judge(answered, second, true, answer);
    } else await settle(answered, answer, second, why);
  }

  return {
    gave(endpoint) {
      const endpointState = endpoints.get(endpoint);
      if (endpointState) samples.gave(endpointState);
    },
    wants(answeredBy, bytes) {
      const ratio = awaited() ? Math.max(sampleRatio, leastAwaitedRatio) : sampleRatio;
      tokens = Math.min(burst, tokens + 2 * ratio);
      const endpointState = endpoints.get(answeredBy);
      if (closed || ratio <= 0 || bytes > maxBytes || tokens < 1 || underWay >= maxUnderWay) return false;
      const suspect = reputations.all.get(answeredBy)?.evidence.suspect === true;
      if (!endpointState || (!suspect && !samples.wants(endpointState, ratio))) return false;
      tokens -= 1;
      return true;
    },
    async examine(answered) {
      underWay++;
      try {
        await examine(answered);
      } catch {
        // An endpoint did not answer, which its own health records: which one is right is unknown.
      } finally {
        underWay--;
      }
    },
    compared(about, right, others) {
      if (closed) return;
      for (const { opinion, why } of others) judge(about, opinion, why === undefined, right, why);
      const other = others.find(({ why }) => why === undefined);
      if (other) judge(about, right, true, other.opinion);
    },
    undecided: (about, opinions) => void (closed || undecided(about, opinions)),
    get awaiting() {
      return awaited() !== undefined;
    },
    async prove(endpointState, description, offers, downAtMs = endpointState.health.downAtMs) {
      const one = reputations.of(endpointState);
      const segment = wholeOf(description, offers);
      const key = keyOf(description);
      const nowMs = clock.nowMs();
      const provenMs = one.provenMs.get(key) ?? -Infinity;
      if (!segment) return;
      if (one.quarantined) {
        if (!one.proofGone || (one.proof && keyOf(one.proof.description) === key)) return;
        one.proof = { description, segment };
        one.proofGone = false;
        return;
      }
      if (nowMs - provenMs < goldenEveryMs && downAtMs <= provenMs) return;
      one.proof = { description, segment };
      if ((await prove(one)) === false) return;
      one.provenMs.set(key, clock.nowMs());
    },
    [Symbol.dispose]() {
      closed = true;
      reputations.clear();
      for (const control of controls)
        control.abort(new LongshoreError("shutting-down", "execute", "the offloader was closed"));
    },
  };
}

function keyOf({ name, version, digest }: ModelDescription): string {
  return JSON.stringify([name, version, digest]);
}

/** The whole model as an endpoint serves it. An endpoint without offers serves what it describes. */
function wholeOf(
  { name, version, digest, variants }: ModelDescription,
  offers: readonly Offer[],
): Segment | undefined {
  const [first] = variants;
  if (offers.length > 0) {
    return offers.find(({ segment }) => segment.from === startCut && segment.to === endCut)?.segment;
  }
  return first && { model: name, version, digest, variant: first.name, from: startCut, to: endCut };
}
