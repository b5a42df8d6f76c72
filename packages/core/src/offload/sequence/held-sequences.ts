/**
 * Memory of a forwarding endpoint about the sequences that pass through it. Clients of the plain protocol count no steps and keep no state,
 * so a sequence would be lost if its server died. Here the steps are counted, and one is under way at a time. If endpoints export state,
 * the copy that came with the last answer is kept. A failed step can then be repeated once from that copy, at the same endpoint or another.
 */
import {
  type Call,
  type Clock,
  type EndpointId,
  LongshoreError,
  type TenantId,
  untilEnded,
} from "../../words/base/index.ts";
import { type Tensors, totalBytes } from "../../words/tensor/index.ts";

/** The last step of a sequence that was answered. */
export interface HeldStep {
  readonly step: number;
  /** Endpoint that holds the state after it. */
  readonly endpoint: EndpointId;
  /** A copy of that state, with its seal. */
  readonly state: Tensors | undefined;
  readonly seal: string | undefined;
}

/** One request's turn in its sequence. Dispose it when the request is over. */
export interface SequenceTurn extends Disposable {
  readonly held: HeldStep | undefined;
  /** Records that the step was answered. A state above the size limit is not kept. */
  keep(step: HeldStep): void;
  /** The sequence has ended. */
  forget(): void;
}

/** Sequences under way. */
export interface HeldSequences {
  /**
   * Waits until the earlier requests of the sequence are over, or until the call ends or its deadline passes. Throws `rejected` if the
   * number of sequences exceeds the limit. A sequence without a request for `maxIdleMs` is forgotten. Without `maxIdleMs`, a sequence is
   * forgotten only after a minute and only if its slot is needed.
   */
  enter(key: string, call: Call, maxIdleMs?: number): Promise<SequenceTurn>;
}

/** Limits of what is kept. */
export interface HeldSequenceLimits {
  /** Maximum of sequences. More are refused, since a forgotten sequence may be lost. Default 100,000, of about half a kilobyte each. */
  readonly maxSequences?: number;
  /** Maximum of sequences of one tenant; default half of them. */
  readonly maxTenantSequences?: number;
  /** Maximum size of one state in bytes; default 1 MiB, because it travels with each answer. */
  readonly maxStateBytes?: number;
  /** Maximum size of all states in bytes. The least recently used are forgotten. Default 64 MiB. */
  readonly maxAllBytes?: number;
}

interface Entry {
  readonly tenant: TenantId;
  held: HeldStep | undefined;
  bytes: number;
  last: Promise<void>;
  users: number;
  /** Time at which the sequence expires. The endpoint that has the state forgets it at the same time. */
  idleAtMs: number;
}

/** Idle time of a sequence if the model's server reports none. It matches the default of Longshore servers. */
const usualIdleMs = 60_000;

/** Minimum time between two searches for idle sequences, in milliseconds. */
const lookEveryMs = 1000;

/** Starts with none. */
export function heldSequences(
  clock: Clock,
  {
    maxSequences = 100_000,
    maxTenantSequences = Math.ceil(maxSequences / 2),
    maxStateBytes = 2 ** 20,
    maxAllBytes = 64 * 2 ** 20,
  }: HeldSequenceLimits = {},
): HeldSequences {
  // In order of last use.
  const entries = new Map<string, Entry>();
  const byTenant = new Map<TenantId, number>();
  let allBytes = 0;
  let lookAtMs = -Infinity;

  function hold(entry: Entry, held: HeldStep | undefined): void {
    const bytes = totalBytes(held?.state ?? new Map());
    const small = bytes <= maxStateBytes;
    allBytes -= entry.bytes;
    entry.bytes = small ? bytes : 0;
    allBytes += entry.bytes;
    entry.held = held && !small ? { ...held, state: undefined, seal: undefined } : held;
  }

  function forget(key: string, entry: Entry): void {
    hold(entry, undefined);
    entries.delete(key);
    const left = (byTenant.get(entry.tenant) ?? 0) - 1;
    if (left > 0) byTenant.set(entry.tenant, left);
    else byTenant.delete(entry.tenant);
  }

  function bound(): void {
    for (const entry of entries.values()) {
      if (allBytes <= maxAllBytes) return;
      if (entry.users > 0 || !entry.held || entry.bytes === 0) continue;
      hold(entry, { ...entry.held, state: undefined, seal: undefined });
    }
  }

  /** Forgets sequences that were idle for too long. Throws if no slot gets free. */
  function makeRoom(tenant: TenantId, nowMs: number): void {
    const room = (): boolean =>
      entries.size < maxSequences && (byTenant.get(tenant) ?? 0) < maxTenantSequences;
    if (room()) return;
    // The search takes time, so it does not run for each refused request.
    if (nowMs >= lookAtMs) {
      lookAtMs = nowMs + lookEveryMs;
      for (const [key, entry] of entries) {
        if (entry.users > 0 || nowMs < entry.idleAtMs) continue;
        forget(key, entry);
      }
      if (room()) return;
    }
    const own = entries.size < maxSequences;
    throw new LongshoreError(
      own ? "tenant-limit" : "rejected",
      "admission",
      own
        ? `${maxTenantSequences} of your sequences pass through here, which is the most this endpoint keeps for one`
        : `${maxSequences} sequences pass through here, which is the most this endpoint keeps`,
      { retryAfterMs: lookEveryMs },
    );
  }

  return {
    async enter(key, call, maxIdleMs) {
      const { tenant } = call;
      const nowMs = clock.nowMs();
      const known = entries.get(key);
      // Its endpoint has forgotten it too: a new request must not continue from an old copy.
      if (maxIdleMs !== undefined && known?.users === 0 && nowMs >= known.idleAtMs) forget(key, known);
      if (!entries.has(key)) {
        makeRoom(tenant, nowMs);
        byTenant.set(tenant, 1 + (byTenant.get(tenant) ?? 0));
      }
      const entry = entries.get(key) ?? {
        tenant,
        held: undefined,
        bytes: 0,
        last: Promise.resolve(),
        users: 0,
        idleAtMs: Infinity,
      };
      entries.delete(key);
      entries.set(key, entry);
      entry.users++;
      const before = entry.last;
      let over = (): void => undefined;
      const own = new Promise<void>((resolve) => {
        over = resolve;
      });
      // If this request gives up while it waits, the requests behind it still wait for those before it.
      entry.last = before.then(() => own);
      let left = false;
      const leave = (): void => {
        if (left) return;
        left = true;
        over();
        entry.users--;
        entry.idleAtMs = clock.nowMs() + (maxIdleMs ?? usualIdleMs);
        if (entry.users === 0 && !entry.held && entries.get(key) === entry) forget(key, entry);
        bound();
      };
      try {
        await untilEnded(before, call, clock, "admission");
      } catch (thrown) {
        leave();
        throw thrown;
      }
      return {
        held: entry.held,
        keep: (step) => hold(entry, step),
        forget: () => hold(entry, undefined),
        [Symbol.dispose]: leave,
      };
    },
  };
}
