import type { Clock, TenantId } from "@longshore/core";
import { Chain, type Chained } from "@longshore/core/internal";
import { type QueuePriority, fairQueue, type Flow } from "./fair-queue.ts";
import { filledUntil } from "./forecast.ts";

/*
 * Which run is next when there are more graphs than cores.
 *
 * Each loaded graph has its own scheduler. If each started its runs at once, the parts of a split model, the steps of a pipeline
 * and models side by side would share the cores by time slices. Each run would take twice as long, none would end earlier, and everything
 * learned from run times (forecasts, batches, promises) would come from disturbed runs. So the cores have one owner: there are as
 * many runs as cores, and the next one is chosen over all graphs as the queue of one graph chooses (`FairQueue`).
 *
 * A run cannot be interrupted, so a short one must not wait for a long one. A run that would end long before any core is free
 * starts beside the others, one at a time, and the operating system shares the cores; other runs are delayed little. For the same
 * reason a run that takes far longer than expected, or never ends, delays no other run: others begin beside it.
 */

/** The cores of an engine, shared by the runs of all its graphs. */
export interface Cores {
  /** Dispose the claim when the scheduler goes. */
  join(user: CoreUser): CoreClaim;
}

/** A scheduler, as its cores know it. */
export interface CoreUser {
  /** Number of loaded instances. This many runs at once are always allowed, since the configuration asks for them. */
  readonly instances: number;
  /** Work that it has waiting, by tenant. */
  waiting(): readonly Pick<Flow<QueuePriority>, "tenant" | "workMs">[];
  /** Called when a core is free and this scheduler is next. */
  again(): void;
}

/** The share of one scheduler in the cores. */
export interface CoreClaim extends Disposable {
  /** The next position of arrival, over all graphs. */
  order(): number;
  /** Takes a core for a run that begins with this request. Returns undefined if none is free; `again` is called when it is next. */
  take(first: QueuePriority, expectedMs: number, nowMs: number): CoreRun | undefined;
  /** A request of that tenant was refused for want of time (see `FairQueue`). */
  turnedAway(tenant: TenantId): void;
  /** Adds time of a core that a tenant had. */
  charge(tenant: TenantId, ms: number, nowMs: number): void;
  /**
   * How long a new run waits for a core, in milliseconds, after the waiting runs of other graphs. With a tenant, only what is
   * served before that tenant counts.
   */
  waitMs(nowMs: number, tenant?: TenantId): number;
}

/** A core that is taken. */
export interface CoreRun {
  /** As stated when the core was taken. */
  readonly expectedMs: number;
  /** Ends the run. The next scheduler is called in a later turn, so that the one that gives can take again. */
  give(nowMs: number): void;
}

interface Entry extends QueuePriority {
  readonly user: User;
}

interface User {
  readonly of: CoreUser;
  /** While it waits. */
  entry: Entry | undefined;
}

/** A run may start beside others if it takes at most this share of the time left to the first of them to end. */
const besideRatio = 0.25;

/** A run that has taken this many times its expected time no longer delays others. */
const longRatio = 10;
/** The least time before that, in milliseconds. */
const longMs = 2000;

/** A run under way. */
interface Under {
  readonly endMs: number;
  readonly longAtMs: number;
}

