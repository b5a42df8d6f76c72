/*
 * A request has a handful of timers, and hardly one of them ever fires: they are for what hangs. Node.js keeps a list for each
 * length of delay, and to make and to clear such a list for each request takes longer than most of what the request needs. Here
 * one timer of Node.js stands for all: it is set for the first that is due, and what is taken back meanwhile is left where it
 * lies until its turn comes, or until most of what lies there was taken back. Those that are due together fire one right after
 * the other: what one of them promises goes on after the last, unlike with timers of Node.js.
 *
 * Invariant: while anything waits, a timer of Node.js is set that fires no later than the first of it is due, and keeps the
 * program alive; while nothing waits, none keeps it alive.
 */

/** The longest delay that one timer of the platform takes, in milliseconds; a longer one fires at once there. */
const longestTimerMs = 2 ** 31 - 1;
/** Timers of the platform count whole milliseconds: one that is due in less fires now. */
const graceMs = 1;
/** Fewer that were taken back are not worth tidying up. */
const leastTaken = 64;

/** Timers that share one of the platform. */
export class TimerQueue {
  /** A binary heap, the first due on top; of several that are due at once the first that was set. */
  #heap: Waiting[] = [];
  #order = 0;
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #firesMs = Infinity;

  /** Calls `fire` after `delayMs`, which is above 0 and finite. */
  add(delayMs: number, fire: () => void): Disposable {
    const nowMs = performance.now();
    const one = new Waiting(this, nowMs + delayMs, this.#order++, fire);
    this.#push(one);
    this.#waiting++;
    if (one.dueMs < this.#firesMs) this.#arm(one.dueMs, nowMs);
    else if (this.#waiting === 1) this.#timer?.ref();
    return one;
  }

  /** How many are kept, taken back or not. */
  get size(): number {
    return this.#heap.length;
  }

  /** For those of this queue: one waits no more. */
  left(): void {
    this.#waiting--;
    if (this.#waiting === 0) this.#timer?.unref();
    if (this.#heap.length > leastTaken && this.#heap.length > 2 * this.#waiting) this.#tidy();
  }

  #arm(dueMs: number, nowMs: number): void {
    clearTimeout(this.#timer);
    this.#firesMs = dueMs;
    this.#timer = setTimeout(this.#look, Math.min(longestTimerMs, Math.max(graceMs, dueMs - nowMs)));
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    this.#firesMs = Infinity;
    const nowMs = performance.now();
    // What is set meanwhile has its turn another time, however soon: who looks a little too early would look again and again.
    const order = this.#order;
    try {
      for (let first = this.#heap[0]; first; first = this.#heap[0]) {
        if (first.waits && (first.dueMs - nowMs >= graceMs || first.order >= order)) break;
        this.#pop();
        first.fire();
      }
    } finally {
      this.#rearm();
    }
  };

  /** What was fired may have set others, and with them the timer. */
  #rearm(): void {
    const [first] = this.#heap;
    if (first && first.dueMs < this.#firesMs) this.#arm(first.dueMs, performance.now());
    if (this.#waiting === 0) this.#timer?.unref();
  }

  #tidy(): void {
    const kept = this.#heap.filter((one) => one.waits);
    this.#heap = [];
    for (const one of kept) this.#push(one);
  }

  #push(one: Waiting): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(one);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (!parent || !one.before(parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = one;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      let child = heap[below];
      const right = heap[below + 1];
      if (child && right?.before(child)) {
        below++;
        child = right;
      }
      if (!child?.before(last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}

/** One that waits for its turn. */
class Waiting implements Disposable {
  readonly dueMs: number;
  readonly order: number;
  readonly #queue: TimerQueue;
  #fire: (() => void) | undefined;

  constructor(queue: TimerQueue, dueMs: number, order: number, fire: () => void) {
    this.#queue = queue;
    this.dueMs = dueMs;
    this.order = order;
    this.#fire = fire;
  }

  get waits(): boolean {
    return this.#fire !== undefined;
  }

  before(other: Waiting): boolean {
    return this.dueMs < other.dueMs || (this.dueMs === other.dueMs && this.order < other.order);
  }

  fire(): void {
    const fire = this.#fire;
    this[Symbol.dispose]();
    fire?.();
  }

  [Symbol.dispose](): void {
    if (!this.#fire) return;
    this.#fire = undefined;
    this.#queue.left();
  }
}
