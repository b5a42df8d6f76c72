import {
  abortError,
  type Call,
  type Clock,
  LongshoreError,
  type SequencePosition,
  type SequenceState,
  type Tensors,
  totalBytes,
} from "@longshore/core";
import { checkCarriedState, copied, zeroState } from "./state.ts";

/** Whose sequence of what. State is never shared between tenants, models or contents of a version. */
export interface SequenceKey {
  readonly tenant: string;
  readonly model: string;
  readonly digest: string;
  readonly id: string;
}

/** What a request brings to a sequence. */
export interface SequenceRequest {
  readonly key: SequenceKey;
  readonly position: SequencePosition;
  readonly states: readonly SequenceState[];
  readonly maxIdleMs: number;
  /** Equal for a retry of the same request, different for any other. */
  readonly fingerprint: string;
}

/** What a step gave: what callers get again when they retry it. */
export interface Reply {
  readonly outputs: Tensors;
  /** State after the step. */
  readonly state: Tensors;
}

/**
 * One request's turn: others of the sequence wait until it is disposed. A turn that ends without `commit` leaves the
 * sequence as it was, so that the same step can be tried again.
 */
export interface Turn extends Disposable {
  /** State to start from. Borrowed: a run must not take its memory. */
  readonly state: Tensors;
  /** The step was done before and this was its reply: nothing must run. The caller owns it. */
  readonly remembered: Reply | undefined;
  /** The step is done. What is kept is copied. */
  commit(reply: Reply): void;
}

export interface SequenceLimits {
  /** Live sequences. Default 1024: each holds its state in memory. */
  readonly maxLive: number;
  /** Bytes of outputs that are remembered for a retry. Default 64 KiB; larger replies are not given twice. */
  readonly maxReplyBytes: number;
}

/** Resident state of sequences, with step numbers. */
export interface SequenceStore {
  /**
   * Waits for the sequence's earlier requests and checks the step. Throws `sequence-unknown`, `sequence-step`,
   * `rejected` (too many live sequences) and `invalid-input` (carried state that does not fit).
   */
  enter(request: SequenceRequest, call: Call): Promise<Turn>;
  /** Sequences that hold state. */
  live(): number;
  /** Forgets everything. */
  close(): void;
}

interface Entry {
  readonly key: string;
  maxIdleMs: number;
  touchedMs: number;
  /** Requests that are in it or wait for it. */
  users: number;
  last: number;
  state: Tensors | undefined;
  reply: { readonly fingerprint: string; readonly reply: Reply } | undefined;
  /** Settles when the request before the next one is through. */
  before: Promise<void>;
}

const longestId = 256;

