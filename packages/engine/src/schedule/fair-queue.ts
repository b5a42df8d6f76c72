import type { TenantId } from "@longshore/core";

/** The properties that decide a position in a queue. */
export interface QueuePriority {
  readonly tenant: TenantId;
  /** Class of urgency: 1 comes first. */
  readonly level: number;
  /** Whether it has waited longer than its policy allows. Then it goes after all of its class that have not. */
  readonly delayed: boolean;
  readonly deadlineMs: number;
  /** Position of arrival: equals are served in it. */
  readonly order: number;
  /** Time of the instance that it is expected to take. */
  readonly workMs: number;
}

/** The requests of one tenant, and the device time it has had. */
export interface Flow<T extends QueuePriority> {
  readonly tenant: TenantId;
  readonly weight: number;
  /** In the order of service. */
  readonly items: readonly T[];
  /** Work that waits, in milliseconds of an instance. */
  readonly workMs: number;
  /** Device time that it has had, over its weight, on the common scale of virtual time. */
  readonly served: number;
}

/**
 * Decides which request is served next. Between tenants: the one with the least device time for its weight. Inside a tenant: the lowest
 * class, and in it the earliest deadline. Classes hold inside a tenant only, so that no tenant gets ahead of others by calling everything
 * urgent.
 *
 * Start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng, 1996) with measured times in place of packet lengths, as in the virtual token
 * counter (Y. Sheng et al., "Fairness in Serving Large Language Models", 2024): a run is charged its expected time when it begins and
 * corrected when it ends.
 *
 * Departures. A tenant that returns starts near the others, with credit for a burst of a few runs. Without credit, a tenant that uses
 * little of its share would wait twice as long for a few simultaneous requests as it does alone. A tenant with more waiting work than its
 * credit forfeits it, and requests refused for lack of time count as such work; otherwise a flood would be served beside tenants that keep
 * to their share. Until that shows, the tenant with credit and less waiting work comes first. Idle time of an instance advances virtual
 * time as well; otherwise a tenant that was alone for long would have no credit, however little it used, and newcomers would be served
 * before it.
 *
 * Inside a tenant: earliest deadline first (C. L. Liu, J. W. Layland, 1973).
 */
export interface FairQueue<T extends QueuePriority> {
  readonly length: number;
  push(item: T): void;
  /** Counts a refused run of a tenant: the waiting work, some of it its own, leaves no time for it. */
  turnedAway(tenant: TenantId): void;
  remove(item: T): boolean;
  head(): T | undefined;
  /** Tenants with something waiting, the next to be served first. */
  waiting(): readonly Flow<T>[];
  /** All tenants that are remembered. */
  flows(): Iterable<Flow<T>>;
  flow(tenant: TenantId): Flow<T>;
  /** Begins a run whose first request is of that tenant. Advances virtual time to its start, and by the idle time of its instance. */
  begin(tenant: TenantId, expectedMs: number, restedMs: number): void;
  /** Adds device time: the expected time when a run begins, the difference from the measured time when it ends. */
  charge(tenant: TenantId, ms: number, nowMs: number): void;
  /** Recent device time of a tenant, in milliseconds of an instance per millisecond. */
  paceOf(tenant: TenantId, nowMs: number): number;
  /** Virtual start time of a request of that tenant that arrives now. */
  startOf(tenant: TenantId): number;
}

/** Runs that a tenant may have saved up while it used less than its share: one that sends 0.4 of the load used up 24 at times. */
const burstRuns = 36;
/** Weight of the newest run in the average length of a run. */
const learning = 0.1;
/** Tenants without waiting requests that are remembered. */
const mostIdle = 256;
/** Time constant of a tenant's pace: its past decays by e in this many milliseconds. */
const paceMs = 1000;

interface OwnFlow<T extends QueuePriority> extends Flow<T> {
  readonly items: T[];
  workMs: number;
  served: number;
  /** Device time that it had, as far as it was not forgotten at `recentAtMs`. */
  recentMs: number;
  recentAtMs: number;
}

function recentOf({ recentMs, recentAtMs }: OwnFlow<QueuePriority>, nowMs: number): number {
  return recentMs === 0 ? 0 : recentMs * Math.exp((recentAtMs - nowMs) / paceMs);
}

function before(a: QueuePriority, b: QueuePriority): boolean {
  if (a.level !== b.level) return a.level < b.level;
  if (a.delayed !== b.delayed) return b.delayed;
  if (a.deadlineMs !== b.deadlineMs) return a.deadlineMs < b.deadlineMs;
  return a.order < b.order;
}

