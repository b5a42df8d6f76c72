import {
  type Call,
  type Clock,
  LongshoreError,
  type Reason,
  type SequencePosition,
  type Tensors,
} from "@longshore/core";
import { nextStep, Once, type SequenceStanding, totalBytes, unknownSequence } from "@longshore/core/internal";
import { joinedKey, lines, type LinePosition } from "./line.ts";
import { type SlotGroup, slots } from "./slots.ts";
import { apart, checkCarriedState, copiedState, type HeldState, initialState } from "./state.ts";

/** The owner, model and id of a sequence. State is never shared between tenants, models or contents of a version. */
export interface SequenceKey {
  readonly tenant: string;
  readonly model: string;
  readonly digest: string;
  readonly id: string;
}

/** The parts of a request that concern its sequence. */
export interface SequenceRequest {
  readonly key: SequenceKey;
  readonly position: SequencePosition;
  /** None if a model only wants the position. */
  readonly states: readonly HeldState[];
  readonly maxIdleMs: number;
  /** Equal for a retry of the same request, different for any other; undefined: its reply is given once. */
  readonly fingerprint: string | undefined;
  /** The idempotency key of the request; default: none. */
  readonly idempotencyKey?: string | undefined;
  /** Where only some sequences of a model may run at a time. */
  readonly slots?: SlotGroup;
}

/** The facts of a request before it is admitted. */
export type SequenceArrival = Pick<SequenceRequest, "key" | "position" | "maxIdleMs" | "slots">;

/** The result of a step, which callers get again when they retry it. */
export interface StepReply {
  readonly outputs: Tensors;
  /** State after the step. */
  readonly state: Tensors;
}

/**
 * One request's turn: others of the sequence wait until it is disposed. A turn that ends without `commit` leaves the
 * sequence as it was, so that the same step can be tried again.
 */
export interface StepTurn extends Disposable {
  /** State to start from. Borrowed: a run must not take its memory. */
  readonly state: Tensors;
  /** The step that it is: counted here where the sender does not. */
  readonly step: number;
  /** The step was done before and this was its reply: nothing must run. The caller owns it. */
  readonly remembered: StepReply | undefined;
  /** The step is done. State that is kept is copied. Throws `memory-limit` when the state has grown too large. */
  commit(reply: StepReply): void;
}

export interface SequenceLimits {
  /** Live sequences. Default 4096: each holds its state in memory. */
  readonly maxLive: number;
  /** Live sequences of one tenant, so that none can take all. Default 1024. */
  readonly maxLivePerTenant: number;
  /** Bytes of all states. Default 256 MiB. */
  readonly maxStateBytes: number;
  /** Bytes of outputs that are remembered for a retry. Default 64 KiB; larger replies are not given twice. */
  readonly maxReplyBytes: number;
}

/** Resident state of sequences, with step numbers. */
export interface SequenceStore {
  /** A position after the earlier requests of the same sequence; give it to `enter`. */
  join(tenant: string, model: string, id: string): LinePosition;
  /**
   * Waits for the sequence's earlier requests and for a slot, before anything else is taken for the request: a request that
   * waits for a slot must not hold what the owners of slots need. Throws as `enter` does. Dispose it when the request ends.
   */
  reach(request: SequenceArrival, call: Call, place: LinePosition): Promise<Disposable>;
  /**
   * Waits for the sequence's earlier requests and for a slot, and checks the step: at once where there is nothing to wait for.
   * Throws and rejects with `sequence-unknown`, `sequence-step`, `rejected` (too many live sequences) and `invalid-input`
   * (carried state that does not fit). The position, or one that is taken now, is given back with the turn.
   */
  enter(request: SequenceRequest, call: Call, place?: LinePosition): StepTurn | Promise<StepTurn>;
  /** The knowledge about a sequence once its earlier requests are over; undefined if there is none. Rejects if the call ends first. */
  standing(key: SequenceKey, call: Call): Promise<SequenceStanding | undefined>;
  /** Sequences that hold state, of all tenants or of one. */
  live(tenant?: string): number;
  /** Forgets everything. */
  close(): void;
}

interface Entry {
  readonly name: string;
  readonly tenant: string;
  maxIdleMs: number;
  /** When it has idled too long, unless a request uses it. */
  expiresMs: number;
  /** Requests that are in it or wait for it. */
  users: number;
  last: number;
  /** When the last step was made, and the idempotency key that came with it. */
  madeMs: number;
  idempotencyKey: string | undefined;
  state: Tensors | undefined;
  reply: { readonly fingerprint: string; readonly reply: StepReply } | undefined;
  slot: Disposable | undefined;
}

const longestId = 256;

