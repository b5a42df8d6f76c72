/**
 * Answers that are confirmed before they are given. An endpoint that begins to lie is believed until a check happens to meet it,
 * however many are made: who cannot bear one wrong answer has to wait for a second opinion on each.
 *
 * So two endpoints are asked at once, and the answer is given when both say the same; where they do not, a third one decides.
 * Each of the two is a whole request with its own back-ups, but none where another is asked already: that would say nothing.
 * One that is late and has no other back-up is left under way, and an endpoint that nobody has asked yet is asked beside it. Two
 * may still come to be answered by the same endpoint (behind gateways); then another one is asked. What a device ran itself its own
 * apps believe.
 *
 * Invariant: nothing is given that only one other endpoint has said, whatever fails: then it is an error.
 */
import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import type { Checks, Opinion } from "./checks.ts";
import { difference, sameBody, toleranceFor } from "./same-answer.ts";

/** What one endpoint said, with all that another must say, too. */
export interface Said<T> {
  readonly opinion: Opinion;
  /** Variant and codecs: where they are the same, the numbers are, too, whatever the profile says of them. */
  readonly way: string;
  /** State after the step of a sequence. */
  readonly state: Tensors | undefined;
  /** Who had a part in it, as the account has it: two gateways may have asked the same server. */
  readonly by: ReadonlySet<EndpointId>;
  readonly value: T;
}

/** A question under way. */
export interface Asking<T> {
  /** Where it was sent first; empty where it is run here, which is believed. */
  readonly first: ReadonlySet<EndpointId>;
  readonly said: Promise<Said<T>>;
  /** Somebody was found. */
  readonly begun: boolean;
  /** Nobody waits for it any more. */
  end(): void;
}

/** Whom a question is for. */
export interface Wanted {
  readonly without: ReadonlySet<EndpointId>;
  /**
   * Told when it is late, or `lost`, and has no back-up that would say anything new; tells whether somebody else was asked, and `again`
   * when that is over and the answer still not confirmed.
   */
  readonly late: (lost: boolean, again: () => void) => boolean;
  /**
   * It is asked because another one is late or lost: only of endpoints that were not asked about this request at all, or did not take it
   * for having too much to do, and where it is only late, that are well.
   */
  readonly beside?: "late" | "lost" | undefined;
}

/** What is asked, and how. */
export interface ConfirmParts<T> {
  readonly callId: string;
  readonly model: string;
  /** What answers taught; undefined where nobody keeps that. */
  readonly checks: Checks | undefined;
  /** Whether an answer that was made here needs no other. */
  readonly believesHere: boolean;
  /** Asks the best endpoint that is not among `without`, with its back-ups. */
  ask(wanted: Wanted): Asking<T>;
  /** Tells a moment before the deadline: an answer that nobody has confirmed by then is not given. Undefined without a deadline. */
  nearlyOver(tell: () => void): Disposable | undefined;
  /** An error that no other endpoint changes: the request is at fault, or its time is over. */
  final(error: LongshoreError): boolean;
}

/** Endpoints that are asked about one request, the first two included. */
const mostAsked = 6;

/**
 * The answer that two endpoints gave. `by` is who else gave it; undefined where it was run here. Throws what the first endpoint
 * threw when none answers, and `unconfirmed` when only one does until a moment before the deadline, or all say something else.
 */
