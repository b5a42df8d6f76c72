/**
 * Confirms answers before they are returned. Checks find an endpoint that begins to lie only after a while, however frequent they are. A
 * caller that cannot bear one wrong answer has to wait for a second opinion on each.
 *
 * So two endpoints get the request at once, and the answer is returned if both agree. Otherwise a third decides. Each of the two is a whole
 * request with its own back-ups, except at endpoints that have the other copy, where an answer would confirm nothing. A late one without a
 * back-up stays under way, and an endpoint without a copy gets one beside it. Behind gateways both may still be answered by the same
 * endpoint; then another one is used. A run on this device needs no confirmation for its own apps.
 *
 * Invariant: no answer is returned that only one other endpoint gave, whatever fails. Then it is an error.
 */
import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import type { Checks, Opinion } from "./checks.ts";
import { difference, sameBody, toleranceFor } from "./same-answer.ts";

/** The answer of one endpoint, with everything that must be equal in another. */
export interface ComparableAnswer<T> {
  readonly opinion: Opinion;
  /** Variant and codecs. If they are equal, the numbers are, whatever the profile states. */
  readonly way: string;
  /** State after the step of a sequence. */
  readonly state: Tensors | undefined;
  /** Every endpoint that took part, from the account: two gateways may have used the same server. */
  readonly by: ReadonlySet<EndpointId>;
  readonly value: T;
}

/** A question under way. */
export interface PendingAnswer<T> {
  /** The endpoint that got it first; empty for a run on this device, which is trusted. */
  readonly first: ReadonlySet<EndpointId>;
  readonly answer: Promise<ComparableAnswer<T>>;
  /** Whether an endpoint was found. */
  readonly begun: boolean;
  /** Called when its answer is no longer needed. */
  end(): void;
}

/** Constraints on the next endpoint, and the callback for a late one. */
export interface NextEndpoint {
  readonly without: ReadonlySet<EndpointId>;
  /**
   * Called when it is late or `lost` without a back-up that could confirm anything. Returns whether another endpoint was used; `again` is
   * called when that one is over and the answer still not confirmed.
   */
  readonly late: (lost: boolean, again: () => void) => boolean;
  /**
   * Set if another copy is late or lost. Then only endpoints without a copy of this request are used, or those that refused it as
   * overloaded; if the copy is only late, only healthy ones.
   */
  readonly beside?: "late" | "lost" | undefined;
}

/** The request to confirm, and how to run it. */
export interface ConfirmParts<T> {
  readonly callId: string;
  readonly model: string;
  /** Where to record what answers show; undefined without checks. */
  readonly checks: Checks | undefined;
  /** Whether an answer that was made here needs no other. */
  readonly believesHere: boolean;
  /** Uses the best endpoint that is not in `without`, with its back-ups. */
  ask(wanted: NextEndpoint): PendingAnswer<T>;
  /** Calls `tell` a moment before the deadline: an answer without confirmation by then is not returned. Undefined without a deadline. */
  nearlyOver(tell: () => void): Disposable | undefined;
  /** An error that no other endpoint changes: the request is at fault, or its time is over. */
  final(error: LongshoreError): boolean;
}

/** The most endpoints used for one request, the first two included. */
const mostAsked = 6;

/**
 * The answer that two endpoints gave. `by` is the other endpoint; undefined for a run on this device. Throws the first endpoint's error if
 * none answers, and `unconfirmed` if a moment before the deadline only one has answered, or all disagree.
 */
