import type { Call } from "@longshore/core";

/**
 * Releases results in the order in which their requests came (Triton's `preserve_ordering`). An early result waits for those before it.
 * Failures keep the order, too.
 */
export interface OrderGate {
  /** Takes a position in the order. Call the returned function with what to do when the result is ready. */
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

/** The same outcome, but not before those of earlier requests. An aborted call ends at once. */
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
