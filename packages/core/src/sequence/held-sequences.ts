/**
 * What a place that sends requests on remembers of the sequences that pass through it. Clients of the plain protocol count
 * no steps and keep no state; when the server behind dies with it, the sequence would be lost. So here the steps are
 * counted, one is under way at a time, and where places let state travel, the copy that came with the last answer is kept:
 * whatever happens to a step, it can be done from there, at the same place or another, once.
 */
import { type Call, type EndpointId, untilAborted } from "../base/index.ts";
import { type Tensors, totalBytes } from "../tensor/index.ts";

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
  /** Waits until the requests of the sequence that came before are over, or the call is. */
  enter(key: string, call: Call): Promise<SequenceTurn>;
}

/** Bounds of what is kept. */
export interface HeldSequenceLimits {
  /** Sequences; the one that was used least recently is forgotten. Default 10,000. */
  readonly maxSequences?: number;
  /** Bytes of one state; default 1 MiB: it travels with each answer. */
  readonly maxStateBytes?: number;
  /** Bytes of all states; those used least recently are forgotten. Default 64 MiB. */
  readonly maxAllBytes?: number;
}

interface Entry {
  held: HeldStep | undefined;
  bytes: number;
  last: Promise<void>;
  users: number;
}

/** Starts with none. */
export function heldSequences({
  maxSequences = 10_000,
  maxStateBytes = 2 ** 20,
  maxAllBytes = 64 * 2 ** 20,
}: HeldSequenceLimits = {}): HeldSequences {
  // In the order of their last use.
  const entries = new Map<string, Entry>();
  let allBytes = 0;

  function hold(entry: Entry, held: HeldStep | undefined): void {
    const bytes = totalBytes(held?.state ?? new Map());
    const small = bytes <= maxStateBytes;
    allBytes -= entry.bytes;
    entry.bytes = small ? bytes : 0;
    allBytes += entry.bytes;
    entry.held = held && !small ? { ...held, state: undefined, seal: undefined } : held;
  }

  function bound(): void {
    for (const [key, entry] of entries) {
      if (entries.size <= maxSequences && allBytes <= maxAllBytes) return;
      if (entry.users > 0) continue;
      if (entries.size > maxSequences) {
        hold(entry, undefined);
        entries.delete(key);
      } else if (entry.held && entry.bytes > 0) {
        hold(entry, { ...entry.held, state: undefined, seal: undefined });
      }
    }
  }

  return {
    async enter(key, call) {
      const entry = entries.get(key) ?? { held: undefined, bytes: 0, last: Promise.resolve(), users: 0 };
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
        if (entry.users === 0 && !entry.held && entries.get(key) === entry) entries.delete(key);
        bound();
      };
      try {
        await untilAborted(before, call.abort, "admission");
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
