import { type Call, untilAborted } from "@longshore/core";

/** A request's place behind those of its sequence that came before it. Dispose it when the request ends, however it ends. */
export interface Place extends Disposable {
  /** Resolves when all that came before are through, and rejects when the call ends first; undefined where nobody is before. */
  turn(call: Call): Promise<void> | undefined;
}

/** Requests of one sequence in the order in which they came. */
export interface SequenceLines {
  /** Takes a place at once, so that nothing that happens before the run can change the order. */
  join(tenant: string, model: string, id: string): Place;
}

/** The last request of each sequence that is not through, by its key. */
type Lasts = Map<string, PlaceInLine>;

export function sequenceLines(): SequenceLines {
  const lasts: Lasts = new Map();
  return { join: (tenant, model, id) => new PlaceInLine(lasts, keyOf(tenant, model, id)) };
}

/**
 * A class without promises of its own: most requests stand behind nobody and nobody stands behind them. A request that
 * gives up while it waits still lets the next one wait for those before it.
 */
class PlaceInLine implements Place {
  readonly #lasts: Lasts;
  readonly #key: string;
  #before: PlaceInLine | undefined;
  #next: PlaceInLine | undefined;
  #left = false;
  #turn: Promise<void> | undefined;
  #begin: (() => void) | undefined;

  constructor(lasts: Lasts, key: string) {
    this.#lasts = lasts;
    this.#key = key;
    this.#before = lasts.get(key);
    if (this.#before) this.#before.#next = this;
    lasts.set(key, this);
  }

  turn({ abort }: Call): Promise<void> | undefined {
    if (!this.#before) return undefined;
    this.#turn ??= new Promise((resolve) => (this.#begin = resolve));
    return untilAborted(this.#turn, abort, "queue");
  }

  [Symbol.dispose](): void {
    if (this.#left) return;
    this.#left = true;
    if (!this.#before) this.#through();
  }

  /** This one is through, and with it those behind it that have left already. */
  #through(): void {
    const next = this.#next;
    if (!next) {
      this.#lasts.delete(this.#key);
      return;
    }
    next.#before = undefined;
    next.#begin?.();
    // Not at once: however many have left, the stack does not grow.
    if (next.#left) queueMicrotask(() => next.#through());
  }
}

/** One text of several, which no other texts give: each begins with its length. */
export function keyOf(...parts: readonly string[]): string {
  let key = "";
  for (const part of parts) key += `${part.length}:${part}`;
  return key;
}
