import {
  type EndpointId,
  LongshoreError,
  ownCall,
  untilAborted,
  waitAtMost,
  withTime,
} from "../../words/base/index.ts";
import { nextStep, type SequencePosition, type SequenceStanding } from "../../wire/endpoint/index.ts";
import { isLegKeyOf } from "../../decide/plan/index.ts";
import { type EndpointState, mayServe } from "../endpoints/index.ts";
import { type HeldStep, lostSequence, unknownSequence } from "../sequence/index.ts";
import { mayTake, type Ruled } from "./awaited.ts";
import type { LoopBeliefs, LoopSetting } from "./loop.ts";

/**
 * Finds the endpoint that holds a sequence after this endpoint was restarted within it.
 *
 * The obvious answer, to send the step to any endpoint that accepts it, fails: a sequence may have moved, and an endpoint that it left still
 * holds an older state. A step without a number that ran there would be answered, and wrong. So all endpoints that may hold the sequence
 * and that the rules permit are queried for its last step. A step with a number goes where the step before it was made. One without goes to the
 * newest state, and only after every endpoint that may hold a newer one has answered.
 *
 * Invariant: a step runs at most once, and never on a state that is not that of the step before it.
 */

interface Found {
  readonly id: EndpointId;
  readonly standing: SequenceStanding;
  /** The bounds of when its last step was made, on the clock of this endpoint: the answer was given while the question was under way. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** The time for one query, in milliseconds; then the endpoint is queried again. */
const askMs = 1000;
/** The first pause between two questions to an endpoint; each later one is twice as long, up to `askMs`. */
const firstPauseMs = 250;
/** How long a request without a deadline looks for its sequence, in milliseconds: longer than a directory with usual leases takes to settle. */
const mostMs = 40_000;
/** The most endpoints that are queried. With more of them, the queries cost more than restarting the sequence. */
const mostAsked = 256;
/** The least time that is left to a step after its sequence was found, and to a refusal on its way back, in milliseconds. */
const lastMs = 50;
/** How often endpoints are asked again if their answers travelled for so long that these do not tell which state is the newest. */
const mostAgain = 4;

/**
 * The step before a request's, as an endpoint behind this one made it. Throws `sequence-unknown`, `sequence-lost` if it is there and its newest
 * state cannot be told, and `no-endpoint` where time may cure it.
 */
export async function resumedStep(
  loop: LoopSetting & LoopBeliefs,
  job: Ruled,
  position: SequencePosition,
): Promise<HeldStep> {
  const { name } = job.known.description;
  const counted = position.step !== nextStep;
  const follows = ({ standing: { step, ended } }: Found): boolean =>
    step === position.step || (!ended && step === position.step - 1);
  const found = await holders(loop, job, position.id, counted ? follows : undefined);
  const fitting = counted ? found.find(follows) : undefined;
  const one = fitting ?? (await newest(loop, job, position.id, found));
  if (!one) throw unknownSequence(name, position);
  const { id, standing } = one;
  // Its answer was lost with the memory of this endpoint: the client repeats the step, which is answered without a run.
  const repeats = !counted && standing.key !== undefined && isLegKeyOf(job.call, standing.key);
  if (standing.ended && !repeats && !fitting) throw unknownSequence(name, position);
  return {
    step: repeats ? standing.step - 1 : standing.step,
    endpoint: id,
    state: undefined,
    seal: undefined,
  };
}

/**
 * The newest state of a sequence behind this endpoint; undefined if no endpoint knows it. Throws `no-endpoint` if that is not certain, and
 * `sequence-lost` if it cannot be told.
 */
export async function lastStanding(
  loop: LoopSetting & LoopBeliefs,
  job: Ruled,
  sequence: string,
): Promise<SequenceStanding | undefined> {
  return (await newest(loop, job, sequence, await holders(loop, job, sequence, undefined)))?.standing;
}

/**
 * The state that was used last; undefined if there is none. Where the answers travelled too long to tell two apart, the endpoints are asked
 * again: a step that moved was made after the answer of the step before it had come here, so answers as quick as that one tell them apart.
 */
async function newest(
  loop: LoopSetting & LoopBeliefs,
  job: Ruled,
  sequence: string,
  found: readonly Found[],
): Promise<Found | undefined> {
  const { call, known } = job;
  let all = found;
  for (let again = 0; ; again++) {
    const [last, ...others] = [...all].sort((one, other) => other.fromMs - one.fromMs);
    if (!last) return undefined;
    const near = others.filter(({ untilMs }) => untilMs >= last.fromMs);
    const [second] = near;
    if (!second) return last;
    if (again >= mostAgain || loop.clock.nowMs() + firstPauseMs + lastMs >= call.deadlineMs) {
      const why = `${last.id} and ${second.id} both hold a state, and it is not known here since this server started which is the newer`;
      throw lostSequence(known.description.name, { id: sequence }, why);
    }
    await waitAtMost(new Promise<void>(() => undefined), firstPauseMs, call.abort, loop.clock, "resolve");
    const asked = await Promise.all(
      [last, ...near].map(async (one) => narrowed(one, await askedAgain(loop, job, sequence, one.id))),
    );
    all = [...asked, ...all.filter(({ id }) => !asked.some((one) => one.id === id))];
  }
}

/** Asks an endpoint again; undefined if it does not answer now. */
async function askedAgain(
  loop: LoopSetting & LoopBeliefs,
  job: Ruled,
  sequence: string,
  id: EndpointId,
): Promise<Found | undefined> {
  const state = loop.endpoints.all.get(id);
  const asked = state && (await ask(loop, state, job, sequence, askMs));
  return typeof asked === "object" ? { id, ...asked } : undefined;
}

/** Joins two answers about one state: its last step was made within the bounds of both. */
function narrowed(one: Found, later: Found | undefined): Found {
  if (!later) return one;
  const fromMs = Math.max(one.fromMs, later.fromMs);
  const untilMs = Math.min(one.untilMs, later.untilMs);
  const isSame = one.standing.step === later.standing.step && fromMs <= untilMs;
  return isSame ? { ...later, fromMs, untilMs } : later;
}

/** All endpoints that know a sequence, or those up to the first that is `enough`. */
async function holders(
  loop: LoopSetting & LoopBeliefs,
  job: Ruled,
  sequence: string,
  enough: ((found: Found) => boolean) | undefined,
): Promise<readonly Found[]> {
  const { clock, endpoints } = loop;
  const { call, known } = job;
  const untilMs = call.deadlineMs < Infinity ? call.deadlineMs - lastMs : clock.nowMs() + mostMs;
  if (endpoints.all.size > mostAsked) return [];
  const answered = new Set<EndpointId>();
  /** Endpoints of foreign kinds, or of an earlier version, that cannot tell. */
  const mute = new Set<EndpointId>();
  const found: Found[] = [];
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(askMs, 2 * pauseMs)) {
    const may = [...endpoints.all].filter(([id, state]) => mayHold(id, state, job) && !answered.has(id));
    const open = may.filter(([id, { endpoint }]) => !mute.has(id) && mayTake(loop, job, endpoint.info));
    let hasEnough = (): void => undefined;
    const soon = new Promise<void>((resolve) => (hasEnough = resolve));
    const questions = open.map(async ([id, state]) => {
      const asked = await ask(loop, state, job, sequence, Math.min(askMs, untilMs - clock.nowMs()));
      if (asked === "mute") mute.add(id);
      if (asked === "mute" || asked === "silent") return;
      answered.add(id);
      if (asked === "unknown") return;
      found.push({ id, ...asked });
      if (enough?.({ id, ...asked })) hasEnough();
    });
    await Promise.race([Promise.all(questions), soon]);
    if (enough && found.some(enough)) return found;
    const silent = open.map(([id]) => id).filter((id) => !answered.has(id) && !mute.has(id));
    // A newer state may be at an endpoint that the rules forbid to ask, or that cannot tell.
    const hidden = may.some(([id, { endpoint }]) => mute.has(id) || !mayTake(loop, job, endpoint.info));
    if (hidden && !enough) {
      const [one] = found;
      if (!one) return [];
      const why = `${one.id} holds a state of it, and a newer one may be at a server that may not be asked or cannot tell`;
      throw lostSequence(known.description.name, { id: sequence }, why);
    }
    if (silent.length === 0 && !endpoints.membership.lacksEarlier) return found;
    if (clock.nowMs() + pauseMs >= untilMs) {
      const whose =
        silent.length > 0
          ? `${silent.slice(0, 3).join(", ")} may hold it and did not say`
          : "servers are still missing";
      const why = `sequence ${sequence.slice(0, 80)} of ${known.description.name} is not known here since this server started, and ${whose}`;
      throw new LongshoreError("no-endpoint", "resolve", why, { retryAfterMs: askMs });
    }
    await waitAtMost(new Promise<void>(() => undefined), pauseMs, call.abort, clock, "resolve");
  }
}