export async function confirmed<T>(
  parts: ConfirmParts<T>,
): Promise<{ readonly value: T; readonly by: EndpointId | undefined }> {
  const answers: ComparableAnswer<T>[] = [];
  const failed: { readonly without: ReadonlySet<EndpointId>; readonly error: LongshoreError }[] = [];
  const underWay = new Set<PendingAnswer<T>>();
  let asked = 0;
  let over = false;
  let news = (): void => undefined;
  const helping = new Map<PendingAnswer<T>, () => void>();
  const late = (lost: boolean, again: () => void): boolean => {
    if (over || asked >= mostAsked) return false;
    const asking = ask(nobody, lost ? "lost" : "late");
    if (asking.begun) helping.set(asking, again);
    return asking.begun;
  };
  const ask = (without: ReadonlySet<EndpointId>, beside?: NextEndpoint["beside"]): PendingAnswer<T> => {
    const asking = parts.ask({ without, late, beside });
    if (asking.begun || !beside) asked++;
    underWay.add(asking);
    void asking.answer
      .then(
        (said) => void answers.push(said),
        (thrown: unknown) => {
          const error = LongshoreError.from(thrown, "execute", `asking for ${parts.model}`);
          // That no further endpoint was left says nothing about those under way.
          if (!beside || parts.final(error)) failed.push({ without, error });
        },
      )
      .then(() => {
        underWay.delete(asking);
        news();
      });
    return asking;
  };
  using _timer = parts.nearlyOver(() => {
    over = true;
    news();
  });
  try {
    const { first } = ask(nobody);
    if (first.size > 0) ask(first);
    for (let judged = 0; ; judged = answers.length) {
      await new Promise<void>((resolve) => (news = resolve));
      const error = failed.find((one) => parts.final(one.error))?.error;
      if (error) throw tooLate(answers, error);
      for (let at = judged; at < answers.length; at++) {
        const found = agreed(answers.slice(0, at + 1), parts.believesHere);
        if (!found) continue;
        told(parts, found.one, answers);
        return { value: found.one.value, by: found.other?.opinion.endpoint };
      }
      if (over && answers.length > 0) throw unconfirmed(parts, answers, undefined, " before the deadline");
      for (const [asking, again] of helping) if (!underWay.has(asking) && helping.delete(asking)) again();
      if (underWay.size > 0) continue;
      const without = new Set(answers.flatMap(({ opinion, by }) => [opinion.endpoint, ...by]));
      const none = failed.find((one) => [...without].every((id) => one.without.has(id)));
      if (none && answers.length === 0) throw none.error;
      if (none || asked >= mostAsked) throw unconfirmed(parts, answers, none?.error);
      ask(without);
    }
  } finally {
    over = true;
    for (const one of underWay) one.end();
  }
}

const nobody: ReadonlySet<EndpointId> = new Set();

/** The last answer with an earlier one that agrees; alone if it was computed here. */
function agreed<T>(
  answers: readonly ComparableAnswer<T>[],
  believesHere: boolean,
): { readonly one: ComparableAnswer<T>; readonly other?: ComparableAnswer<T> } | undefined {
  const last = answers.at(-1);
  if (!last || (believesHere && last.opinion.here)) return last && { one: last };
  const same = answers.find((one) => one !== last && independent(one, last) && !differs(one, last));
  return same && { one: same, other: last };
}

function independent(one: ComparableAnswer<unknown>, other: ComparableAnswer<unknown>): boolean {
  return one.opinion.endpoint !== other.opinion.endpoint && ![...one.by].some((id) => other.by.has(id));
}

/** Why two answers, or the states after them, are not the same; undefined when they are. */
function differs(one: ComparableAnswer<unknown>, other: ComparableAnswer<unknown>): string | undefined {
  const exact = one.way === other.way;
  const tolerance = exact
    ? sameBody
    : toleranceFor(one.opinion.agreementRatio * other.opinion.agreementRatio);
  const outputs = difference(one.opinion.outputs, other.opinion.outputs, tolerance);
  if (outputs !== undefined || (!one.state && !other.state)) return outputs;
  if (!one.state || !other.state) return "came without its state";
  return difference(one.state, other.state, tolerance);
}

/** Reports to the checks which answer was right. */
function told<T>(
  parts: ConfirmParts<T>,
  right: ComparableAnswer<T>,
  answers: readonly ComparableAnswer<T>[],
): void {
  const others = answers.filter(({ opinion }) => opinion.endpoint !== right.opinion.endpoint);
  parts.checks?.compared(
    parts,
    right.opinion,
    others.map((one) => ({ opinion: one.opinion, why: differs(right, one) })),
  );
}

function unconfirmed<T>(
  parts: ConfirmParts<T>,
  answers: readonly ComparableAnswer<T>[],
  cause: LongshoreError | undefined,
  when = "",
): LongshoreError {
  // One endpoint may have answered twice.
  const opinions = new Map(answers.map(({ opinion }) => [opinion.endpoint, opinion]));
  const endpoints = [...opinions.keys()];
  const apart = answers.some((one, at) => answers.slice(at + 1).some((other) => independent(one, other)));
  if (apart) parts.checks?.undecided(parts, [...opinions.values()]);
  const nobodySays = when ? `nobody said who is right${when}` : "nobody is left to say who is right";
  const what = apart
    ? `${endpoints.join(" and ")} gave different answers of ${parts.model}, and ${nobodySays}`
    : `${endpoints[0]} answered ${parts.model}, and no other endpoint confirms it${when}`;
  return new LongshoreError("unconfirmed", "execute", cause ? `${what}: ${cause.message}` : what, { cause });
}

/** The error of an ended request with an answer that was not confirmed. */
function tooLate(answers: readonly ComparableAnswer<unknown>[], error: LongshoreError): LongshoreError {
  const [one] = answers;
  if (!one || error.reason !== "deadline-exceeded") return error;
  const { message } = error;
  return new LongshoreError(
    "deadline-exceeded",
    "execute",
    `${one.opinion.endpoint} answered, but no other endpoint confirmed it before the deadline: ${message}`,
    { cause: error },
  );
}