export async function confirmed<T>(
  parts: ConfirmParts<T>,
): Promise<{ readonly value: T; readonly by: EndpointId | undefined }> {
  const heard: Said<T>[] = [];
  const failed: { readonly without: ReadonlySet<EndpointId>; readonly error: LongshoreError }[] = [];
  const underWay = new Set<Asking<T>>();
  let asked = 0;
  let over = false;
  let news = (): void => undefined;
  const helping = new Map<Asking<T>, () => void>();
  const late = (lost: boolean, again: () => void): boolean => {
    if (over || asked >= mostAsked) return false;
    const asking = ask(nobody, lost ? "lost" : "late");
    if (asking.begun) helping.set(asking, again);
    return asking.begun;
  };
  const ask = (without: ReadonlySet<EndpointId>, beside?: Wanted["beside"]): Asking<T> => {
    const asking = parts.ask({ without, late, beside });
    if (asking.begun || !beside) asked++;
    underWay.add(asking);
    void asking.said
      .then(
        (said) => void heard.push(said),
        (thrown: unknown) => {
          const error = LongshoreError.from(thrown, "execute", `asking for ${parts.model}`);
          // That nobody was left to be asked beside others says nothing of them.
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
    for (let judged = 0; ; judged = heard.length) {
      await new Promise<void>((resolve) => (news = resolve));
      const error = failed.find((one) => parts.final(one.error))?.error;
      if (error) throw tooLate(heard, error);
      for (let at = judged; at < heard.length; at++) {
        const found = agreed(heard.slice(0, at + 1), parts.believesHere);
        if (!found) continue;
        told(parts, found.one, heard);
        return { value: found.one.value, by: found.other?.opinion.endpoint };
      }
      if (over && heard.length > 0) throw unconfirmed(parts, heard, undefined, " before the deadline");
      for (const [asking, again] of helping) if (!underWay.has(asking) && helping.delete(asking)) again();
      if (underWay.size > 0) continue;
      const without = new Set(heard.flatMap(({ opinion, by }) => [opinion.endpoint, ...by]));
      const none = failed.find((one) => [...without].every((id) => one.without.has(id)));
      if (none && heard.length === 0) throw none.error;
      if (none || asked >= mostAsked) throw unconfirmed(parts, heard, none?.error);
      ask(without);
    }
  } finally {
    over = true;
    for (const one of underWay) one.end();
  }
}

const nobody: ReadonlySet<EndpointId> = new Set();

/** The last answer with an earlier one that says the same; alone where it was made here. */
function agreed<T>(
  heard: readonly Said<T>[],
  believesHere: boolean,
): { readonly one: Said<T>; readonly other?: Said<T> } | undefined {
  const last = heard.at(-1);
  if (!last || (believesHere && last.opinion.here)) return last && { one: last };
  const same = heard.find((one) => one !== last && independent(one, last) && !differs(one, last));
  return same && { one: same, other: last };
}

function independent(one: Said<unknown>, other: Said<unknown>): boolean {
  return one.opinion.endpoint !== other.opinion.endpoint && ![...one.by].some((id) => other.by.has(id));
}

/** Why two answers, or the states after them, are not the same; undefined when they are. */
function differs(one: Said<unknown>, other: Said<unknown>): string | undefined {
  const exact = one.way === other.way;
  const tolerance = exact
    ? sameBody
    : toleranceFor(one.opinion.agreementRatio * other.opinion.agreementRatio);
  const outputs = difference(one.opinion.outputs, other.opinion.outputs, tolerance);
  if (outputs !== undefined || (!one.state && !other.state)) return outputs;
  if (!one.state || !other.state) return "came without its state";
  return difference(one.state, other.state, tolerance);
}

/** Tells the checks who was right. */
function told<T>(parts: ConfirmParts<T>, right: Said<T>, heard: readonly Said<T>[]): void {
  const others = heard.filter(({ opinion }) => opinion.endpoint !== right.opinion.endpoint);
  parts.checks?.compared(
    parts,
    right.opinion,
    others.map((one) => ({ opinion: one.opinion, why: differs(right, one) })),
  );
}

function unconfirmed<T>(
  parts: ConfirmParts<T>,
  heard: readonly Said<T>[],
  cause: LongshoreError | undefined,
  when = "",
): LongshoreError {
  // One endpoint may have been asked twice.
  const opinions = new Map(heard.map(({ opinion }) => [opinion.endpoint, opinion]));
  const endpoints = [...opinions.keys()];
  const apart = heard.some((one, at) => heard.slice(at + 1).some((other) => independent(one, other)));
  if (apart) parts.checks?.undecided(parts, [...opinions.values()]);
  const nobodySays = when ? `nobody said who is right${when}` : "nobody is left to say who is right";
  const what = apart
    ? `${endpoints.join(" and ")} gave different answers of ${parts.model}, and ${nobodySays}`
    : `${endpoints[0]} answered ${parts.model}, and no other endpoint confirms it${when}`;
  return new LongshoreError("unconfirmed", "execute", cause ? `${what}: ${cause.message}` : what, { cause });
}

/** What ended the request, and that there was an answer which nobody confirmed. */
function tooLate(heard: readonly Said<unknown>[], error: LongshoreError): LongshoreError {
  const [one] = heard;
  if (!one || error.reason !== "deadline-exceeded") return error;
  const { message } = error;
  return new LongshoreError(
    "deadline-exceeded",
    "execute",
    `${one.opinion.endpoint} answered, but no other endpoint confirmed it before the deadline: ${message}`,
    { cause: error },
  );
}
