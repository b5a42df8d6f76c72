/** What a request holds (its place, its memory) until it is over, wherever that is. Disposes in reverse order, once. */
export interface Holding extends Disposable {
  keep<T extends Disposable | undefined>(one: T): T;
  /** Everything held so far, which is somebody else's to dispose of from now on. */
  handOver(): Disposable;
}

/** Holds nothing yet. */
export function holding(): Holding {
  let held: Disposable[] = [];
  const disposeOf = (list: Disposable[]): void => {
    for (const one of list.splice(0).toReversed()) one[Symbol.dispose]();
  };
  return {
    keep(one) {
      if (one) held.push(one);
      return one;
    },
    handOver() {
      const given = held;
      held = [];
      return { [Symbol.dispose]: () => disposeOf(given) };
    },
    [Symbol.dispose]: () => disposeOf(held),
  };
}