export function sequenceStore(clock: Clock, limits: Partial<SequenceLimits> = {}): SequenceStore {
  const { maxLive = 4096, maxLivePerTenant = 1024 } = limits;
  const { maxStateBytes = 256 * 2 ** 20, maxReplyBytes = 65_536 } = limits;
  const entries = new Map<string, Entry>();
  const requests = lines();
  const places = slots();
  let stateBytes = 0;
  let sweeping: Disposable | undefined;
  /** When the timer fires. */
  let dueMs = Infinity;

  const live = (tenant?: string): number => {
    let count = 0;
    for (const { state, users, tenant: own } of entries.values()) {
      if ((state !== undefined || users > 0) && (tenant === undefined || own === tenant)) count++;
    }
    return count;
  };

  function hold(entry: Entry, state: Tensors | undefined): void {
    stateBytes += (state ? totalBytes(state) : 0) - (entry.state ? totalBytes(entry.state) : 0);
    entry.state = state;
    if (!state) release(entry);
  }

  function release(entry: Entry): void {
    entry.slot?.[Symbol.dispose]();
    entry.slot = undefined;
  }

  function forget(entry: Entry): void {
    hold(entry, undefined);
    // Of one that was ended by its size another may have begun since.
    if (entries.get(entry.name) === entry) entries.delete(entry.name);
  }

  /** Ends what has idled too long, and sets the timer for the next that may. */
  function sweep(): void {
    const nowMs = clock.nowMs();
    dueMs = Infinity;
    for (const entry of entries.values()) {
      if (entry.users > 0) continue;
      const { expiresMs } = entry;
      if (expiresMs <= nowMs) forget(entry);
      else dueMs = Math.min(dueMs, expiresMs);
    }
    sweeping?.[Symbol.dispose]();
    sweeping = dueMs === Infinity ? undefined : clock.timer(dueMs - nowMs, sweep);
  }

  function find({ key, position, maxIdleMs }: SequenceArrival): Entry {
    if (clock.nowMs() >= dueMs) sweep();
    const name = joinedKey(key.tenant, key.model, key.digest, key.id);
    const known = entries.get(name);
    if (known) return known;
    if (position.step > 0 && !position.state) throw unknownSequence(key.model, position);
    const retryAfterMs = dueMs === Infinity ? 1000 : Math.max(1, Math.ceil(dueMs - clock.nowMs()));
    const full = (what: string, reason: Reason = "rejected"): LongshoreError =>
      new LongshoreError(reason, "admission", what, { retryAfterMs });
    if (live() >= maxLive) throw full(`${maxLive} sequences are live, which is the most this endpoint keeps`);
    if (live(key.tenant) >= maxLivePerTenant) {
      throw full(
        `${maxLivePerTenant} of your sequences are live, which is the most this endpoint keeps for one`,
        "tenant-limit",
      );
    }
    if (stateBytes >= maxStateBytes) {
      throw full(`states of sequences fill the ${maxStateBytes} bytes that this endpoint keeps for them`);
    }
    forgetReplies();
    const entry: Entry = {
      name,
      tenant: key.tenant,
      maxIdleMs,
      expiresMs: Infinity,
      users: 0,
      last: -1,
      madeMs: -Infinity,
      idempotencyKey: undefined,
      state: undefined,
      reply: undefined,
      slot: undefined,
    };
    entries.set(name, entry);
    return entry;
  }

  /** Replies of ended sequences are kept for late retries, but never more of them than sequences. */
  function forgetReplies(): void {
    for (const entry of entries.values()) {
      if (entries.size < 2 * maxLive) return;
      if (entry.users === 0 && entry.state === undefined) forget(entry);
    }
  }

  function leave(entry: Entry): void {
    entry.users--;
    if (entry.users > 0) return;
    entry.expiresMs = clock.nowMs() + entry.maxIdleMs;
    // A sequence that has ended, or did not begin, holds no slot while its last answer is remembered.
    if (!entry.state) release(entry);
    if (entry.last < 0 || (!entry.state && !entry.reply)) forget(entry);
    // A timer that fires early finds out when it should have; only one that would fire late is set again.
    else if (entry.expiresMs < dueMs) sweep();
  }

  function keep(entry: Entry, step: number, request: SequenceRequest, reply: StepReply): void {
    const { position, fingerprint, maxIdleMs } = request;
    const bytes = totalBytes(reply.state);
    if (!position.end && stateBytes - (entry.state ? totalBytes(entry.state) : 0) + bytes > maxStateBytes) {
      forget(entry);
      throw new LongshoreError(
        "memory-limit",
        "execute",
        `the state of sequence ${position.id} is ${bytes} bytes after step ${step}, and all states together may take ${maxStateBytes}; the sequence is ended`,
      );
    }
    // The caller gets the outputs, and the state if it requested it; tensors without another owner are kept without a copy.
    const state = position.wantState ? copiedState(reply.state) : apart(reply.state, reply.outputs);
    entry.last = step;
    entry.madeMs = clock.nowMs();
    entry.idempotencyKey = request.idempotencyKey;
    entry.maxIdleMs = maxIdleMs;
    hold(entry, position.end ? undefined : state);
    const small = totalBytes(reply.outputs) + bytes <= maxReplyBytes;
    entry.reply =
      small && fingerprint !== undefined
        ? { fingerprint, reply: { outputs: copiedState(reply.outputs), state } }
        : undefined;
  }

  return {
    live,
    join: (tenant, model, id) => requests.join(tenant, model, id),
    async standing({ tenant, model, digest, id }, call) {
      using place = requests.join(tenant, model, id);
      await place.turn(call);
      if (clock.nowMs() >= dueMs) sweep();
      const entry = entries.get(joinedKey(tenant, model, digest, id));
      if (!entry || entry.last < 0) return undefined;
      const { last: step, state, madeMs, idempotencyKey } = entry;
      const idleMs = clock.nowMs() - madeMs;
      const key = idempotencyKey === undefined ? {} : { key: idempotencyKey };
      return { step, ended: state === undefined, idleMs, ...key };
    },
    close() {
      sweeping?.[Symbol.dispose]();
      sweeping = undefined;
      dueMs = Infinity;
      places.close();
      entries.clear();
      stateBytes = 0;
    },
    async reach(request, call, place) {
      checkPosition(request.position);
      await place.turn(call);
      const entry = find(request);
      entry.users++;
      try {
        if (request.slots) entry.slot ??= await places.take(request.slots, call);
        return new Once(() => leave(entry));
      } catch (thrown) {
        leave(entry);
        throw thrown;
      }
    },
    enter(request, call, given) {
      const { key, position } = request;
      checkPosition(position);
      const place = given ?? requests.join(key.tenant, key.model, key.id);
      const before = place.turn(call);
      return before || request.slots ? enterLater(request, call, place, before) : enterNow(request, place);
    },
  };

  function enterNow(request: SequenceRequest, place: LinePosition): StepTurn {
    let entry: Entry | undefined;
    try {
      entry = find(request);
      entry.users++;
      return turnOf(entry, request, place);
    } catch (thrown) {
      place[Symbol.dispose]();
      if (entry) leave(entry);
      throw thrown;
    }
  }

  async function enterLater(
    request: SequenceRequest,
    call: Call,
    place: LinePosition,
    before: Promise<void> | undefined,
  ): Promise<StepTurn> {
    let entry: Entry | undefined;
    try {
      await before;
      entry = find(request);
      entry.users++;
      if (request.slots) entry.slot ??= await places.take(request.slots, call);
      return turnOf(entry, request, place);
    } catch (thrown) {
      place[Symbol.dispose]();
      if (entry) leave(entry);
      throw thrown;
    }
  }

  function turnOf(entry: Entry, request: SequenceRequest, place: LinePosition): StepTurn {
    const begun = begin(entry, request);
    return new TurnHere(
      begun,
      (reply) => keep(entry, begun.step, request, reply),
      () => {
        place[Symbol.dispose]();
        leave(entry);
      },
    );
  }
}

