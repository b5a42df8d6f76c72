import type { Call } from "@longshore/core";

/**
 * Releases results in the order in which their requests came (Triton's `preserve_ordering`). An early result waits for those before it.
 * Failures keep the order, too.
 */
export interface OrderGate {
  /** Takes a position in the order. Call the returned function with what to do when the result is ready. */
  enter(): (leave: () => void) => void;
}

/** Starts without requests. */
export function orderGate(): OrderGate {
  const positions: { leave: (() => void) | undefined }[] = [];
  return {
    enter() {
      const position: { leave: (() => void) | undefined } = { leave: undefined };
      positions.push(position);
      return (leave) => {
        position.leave ??= leave;
        while (positions[0]?.leave) positions.shift()?.leave?.();
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
