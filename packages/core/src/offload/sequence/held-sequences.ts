/**
 * What an endpoint that sends requests on remembers of the sequences that pass through it. Clients of the plain protocol count
 * no steps and keep no state; when the server behind dies with it, the sequence would be lost. So here the steps are
 * counted, one is under way at a time, and where endpoints let state travel, the copy that came with the last answer is kept:
 * whatever happens to a step, it can be done from there, at the same endpoint or another, once.
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
  /** Where the state after it is. */
  readonly endpoint: EndpointId;
  /** A copy of that state, with the seal that came with it. */
  readonly state: Tensors | undefined;
  readonly seal: string | undefined;
}

/** One request's turn in its sequence. Dispose it when the request is over. */
export interface SequenceTurn extends Disposable {
  readonly held: HeldStep | undefined;
  /** The step was answered. States that are too large to keep are left out. */
  keep(step: HeldStep): void;
  /** The sequence has ended. */
  forget(): void;
}

/** Sequences under way. */
export interface HeldSequences {
  /**
   * Waits until the requests of the sequence that came before are over, or until the call ends or its deadline passes. Throws
   * `rejected` for one more than are kept. One that nothing came for in `maxIdleMs` since its last request is forgotten; where
   * nobody says so much, only if there is no room for another one after a minute.
   */
  enter(key: string, call: Call, maxIdleMs?: number): Promise<SequenceTurn>;
}

/** Bounds of what is kept. */
export interface HeldSequenceLimits {
  /** Sequences; more are refused, since whoever is forgotten may be lost. Default 100,000, of about half a kilobyte each. */
  readonly maxSequences?: number;
  /** The same of one tenant; default half of them. */
  readonly maxTenantSequences?: number;
  /** Bytes of one state; default 1 MiB: it travels with each answer. */
  readonly maxStateBytes?: number;
  /** Bytes of all states; those used least recently are forgotten. Default 64 MiB. */
  readonly maxAllBytes?: number;
}

interface Entry {
  readonly tenant: TenantId;
  held: HeldStep | undefined;
  bytes: number;
  last: Promise<void>;
  users: number;
  /** From when on nobody will come any more: the endpoint that has the state forgets it then, too. */
  idleAtMs: number;
}

/** After so long nobody is expected to come any more where the model's server says nothing of it, as servers of ours take it. */
const usualIdleMs = 60_000;

/** Who is idle is looked for no more often than this, in milliseconds. */
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
  // In the order of their last use.
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

  /** Forgets who is idle for too long; throws when that leaves no room for one more. */
  function makeRoom(tenant: TenantId, nowMs: number): void {
    const room = (): boolean =>
      entries.size < maxSequences && (byTenant.get(tenant) ?? 0) < maxTenantSequences;
    if (room()) return;
    // Looking takes a while, so it is not done for each who is refused.
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
      // Its endpoint has forgotten it, too: what comes now is not to go on from a copy of long ago.
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
      // Also when this one gives up while it waits, those behind it wait for those before it.
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
