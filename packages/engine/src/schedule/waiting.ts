import { type Call, type Clock, LongshoreError, type Tensors } from "@longshore/core";
import {
  abortError,
  inSteps,
  neverAborted,
  ownCall,
  turnWhileWanted,
  whenAborted,
} from "@longshore/core/internal";
import { rowsOut, rowsOutNow } from "../runtime/index.ts";
import type { Candidate } from "./form-batch.ts";
import type { WaitingRules } from "./queue-policy.ts";

/** The result and the times of a run. */
export interface RunOutcome {
  readonly outputs: Tensors;
  readonly queueMs: number;
  readonly runMs: number;
  /** This request's share of the instance's time: less than `runMs` when the run was shared. */
  readonly busyMs: number;
}

/** A request as it arrives at the scheduler. */
export interface Arrived extends Omit<Candidate, "delayed" | "batchKey"> {
  readonly batchKey: string | undefined;
  /** Padded. */
  readonly feeds: Tensors;
  /** Cuts the request's outputs back to its own sizes. */
  readonly cut: (outputs: Tensors) => Tensors;
  readonly fetches: readonly string[];
  readonly call: Call;
  readonly rules: WaitingRules;
}

/** A request that waits or runs. */
export interface Waiting extends Omit<Arrived, "batchKey"> {
  /** Taken away when it must run alone. */
  batchKey: string | undefined;
  /** Set, outside the queue only, when it has waited for too long. */
  delayed: boolean;
  /** Ends its wait; armed while it is in the queue. */
  timeout: Disposable | undefined;
  readonly settled: boolean;
  /** Called when its caller gives up while it runs. */
  left: (() => void) | undefined;
  resolve(outcome: RunOutcome): void;
  reject(error: LongshoreError): void;
}

/** One of the requests that share a run, as it gets its part of the outputs. */
export type Sharing = Pick<Waiting, "rows" | "enqueuedMs" | "cut" | "settled" | "resolve" | "reject">;

/** The outcome of a request that `begin` runs or queues. `gaveUp` is called if the call ends first. */
export function outcomeOf(
  arrived: Arrived,
  begin: (item: Waiting) => void,
  gaveUp: (item: Waiting) => void,
): Promise<RunOutcome> {
  return new Promise((resolve, reject) => {
    const item = new WaitingHere(arrived, resolve, reject);
    item.giveUpWith(gaveUp);
    begin(item);
  });
}

/** A class, because every request makes one: copying this many fields from another object is slow. */
class WaitingHere implements Waiting {
  readonly tenant: string;
  readonly level: number;
  readonly deadlineMs: number;
  readonly order: number;
  readonly workMs: number;
  readonly rows: number;
  readonly rowBytes: number;
  readonly enqueuedMs: number;
  readonly feeds: Tensors;
  readonly cut: (outputs: Tensors) => Tensors;
  readonly fetches: readonly string[];
  readonly call: Call;
  readonly rules: WaitingRules;
  batchKey: string | undefined;
  delayed = false;
  timeout: Disposable | undefined = undefined;
  settled = false;
  left: (() => void) | undefined = undefined;
  readonly #resolve: (outcome: RunOutcome) => void;
  readonly #reject: (error: LongshoreError) => void;
  #stopListening: (() => void) | undefined;

  constructor(
    arrived: Arrived,
    resolve: (outcome: RunOutcome) => void,
    reject: (error: LongshoreError) => void,
  ) {
    this.tenant = arrived.tenant;
    this.level = arrived.level;
    this.deadlineMs = arrived.deadlineMs;
    this.order = arrived.order;
    this.workMs = arrived.workMs;
    this.rows = arrived.rows;
    this.rowBytes = arrived.rowBytes;
    this.enqueuedMs = arrived.enqueuedMs;
    this.feeds = arrived.feeds;
    this.cut = arrived.cut;
    this.fetches = arrived.fetches;
    this.call = arrived.call;
    this.rules = arrived.rules;
    this.batchKey = arrived.batchKey;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  giveUpWith(gaveUp: (item: Waiting) => void): void {
    const { abort } = this.call;
    if (abort === neverAborted) return;
    this.#stopListening = whenAborted(abort, () => {
      this.reject(abortError(abort, "queue"));
      gaveUp(this);
    });
  }

  resolve(outcome: RunOutcome): void {
    if (this.#settle()) this.#resolve(outcome);
  }

  reject(error: LongshoreError): void {
    if (this.#settle()) this.#reject(error);
  }

  #settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    this.#stopListening?.();
    return true;
  }
}