/** Whether an endpoint may hold a sequence of this model, as far as it is known. */
function mayHold(id: EndpointId, { endpoint, health }: EndpointState, { known, call }: Ruled): boolean {
  const { info } = endpoint;
  if (info.state === "none" || call.path.includes(id) || health.distrusted !== undefined) return false;
  // Of one that joined since this request began, only the live answers tell.
  const report = known.poll?.reports.get(id);
  const hasIt = !report || report.knowledge !== undefined || known.offersBy.has(id);
  return mayServe(info, known.description.name) && hasIt;
}

/** The answer of an endpoint about a sequence: it does not know it (`unknown`), does not answer now (`silent`), or cannot tell (`mute`). */
async function ask(
  { clock, self }: LoopSetting,
  { endpoint }: EndpointState,
  { known, call }: Ruled,
  id: string,
  waitMs: number,
): Promise<Omit<Found, "id"> | "unknown" | "silent" | "mute"> {
  const { info, capabilities } = endpoint;
  if (!capabilities.sequence) return "mute";
  const { name: model, version, digest } = known.description;
  const late = (): LongshoreError =>
    new LongshoreError("no-answer", "resolve", `${info.id} did not say what it knows of a sequence`);
  const asked = ownCall(call);
  asked.path = [...call.path, self];
  using own = withTime(asked, clock, Math.max(0, waitMs), late);
  const askedMs = clock.nowMs();
  try {
    const standing = await untilAborted(
      capabilities.sequence({ model, version, digest, id }, own.call),
      own.call.abort,
      "resolve",
    );
    if (!standing) return "unknown";
    const { idleMs } = standing;
    return { standing, fromMs: askedMs - idleMs, untilMs: clock.nowMs() - idleMs };
  } catch (thrown) {
    if (call.abort.aborted || (LongshoreError.is(thrown) && thrown.reason === "sequence-lost")) throw thrown;
    const { retryable, reason } = LongshoreError.from(thrown, "resolve", `asking ${info.id} for a sequence`);
    return retryable || reason === "no-endpoint" ? "silent" : "mute";
  }
}