/** Position of an item in the queue: the number of items before it. */
export function placeOf(items: readonly QueuePriority[], item: QueuePriority): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = items[middle];
    if (other && before(other, item)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param weightOf Share of a tenant relative to others (1); more than 0. */
export function fairQueue<T extends QueuePriority>(weightOf: (tenant: TenantId) => number): FairQueue<T> {
  const flows = new Map<TenantId, OwnFlow<T>>();
  let length = 0;
  /** Virtual time: the start time of the tenant served last. */
  let now = 0;
  let runMs = 0;

  /** Earliest start time of a tenant of that weight after a long rest. */
  const earliest = (weight: number): number => now - (burstRuns * runMs) / weight;

  function flowOf(tenant: TenantId): OwnFlow<T> {
    const known = flows.get(tenant);
    if (known) return known;
    const weight = Math.max(1e-6, weightOf(tenant));
    const served = earliest(weight);
    const made: OwnFlow<T> = {
      tenant,
      weight,
      items: [],
      workMs: 0,
      served,
      recentMs: 0,
      recentAtMs: 0,
    };
    forgetIdle();
    flows.set(tenant, made);
    return made;
  }

  /** Of a tenant that would be lifted anyway nothing is lost. */
  function forgetIdle(): void {
    if (flows.size < mostIdle) return;
    for (const [tenant, flow] of flows) {
      if (flow.items.length === 0 && flow.served <= earliest(flow.weight)) flows.delete(tenant);
    }
  }

  /** Order of a tenant. Of two with credit, the one with less waiting work comes first: this allows a burst and stops a flood. */
  const standing = ({ served, weight, workMs }: OwnFlow<T>): number =>
    served < now ? Math.min(now, served + workMs / weight) : served;

  function next(): OwnFlow<T> | undefined {
    let best: OwnFlow<T> | undefined;
    for (const flow of flows.values()) {
      if (flow.items.length > 0 && (!best || standing(flow) < standing(best))) best = flow;
    }
    return best;
  }

  return {
    get length(): number {
      return length;
    },
    push(item) {
      const flow = flowOf(item.tenant);
      if (flow.items.length === 0) flow.served = Math.max(flow.served, earliest(flow.weight));
      flow.items.splice(placeOf(flow.items, item), 0, item);
      flow.workMs += item.workMs;
      // Work beyond the greatest credit is not a burst.
      if (flow.workMs > burstRuns * runMs) flow.served = Math.max(flow.served, now);
      length++;
    },
    turnedAway(tenant) {
      const flow = flows.get(tenant);
      if (!flow || flow.items.length === 0) return;
      flow.served = Math.max(flow.served, Math.min(now, flow.served + runMs / flow.weight));
    },
    remove(item) {
      const flow = flows.get(item.tenant);
      if (!flow) return false;
      const place = placeOf(flow.items, item);
      if (flow.items[place] !== item) return false;
      flow.items.splice(place, 1);
      flow.workMs = flow.items.length === 0 ? 0 : flow.workMs - item.workMs;
      length--;
      return true;
    },
    head: () => next()?.items[0],
    waiting() {
      const some: OwnFlow<T>[] = [];
      if (length === 0) return some;
      for (const flow of flows.values()) if (flow.items.length > 0) some.push(flow);
      return some.length > 1 ? some.sort((a, b) => standing(a) - standing(b)) : some;
    },
    flows: () => flows.values(),
    flow: flowOf,
    begin(tenant, expectedMs, restedMs) {
      const { served, weight } = flowOf(tenant);
      now = Math.max(now, served);
      runMs += (expectedMs - runMs) * learning;
      if (restedMs <= 0) return;
      // Idle time beyond the greatest credit makes no difference.
      now += Math.min(restedMs, burstRuns * runMs) / weight;
      for (const flow of flows.values()) flow.served = Math.max(flow.served, earliest(flow.weight));
    },
    charge(tenant, ms, nowMs) {
      const flow = flowOf(tenant);
      flow.served += ms / flow.weight;
      flow.recentMs = recentOf(flow, nowMs) + ms;
      flow.recentAtMs = nowMs;
    },
    paceOf(tenant, nowMs) {
      const flow = flows.get(tenant);
      return flow ? Math.max(0, recentOf(flow, nowMs)) / paceMs : 0;
    },
    startOf(tenant) {
      const { served, weight } = flowOf(tenant);
      return Math.max(served, earliest(weight));
    },
  };
}
