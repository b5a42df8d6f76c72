import type { Clock, EndpointId, Observer } from "../../words/base/index.ts";
import type { ModelDescription, Segment } from "../../words/model/index.ts";
import type { EndpointState } from "../endpoints/index.ts";
import { type Evidence, evidence } from "./evidence.ts";
import type { CheckOptions } from "./options.ts";

/** How an answer was found to be wrong, of which model, and why. */
type Wrong = readonly [by: "golden input" | "agreement", model: string, because: string];

/** The trust in the answers of one endpoint. */
export interface Reputation extends Disposable {
  readonly endpoint: EndpointState;
  readonly evidence: Evidence;
  readonly quarantined: boolean;
  /** Why it was last quarantined. */
  readonly wrong: Wrong | undefined;
  /** It is quarantined, has no golden inputs, and its pause is over: requests that another endpoint answers are shown to it, too. */
  readonly awaitsRequests: boolean;
  /** The model whose golden inputs it gets. */
  proof: { readonly description: ModelDescription; readonly segment: Segment } | undefined;
  /** Whether it no longer has that model: then the next model that it is found to have is used. */
  proofGone: boolean;
  /** When it last answered a golden input rightly, by model. */
  readonly provenMs: Map<string, number>;
  /** Golden inputs that it was sent. */
  goldenSent: number;
  /** Quarantines the endpoint: it gets only requests whose answer is known. */
  quarantine(...wrong: Wrong): void;
  /** One such question was answered. */
  judged(right: boolean): void;
  /** Waits for another pause, because there was no request for it. */
  wait(): void;
}

/** Inputs of `reputationOf`. */
export interface ReputationParts {
  readonly options: CheckOptions;
  readonly clock: Clock;
  readonly observer: Observer;
  changed(): void;
  /** Answers since it was last checked and right. */
  unseen(): number;
  /** Called after a pause: sends a golden input, if there is one. */
  retry(reputation: Reputation): void;
}

/** Starts with full trust. */
export function reputationOf(endpointState: EndpointState, parts: ReputationParts): Reputation {
  const { clock, observer, options, changed, unseen, retry } = parts;
  const { firstPauseMs = 5000, longestPauseMs = 300_000 } = options;
  const endpoint: EndpointId = endpointState.endpoint.info.id;
  const seen = evidence();
  let sinceMs: number | undefined;
  let wrong: Wrong | undefined;
  let pauseMs = firstPauseMs;
  let row = 0;
  let waits = false;
  let timer: Disposable | undefined;
  /** Set when the reputation is disposed: results that arrive later change nothing. */
  let left = false;

  const later = (): void => {
    timer?.[Symbol.dispose]();
    timer = clock.timer(pauseMs, () => retry(reputation));
  };

  const readmit = (): void => {
    const nowMs = clock.nowMs();
    timer?.[Symbol.dispose]();
    endpointState.health.trust();
    seen.clear();
    observer.record({
      kind: "endpoint-readmitted",
      atMs: nowMs,
      endpoint,
      afterMs: nowMs - (sinceMs ?? nowMs),
    });
    sinceMs = undefined;
    waits = false;
    changed();
  };

  const reputation: Reputation = {
    endpoint: endpointState,
    evidence: seen,
    get quarantined() {
      return sinceMs !== undefined;
    },
    get wrong() {
      return wrong;
    },
    get awaitsRequests() {
      return waits;
    },
    proof: undefined,
    proofGone: false,
    provenMs: new Map(),
    goldenSent: 0,
    quarantine(...found) {
      if (sinceMs !== undefined || left) return;
      const [by, model, because] = (wrong = found);
      sinceMs = clock.nowMs();
      row = 0;
      pauseMs = firstPauseMs;
      endpointState.health.distrust(`it is quarantined: ${because}`);
      observer.record({
        kind: "endpoint-quarantined",
        atMs: sinceMs,
        endpoint,
        model,
        by,
        because,
        unseen: unseen(),
      });
      changed();
      later();
    },
    judged(right) {
      if (sinceMs === undefined || left) return;
      if (right) {
        row++;
        // Right answers to requests come as requests do; golden inputs are known and fewer prove more.
        if (row >= (options.readmitAfter ?? (waits ? 10 : 3))) readmit();
        else if (!waits) later();
        return;
      }
      row = 0;
      pauseMs = Math.min(longestPauseMs, 2 * pauseMs);
      waits = false;
      later();
    },
    wait() {
      waits = sinceMs !== undefined;
    },
    [Symbol.dispose]() {
      left = true;
      timer?.[Symbol.dispose]();
    },
  };
  return reputation;
}