export function sequenceStore(clock: Clock, limits: Partial<SequenceLimits> = {}): SequenceStore {
  const { maxLive = 1024, maxReplyBytes = 65_536 } = limits;
  const entries = new Map<string, Entry>();
  let sweeping: Disposable | undefined;

  const live = (): number => {
    let count = 0;
    for (const { state, users } of entries.values()) if (state !== undefined || users > 0) count++;
    return count;
  };

  /** Instant of the next expiry, after everything that has expired is gone. */
  function sweep(): number {
    const nowMs = clock.nowMs();
    let next = Infinity;
    for (const [key, { users, touchedMs, maxIdleMs }] of entries) {
      if (users > 0) continue;
      if (touchedMs + maxIdleMs <= nowMs) entries.delete(key);
      else next = Math.min(next, touchedMs + maxIdleMs);
    }
    return next;
  }

  function arm(): void {
    const next = sweep();
    sweeping?.[Symbol.dispose]();
    sweeping = next === Infinity ? undefined : clock.timer(next - clock.nowMs(), arm);
  }

  function find({ key, position, maxIdleMs }: SequenceRequest): Entry {
    const next = sweep();
    const name = JSON.stringify([key.tenant, key.model, key.digest, key.id]);
    const known = entries.get(name);
    if (known) return known;
    if (position.step > 0 && !position.state) throw unknown(position);
    if (live() >= maxLive) {
      const nowMs = clock.nowMs();
      throw new LongshoreError(
        "rejected",
        "admission",
        `${maxLive} sequences are live, which is the most this place keeps`,
        {
          retryAfterMs: next === Infinity ? 1000 : Math.max(1, Math.ceil(next - nowMs)),
        },
      );
    }
    forgetReplies();
    const entry: Entry = {
      key: name,
      maxIdleMs,
      touchedMs: clock.nowMs(),
      users: 0,
      last: -1,
      state: undefined,
      reply: undefined,
      before: Promise.resolve(),
    };
    entries.set(name, entry);
    return entry;
  }

  /** Replies of ended sequences are kept for late retries, but never more of them than sequences. */
  function forgetReplies(): void {
    for (const [key, { users, state }] of entries) {
      if (entries.size < 2 * maxLive) return;
      if (users === 0 && state === undefined) entries.delete(key);
    }
  }

  function leave(entry: Entry): void {
    entry.users--;
    entry.touchedMs = clock.nowMs();
    if (entry.users === 0 && entry.last < 0) entries.delete(entry.key);
    arm();
  }

  return {
    live,
    close() {
      sweeping?.[Symbol.dispose]();
      sweeping = undefined;
      entries.clear();
    },
    async enter(request, call) {
      checkPosition(request.position);
      const entry = find(request);
      entry.users++;
      const { before } = entry;
      let through: () => void = () => undefined;
      // A request that gives up while it waits still lets the next one wait for those before it.
      entry.before = Promise.all([before, new Promise<void>((resolve) => (through = resolve))]).then(
        () => undefined,
      );
      const end = once(() => {
        through();
        leave(entry);
      });
      try {
        await untilAborted(before, call);
        const begun = begin(entry, request);
        return {
          ...begun,
          commit: (reply) => keep(entry, request, reply, maxReplyBytes),
          [Symbol.dispose]: end,
        };
      } catch (thrown) {
        end();
        throw thrown;
      }
    },
  };
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

function unknown({ id, step }: SequencePosition): LongshoreError {
  return new LongshoreError(
    "sequence-unknown",
    "admission",
    `sequence ${id} has no state here (it never began, ended, or idled too long); step ${step} needs it: begin with step 0 or send the state along`,
  );
}

/** Decides what this request starts from. */
function begin(
  entry: Entry,
  { position, states, fingerprint }: SequenceRequest,
): Pick<Turn, "state" | "remembered"> {
  const { step, state: carried, id } = position;
  if (step === entry.last && entry.reply?.fingerprint === fingerprint) {
    const { outputs, state } = entry.reply.reply;
    return { state: new Map(), remembered: { outputs: copied(outputs), state: copied(state) } };
  }
  if (carried) return { state: checkCarriedState(states, carried), remembered: undefined };
  if (step === 0) return { state: zeroState(states), remembered: undefined };
  if (entry.state && step === entry.last + 1) return { state: entry.state, remembered: undefined };
  if (!entry.state && entry.last >= 0) throw unknown(position);
  throw new LongshoreError(
    "sequence-step",
    "admission",
    `sequence ${id} expects step ${entry.last + 1}, and step ${step} came`,
  );
}

function keep(entry: Entry, request: SequenceRequest, reply: Reply, maxReplyBytes: number): void {
  const { position, fingerprint } = request;
  const state = copied(reply.state);
  entry.last = position.step;
  entry.maxIdleMs = request.maxIdleMs;
  entry.state = position.end ? undefined : state;
  const small = totalBytes(reply.outputs) + totalBytes(state) <= maxReplyBytes;
  entry.reply = small ? { fingerprint, reply: { outputs: copied(reply.outputs), state } } : undefined;
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    act();
  };
}

function untilAborted(work: Promise<void>, { abort }: Call): Promise<void> {
  return new Promise((resolve, reject) => {
    if (abort.aborted) {
      reject(abortError(abort, "queue"));
      return;
    }
    const stop = (): void => reject(abortError(abort, "queue"));
    abort.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => abort.removeEventListener("abort", stop));
  });
}
