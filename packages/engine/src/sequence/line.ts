import { type Call, untilAborted } from "@longshore/core";

/** A request's place behind those of its sequence that came before it. Dispose it when the request ends, however it ends. */
export interface Place extends Disposable {
  /** Resolves when all that came before are through; rejects when the call ends first. */
  turn(call: Call): Promise<void>;
}

/** Requests of one sequence in the order in which they came. */
export interface SequenceLines {
  /** Takes a place at once, so that nothing that happens before the run can change the order. */
  join(tenant: string, model: string, id: string): Place;
}

export function sequenceLines(): SequenceLines {
  const last = new Map<string, Promise<void>>();
  return {
    join(tenant, model, id) {
      const key = keyOf(tenant, model, id);
      const before = last.get(key);
      let through: () => void = () => undefined;
      const own = new Promise<void>((resolve) => (through = resolve));
      // A request that gives up while it waits still lets the next one wait for those before it.
      const after = before ? before.then(() => own) : own;
      last.set(key, after);
      const forget = (): void => void (last.get(key) === after && last.delete(key));
      if (before) void after.then(forget);
      return {
        turn: (call) => untilAborted(before ?? done, call.abort, "queue"),
        [Symbol.dispose]: () => {
          through();
          // The first in line is through when it ends: who comes next need not wait for a turn of the loop.
          if (!before) forget();
        },
      };
    },
  };
}

/** One text of several, which no other texts give: each begins with its length. */
export function keyOf(...parts: readonly string[]): string {
  let key = "";
  for (const part of parts) key += `${part.length}:${part}`;
  return key;
}

const done: Promise<void> = Promise.resolve();
