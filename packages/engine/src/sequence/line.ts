import type { Call } from "@longshore/core";
import { untilAborted } from "@longshore/core/internal";

/**
 * A position in a line after earlier entries, such as requests of one sequence. Dispose it when the work ends, however it ends.
 */
export interface LinePosition extends Disposable {
  /** Resolves when all earlier entries are through, and rejects when the call ends first; undefined if there are none. */
  turn(call: Call): Promise<void> | undefined;
}

/** Work that is done one after another, in the order of arrival, for each name. */
export interface Lines {
  /** Joins at once, so that nothing that happens before its turn can change the order. */
  join(...name: readonly string[]): LinePosition;
}

/** The last of each line that is not through, by its key. */
type Lasts = Map<string, PositionInLine>;

export function lines(): Lines {
  const lasts: Lasts = new Map();
  return { join: (...name) => new PositionInLine(lasts, joinedKey(...name)) };
}

/**
 * A class without promises of its own: most requests are alone in their line. A request that gives up while it waits still lets
 * the next one wait for those before it.
 */
class PositionInLine implements LinePosition {
  readonly #lasts: Lasts;
  readonly #key: string;
  #before: PositionInLine | undefined;
  #next: PositionInLine | undefined;
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

  /** This entry is through, and so are those after it that have left already. */
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
export function joinedKey(...parts: readonly string[]): string {
  let key = "";
  for (const part of parts) key += `${part.length}:${part}`;
  return key;
}
