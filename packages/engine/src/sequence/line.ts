import type { Call } from "@longshore/core";
import { untilAborted } from "@longshore/core/internal";

/** A place behind those in the same line that came before, such as requests of one sequence. Dispose it when the work ends, however it ends. */
export interface Place extends Disposable {
  /** Resolves when all that came before are through, and rejects when the call ends first; undefined where nobody is before. */
  turn(call: Call): Promise<void> | undefined;
}

/** What is done one after another, in the order in which it came, where it has the same name. */
export interface Lines {
  /** Takes a place at once, so that nothing that happens before its turn can change the order. */
  join(...name: readonly string[]): Place;
}

/** The last of each line that is not through, by its key. */
type Lasts = Map<string, PlaceInLine>;

export function lines(): Lines {
  const lasts: Lasts = new Map();
  return { join: (...name) => new PlaceInLine(lasts, keyOf(...name)) };
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
