/** What the order of a queue depends on. */
export interface Due {
  readonly deadlineMs: number;
  /** Position of arrival: equal deadlines are served in it. */
  readonly order: number;
}

/** Earliest deadline first (C. L. Liu, J. W. Layland, "Scheduling Algorithms for Multiprogramming...", 1973). */
export interface DeadlineQueue<T extends Due> {
  push(item: T): void;
  remove(item: T): boolean;
  readonly items: readonly T[];
}

/** A sorted list: queues are bounded to hundreds, and admission and batching look at all of it anyway. */
export function deadlineQueue<T extends Due>(): DeadlineQueue<T> {
  const items: T[] = [];
  const before = (a: T, b: T): boolean =>
    a.deadlineMs < b.deadlineMs || (a.deadlineMs === b.deadlineMs && a.order < b.order);
  return {
    items,
    push(item) {
      let low = 0;
      let high = items.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        const other = items[middle];
        if (other && before(other, item)) low = middle + 1;
        else high = middle;
      }
      items.splice(low, 0, item);
    },
    remove(item) {
      const index = items.indexOf(item);
      if (index >= 0) items.splice(index, 1);
      return index >= 0;
    },
  };
}