/** @param count Runs at a time, 1 or more; @param weightOf share of a tenant relative to others (1). */
export function coresOf(count: number, weightOf: (tenant: TenantId) => number, clock: Clock): Cores {
  const users = new Set<User>();
  const queue = fairQueue<Entry>(weightOf);
  const under = new Chain<Under>();
  let beside: Chained<Under> | undefined;
  let next: User | undefined;
  let seats = count;
  let idleSinceMs = 0;
  let arrivals = 0;

  /** Set while a scheduler waits: fires when the first of the running runs has taken too long. */
  let patience: Disposable | undefined;
  let patientUntilMs = Infinity;

  /** The runs that delay others. */
  function holding(nowMs: number): readonly Under[] {
    const all: Under[] = [];
    for (let run = under.first; run; run = run.after)
      if (run !== beside && nowMs < run.value.longAtMs) all.push(run.value);
    return all;
  }

  const free = (nowMs: number): number =>
    under.size < seats ? seats - under.size : seats - holding(nowMs).length;

  function leave(user: User): void {
    if (!user.entry) return;
    queue.remove(user.entry);
    user.entry = undefined;
    if (queue.length === 0) endPatience();
  }

  function endPatience(): void {
    patience?.[Symbol.dispose]();
    patience = undefined;
    patientUntilMs = Infinity;
  }

  /** Whether a run would be over long before one of those under way. */
  function short(expectedMs: number, nowMs: number): boolean {
    if (beside || !(expectedMs > 0)) return false;
    let firstMs = Infinity;
    for (let run = under.first; run; run = run.after) firstMs = Math.min(firstMs, run.value.endMs);
    return expectedMs <= besideRatio * (firstMs - nowMs);
  }

  function begin(tenant: TenantId, expectedMs: number, nowMs: number, extra: boolean): CoreRun {
    queue.begin(tenant, expectedMs, under.size === 0 ? nowMs - idleSinceMs : 0);
    const run = under.add({
      endMs: nowMs + expectedMs,
      longAtMs: nowMs + Math.max(longMs, longRatio * expectedMs),
    });
    if (extra) beside = run;
    return {
      expectedMs,
      give(atMs) {
        if (!under.remove(run)) return;
        if (beside === run) beside = undefined;
        if (under.size === 0) idleSinceMs = atMs;
        if (queue.length > 0) queueMicrotask(() => wake(atMs));
      },
    };
  }

  /** Calls the next schedulers while a core is free and a run fits beside the others. */
  function wake(nowMs: number): void {
    while (free(nowMs) > 0) {
      const head = queue.head();
      if (!head) return;
      call(head.user);
    }
    for (const { items } of queue.waiting()) {
      const small = items.find(({ workMs }) => short(workMs, nowMs));
      if (!small) continue;
      call(small.user);
      break;
    }
    beginPatience(nowMs);
  }

  function beginPatience(nowMs: number): void {
    if (queue.length === 0) return;
    const firstMs = Math.min(...holding(nowMs).map(({ longAtMs }) => longAtMs));
    // Runs that began since may become too long sooner than those before.
    if (firstMs >= patientUntilMs) return;
    endPatience();
    patientUntilMs = firstMs;
    patience = clock.timer(firstMs - nowMs, () => {
      endPatience();
      wake(clock.nowMs());
    });
  }

  function call(user: User): void {
    leave(user);
    next = user;
    user.of.again();
    next = undefined;
  }

  /** The work of other graphs that is served before a request of that tenant. */
  function aheadMs(user: User, tenant: TenantId | undefined): number {
    const own = user.of.waiting().reduce((sum, one) => (one.tenant === tenant ? sum + one.workMs : sum), 0);
    const others = new Map<TenantId, number>();
    for (const other of users) {
      if (other === user) continue;
      for (const { tenant: of, workMs } of other.of.waiting()) others.set(of, (others.get(of) ?? 0) + workMs);
    }
    let workMs = 0;
    for (const [of, ms] of others) {
      workMs +=
        tenant === undefined || of === tenant ? ms : Math.min(ms, own * (weightOf(of) / weightOf(tenant)));
    }
    return workMs;
  }

  return {
    join(of) {
      const user: User = { of, entry: undefined };
      users.add(user);
      seats = Math.max(seats, of.instances);
      return {
        order: () => arrivals++,
        take({ tenant, level, delayed, deadlineMs, order, workMs }, expectedMs, nowMs) {
          leave(user);
          const turn = next === user;
          if (turn) next = undefined;
          if (free(nowMs) > 0 && (turn || queue.length === 0)) return begin(tenant, expectedMs, nowMs, false);
          const entry = { tenant, level, delayed, deadlineMs, order, workMs, user };
          queue.push(entry);
          const first = free(nowMs) > 0 && queue.head() === entry;
          if (!first && !(free(nowMs) <= 0 && short(expectedMs, nowMs))) {
            user.entry = entry;
            beginPatience(nowMs);
            return undefined;
          }
          queue.remove(entry);
          return begin(tenant, expectedMs, nowMs, !first);
        },
        turnedAway: (tenant) => queue.turnedAway(tenant),
        charge: (tenant, ms, nowMs) => queue.charge(tenant, ms, nowMs),
        waitMs(nowMs, tenant) {
          if (free(nowMs) > 0 && queue.length === 0) return 0;
          const leftMs = holding(nowMs).map(({ endMs }) => Math.max(0, endMs - nowMs));
          if (leftMs.length === 0) return aheadMs(user, tenant) / seats;
          return filledUntil(leftMs, aheadMs(user, tenant));
        },
        [Symbol.dispose]() {
          leave(user);
          users.delete(user);
          seats = Math.max(count, ...Array.from(users, (one) => one.of.instances));
          wake(clock.nowMs());
        },
      };
    },
  };
}