/**
 * The call of a shared run: it ends when every member's caller has given up, unless it is `short`: such a run ends before
 * stopping it could help. Call `over` after the run.
 */
export function joinedCall(
  members: readonly Waiting[],
  first: Waiting,
  short: boolean,
): { readonly call: Call; readonly over: () => void } {
  if (members.length === 1) return { call: first.call, over: nothing };
  const call = ownCall(first.call);
  call.deadlineMs = members.reduce((latest, member) => Math.max(latest, member.deadlineMs), -Infinity);
  call.abort = neverAborted;
  if (short) return { call, over: nothing };
  const controller = new AbortController();
  let interested = members.length;
  for (const member of members) {
    member.left = () => {
      interested--;
      if (interested > 0) return;
      controller.abort(new LongshoreError("cancelled", "execute", "the call of this run has ended"));
    };
  }
  call.abort = controller.signal;
  return {
    call,
    over() {
      for (const member of members) member.left = undefined;
    },
  };
}

/** How a run went, with padding among its rows. */
export interface FinishedRun {
  readonly rows: number;
  readonly startedMs: number;
  readonly runMs: number;
  /** Called once all have their parts, if these had to be copied. */
  readonly parted: (tookMs: number) => void;
}

/** Gives each member of a run its part of the outputs, whose rows are those of the run. Large outputs are copied in steps. */
export function splitOutputsAmong(
  members: readonly Sharing[],
  outputs: Tensors,
  ran: FinishedRun,
  clock: Clock,
): void {
  const total = rowsIn(members);
  const whole = members.length === 1 && ran.rows === total;
  const beganMs = clock.nowMs();
  const parted = (): void => ran.parted(clock.nowMs() - beganMs);
  const failed = (thrown: unknown): void => {
    const error = LongshoreError.from(thrown, "execute", "taking a batch apart");
    for (const member of members) member.reject(error);
  };
  try {
    const now = whole ? () => outputs : rowsOutNow(outputs);
    if (!now) {
      const pause = (): Promise<void> => turnWhileWanted(clock, neverAborted, "execute");
      const done = inSteps(handWork(members, outputs, ran), pause);
      if (done instanceof Promise) done.then(parted, failed);
      else parted();
      return;
    }
    let row = 0;
    for (const member of members) {
      // Nothing is copied for a member that has left.
      if (!member.settled) handTo(member, now(row, member.rows), total, ran);
      row += member.rows;
    }
    if (!whole) parted();
  } catch (thrown) {
    failed(thrown);
  }
}

function* handWork(members: readonly Sharing[], outputs: Tensors, ran: FinishedRun): Generator<void, void> {
  const total = rowsIn(members);
  const take = rowsOut(outputs);
  let next = 0;
  for (const member of members) {
    const row = next;
    next += member.rows;
    if (!member.settled) handTo(member, yield* take(row, member.rows), total, ran);
  }
}

function handTo(member: Sharing, part: Tensors, total: number, { startedMs, runMs }: FinishedRun): void {
  member.resolve({
    outputs: member.cut(part),
    queueMs: startedMs - member.enqueuedMs,
    runMs,
    busyMs: (runMs * member.rows) / total,
  });
}

/** Rows of all members. */
export function rowsIn(members: readonly Pick<Waiting, "rows">[]): number {
  let rows = 0;
  for (const member of members) rows += member.rows;
  return rows;
}

function nothing(): void {
  // Each request learns of its own end only.
}