class TurnHere extends Once implements StepTurn {
  readonly state: Tensors;
  readonly step: number;
  readonly remembered: StepReply | undefined;
  readonly commit: (reply: StepReply) => void;

  constructor(
    { state, step, remembered }: Pick<StepTurn, "state" | "step" | "remembered">,
    commit: (reply: StepReply) => void,
    end: () => void,
  ) {
    super(end);
    this.state = state;
    this.step = step;
    this.remembered = remembered;
    this.commit = commit;
  }
}

function checkPosition({ id, step }: SequencePosition): void {
  if (id.length === 0 || id.length > longestId) {
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `a sequence id has ${id.length} characters; 1 to ${longestId} are allowed`,
    );
  }
  if (Number.isSafeInteger(step) && step >= 0) return;
  throw new LongshoreError(
    "invalid-input",
    "admission",
    `sequence step ${step} is not a whole number of 0 or more`,
  );
}

/** Decides what this request starts from. */
function begin(
  entry: Entry,
  { key, position, states, fingerprint }: SequenceRequest,
): Pick<StepTurn, "state" | "step" | "remembered"> {
  const { state: carried, id } = position;
  // A step from carried state is never a start, even if nothing else is known of the sequence.
  const next = Math.max(entry.last + 1, carried ? 1 : 0);
  const step = position.step === nextStep ? next : position.step;
  if (fingerprint !== undefined && step === entry.last && entry.reply?.fingerprint === fingerprint) {
    const { outputs, state } = entry.reply.reply;
    return {
      step,
      state: new Map(),
      remembered: { outputs: copiedState(outputs), state: copiedState(state) },
    };
  }
  if (carried) return { step, state: checkCarriedState(states, carried), remembered: undefined };
  if (position.step === 0) return { step, state: initialState(states), remembered: undefined };
  if (entry.state && step === entry.last + 1) return { step, state: entry.state, remembered: undefined };
  if (!entry.state && entry.last >= 0) throw unknownSequence(key.model, position);
  throw new LongshoreError(
    "sequence-step",
    "admission",
    `sequence ${id} expects step ${entry.last + 1}, and step ${step} came`,
  );
}
