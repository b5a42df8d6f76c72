import type { Call } from "@longshore/core";

/**
 * Lets results out in the order in which their requests came (Triton's `preserve_ordering`): one that is there early waits
 * for those before it. Failures keep the order too.
 */
export interface OrderGate {
  /** Takes a place in the order; call it with what is to be done when the result is there. */
  enter(): (leave: () => void) => void;
}

/** An empty order. */
export function orderGate(): OrderGate {
  const places: { leave: (() => void) | undefined }[] = [];
  return {
    enter() {
      const place: { leave: (() => void) | undefined } = { leave: undefined };
      places.push(place);
      return (leave) => {
        place.leave ??= leave;
        while (places[0]?.leave) places.shift()?.leave?.();
      };
    },
  };
}

/** The same outcome, not before those of the requests that came before; who gives up is let go at once. */
export function inOrder<T>(outcome: Promise<T>, gate: OrderGate, { abort }: Call): Promise<T> {
  const leave = gate.enter();
  return new Promise((resolve, reject) => {
    outcome.then(
      (value) => leave(() => resolve(value)),
      (thrown: unknown) => {
        if (abort.aborted) reject(thrown);
        leave(() => reject(thrown));
      },
    );
  });
}
