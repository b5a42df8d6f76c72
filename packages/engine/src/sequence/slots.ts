import { type Call, LongshoreError } from "@longshore/core";
import { abortError, whenAborted } from "@longshore/core/internal";

/** Which sequences of a model may run, and how many at a time (Triton's batch slots and candidate sequences). */
export interface SlotGroup {
  /** Sequences of the same group share the slots. */
  readonly name: string;
  readonly most: number;
}

/** Slots that sequences hold from their first request to their last; others wait in the order in which they began. */
export interface SequenceSlots {
  /** Waits for a free slot. Rejects when the call ends, and with `shutting-down` after `close`. */
  take(group: SlotGroup, call: Call): Promise<Disposable>;
  close(): void;
}

interface Waiting {
  give(): void;
  refuse(error: LongshoreError): void;
}

interface Group {
  held: number;
  readonly waiting: Waiting[];
}

export function slots(): SequenceSlots {
  const groups = new Map<string, Group>();

  function slot(name: string, group: Group): Disposable {
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        const next = group.waiting.shift();
        // The next waiter takes over at once, so that no later arrival can be before it.
        if (next) next.give();
        else if (--group.held === 0) groups.delete(name);
      },
    };
  }

  return {
    take({ name, most }, { abort }) {
      const group = groups.get(name) ?? { held: 0, waiting: [] };
      groups.set(name, group);
      if (group.held < most) {
        group.held++;
        return Promise.resolve(slot(name, group));
      }
      return new Promise((resolve, reject) => {
        const stop = (): void => {
          group.waiting.splice(group.waiting.indexOf(waiting), 1);
          reject(abortError(abort, "queue"));
        };
        const waiting: Waiting = {
          give: () => {
            stopListening();
            resolve(slot(name, group));
          },
          refuse: (error) => {
            stopListening();
            reject(error);
          },
        };
        if (abort.aborted) {
          reject(abortError(abort, "queue"));
          return;
        }
        const stopListening = whenAborted(abort, stop);
        group.waiting.push(waiting);
      });
    },
    close() {
      for (const { waiting } of groups.values()) {
        for (const one of waiting.splice(0)) {
          one.refuse(new LongshoreError("shutting-down", "queue", "sequences end here: it is shutting down"));
        }
      }
      groups.clear();
    },
  };
}
