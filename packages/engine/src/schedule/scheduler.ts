import {
  type Batching,
  type BatchIsolation,
  type Call,
  LongshoreError,
  type LongshoreEvent,
  type LoadReport,
  type TenantId,
  type Tensors,
} from "@longshore/core";
import { checkCall, type Writable } from "@longshore/core/internal";
import {
  batchKey,
  followRows,
  padAxes,
  paddedRows,
  rowBytesOf,
  rowsOf,
  runJoined,
} from "../runtime/index.ts";
import type { TriedRun } from "./batch-trial.ts";
import { batchShare } from "./batch-share.ts";
import { type ArrivalPaces, arrivalPaces } from "./company.ts";
import type { CoreClaim, CoreRun } from "./cores.ts";
import { type Forecast, forecast, type QueueState, workOf } from "./forecast.ts";
import { formNext, shortRunMs, worthAnswering } from "./form-batch.ts";
import { type Instance, reopenDead } from "./instance.ts";
import { loadReport } from "./load-report.ts";
import { inOrder, type OrderGate, orderGate } from "./order-gate.ts";
import type { Requester, Scheduler, SchedulerParts } from "./scheduler-interface.ts";
import { waitingRules } from "./queue-policy.ts";
import type { RowSamples } from "./row-samples.ts";
import { runTimes, type RunTimes } from "./run-times.ts";
import { TrialTurns } from "./trial-turns.ts";
import { type Ticket, type Tickets, createTickets } from "./tickets.ts";
import {
  type Arrived,
  splitOutputsAmong,
  joinedCall,
  outcomeOf,
  type FinishedRun,
  rowsIn,
  type RunOutcome,
  type Waiting,
} from "./waiting.ts";
import { type WaitingRequests, waitingRequests } from "./waiting-requests.ts";

/** An event of a run. */
type BatchEvent = Writable<Extract<LongshoreEvent, { kind: "batch-started" | "batch-run" | "batch-parted" }>>;

/** Weight of the newest request in the share of those that came beside others, and below which share each is alone. */
const companyLearning = 0.1;
const leastCompany = 0.02;

/** A scheduler over loaded instances. */
export class GraphScheduler implements Scheduler {
  readonly name: string;
  readonly instances: number;
  readonly isolation: BatchIsolation;
  readonly #parts: SchedulerParts;
  readonly #instances: readonly Instance[];
  readonly #times: RunTimes = runTimes();
  readonly #waitingRequests: WaitingRequests;
  readonly #tickets: Tickets;
  readonly #gate: OrderGate | undefined;
  readonly #paces: ArrivalPaces = arrivalPaces();
  readonly #cores: CoreClaim;
  readonly #share = batchShare();
  #running = 0;
  #idleSinceMs = 0;
  #draining = false;
  #drained: Promise<void> | undefined;
  #whenQuiet: (() => void) | undefined;
  /**
   * Set while a request waits to share a run. With `turn`, the requests that arrive within this turn of the event loop are considered when
   * it ends.
   */
  #company: { readonly timer: Disposable; readonly turn: boolean } | undefined;
  /** Length of the queue when it was last considered. */
  #looked = 0;
  #batching: Batching;
  #samples: RowSamples | undefined;
  readonly #trials: TrialTurns;
  #provider: string | undefined;
  /** Set once an output turned out not to follow the batch axis: requests for this graph can then never share a run. */
  #unjoinable = false;
  /** Share of recent requests that came while others waited or ran, of 1. */
  #accompanied = 0;

  constructor(parts: SchedulerParts, instances: readonly Instance[], isolation: BatchIsolation) {
    const { name, clock, maxQueued, batching, weightOf = () => 1 } = parts;
    this.#parts = parts;
    this.#instances = instances;
    this.instances = instances.length;
    this.name = name;
    this.isolation = isolation;
    this.#batching = batching;
    this.#provider = providersOf(instances);
    const common = { name, clock, times: this.#times, weightOf, changed: () => this.#pump() };
    this.#waitingRequests = waitingRequests({
      ...common,
      waitMs: (one) => forecast(one, this.#outlook(one.tenant)).waitMs,
    });
    this.#tickets = createTickets({
      name,
      most: maxQueued + instances.length,
      weightOf,
      evict: (tenant) =>
        this.#waitingRequests.evictOf(
          tenant,
          `the queue of ${name} is full, and another tenant has fewer requests in it`,
        ),
      returned: () => this.#checkQuiet(),
    });
    this.#gate = batching.preserveOrdering ? orderGate() : undefined;
    const waiting = () => this.#waitingRequests.queue.waiting();
    this.#cores = parts.cores.join({ instances: instances.length, waiting, again: this.#again });
    this.#trials = new TrialTurns({
      name,
      clock,
      instances,
      cores: this.#cores,
      times: this.#times,
      again: this.#again,
    });
  }

  get width(): number {
    return this.instances * Math.max(1, Math.min(8, this.#batching.maxBatchSize));
  }

  get build(): string | undefined {
    return this.#instances[0]?.build;
  }

  joinUpTo(rows: number): void {
    this.#batching = { ...this.#batching, maxBatchSize: rows };
  }

  sample(samples: RowSamples): void {
    this.#samples = samples;
  }

  tryOut(feeds: Tensors): Promise<TriedRun> {
    return this.#trials.tryOut(feeds);
  }

  get open(): boolean {
    return !this.#draining;
  }

  get provider(): string | undefined {
    return this.#provider;
  }

  get #joins(): boolean {
    return this.#batching.maxBatchSize > 1 && !this.#unjoinable && this.isolation !== "exclusive";
  }

  admit(rows: number, asker: Requester): Ticket {
    this.#refuseWhenDraining();
    const rowMs = this.#rowMs();
    this.#waitingRequests.checkFits(waitingRules(this.#batching, asker.priority, undefined), rowMs);
    return this.#tickets.grant(rows, asker, rowMs);
  }

  /** Time until a queue position becomes free, in milliseconds, for the retry hint of refusals. */
  #rowMs(): number {
    return Math.max(1, Math.ceil(workOf(1, this.#times, this.#batching.maxBatchSize)));
  }

  expected(rows: number, { tenant, deadlineMs, priority }: Requester): Forecast {
    const { level } = waitingRules(this.#batching, priority, undefined);
    return forecast({ rows, tenant, deadlineMs, level }, this.#outlook(tenant));
  }

  turnedAway({ tenant }: Requester): void {
    this.#waitingRequests.queue.turnedAway(tenant);
    this.#cores.turnedAway(tenant);
  }

  #outlook(tenant?: TenantId): QueueState {
    const nowMs = this.#parts.clock.nowMs();
    const coreMs = this.#cores.waitMs(nowMs, tenant);
    return {
      queue: this.#waitingRequests.queue,
      pending: this.#tickets.pending,
      times: this.#times,
      freeMs: this.#instances.map((one) => Math.max(coreMs, one.remainingMs(nowMs))),
      maxBatchSize: this.#joins ? this.#batching.maxBatchSize : 1,
      nowMs,
    };
  }

  run(feeds: Tensors, fetches: readonly string[], call: Call, ticket?: Ticket): Promise<RunOutcome> {
    try {
      return this.#take(feeds, fetches, call, ticket);
    } catch (thrown) {
      return Promise.reject(LongshoreError.from(thrown, "queue", `running ${this.name}`));
    }
  }

  #take(
    feeds: Tensors,
    fetches: readonly string[],
    call: Call,
    ticket: Ticket | undefined,
  ): Promise<RunOutcome> {
    const { clock } = this.#parts;
    const batching = this.#batching;
    if (!ticket) this.#refuseWhenDraining();
    checkCall(call, clock, "queue");
    const rules = waitingRules(batching, call.priority, call.queueTimeoutMs);
    // Also with a reserved position: its class may not have been known then, and others may have arrived since.
    this.#waitingRequests.checkFits(rules, this.#rowMs());
    if (this.#samples && !this.#samples.offer(feeds, call.tenant)) this.#samples = undefined;
    const padded = padAxes(feeds, batching.buckets);
    // Without batching each request is one run, whatever its first axis means.
    const rows = batching.maxBatchSize > 1 ? Math.max(1, rowsOf(padded.feeds) ?? 1) : 1;
    ticket?.expect(ticket.rows - rows);
    const rowBytes = rowBytesOf(padded.feeds, rows);
    const sharers = this.isolation === "shared" ? "" : call.tenant;
    const enqueuedMs = clock.nowMs();
    this.#paces.of(sharers).seen(enqueuedMs);
    const beside = this.#running > 0 || this.#waitingRequests.queue.length > 0 ? 1 : 0;
    this.#accompanied += (beside - this.#accompanied) * companyLearning;
    const together = this.#joins ? this.#waitingRequests.queue.flow(call.tenant).items.length + rows : rows;
    const arrived: Arrived = {
      tenant: call.tenant,
      level: rules.level,
      deadlineMs: call.deadlineMs,
      order: this.#cores.order(),
      workMs: workOf(rows, this.#times, Math.min(batching.maxBatchSize, together), rowBytes),
      rows,
      rowBytes,
      batchKey: this.#joins ? batchKey(padded.feeds, fetches, sharers) : undefined,
      enqueuedMs,
      feeds: padded.feeds,
      cut: padded.cut,
      fetches,
      call,
      rules,
    };
    const outcome = outcomeOf(arrived, this.#enter, this.#gone);
    return this.#gate ? inOrder(outcome, this.#gate, call) : outcome;
  }

  readonly #enter = (item: Waiting): void => {
    if (this.#startsAtOnce(item)) return;
    this.#waitingRequests.enter(item);
    if (!this.#company?.turn) this.#pump(false);
  };

  readonly #gone = (item: Waiting): void => {
    if (!this.#waitingRequests.leave(item)) item.left?.();
    this.#pump();
  };

  load(): LoadReport {
    const { clock } = this.#parts;
    const batching = this.#batching;
    const nowMs = clock.nowMs();
    const free =
      this.#waitingRequests.queue.length + this.#tickets.pending.size === 0 &&
      this.#instances.some(({ state }) => state === "idle") &&
      this.#cores.waitMs(nowMs) === 0;
    const batch = this.#joins ? this.#share.report(this.#times, batching.maxBatchSize) : undefined;
    return loadReport(this.#instances, this.#running, free ? nowMs : this.#outlook(), batch);
  }

  drain(): Promise<void> {
    this.#draining = true;
    this.#trials.end();
    return (this.#drained ??= this.#finish());
  }

  async #finish(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#whenQuiet = resolve;
      this.#pump();
    });
    this.#cores[Symbol.dispose]();
    await Promise.all(this.#instances.map((one) => one.release()));
  }

  #refuseWhenDraining(): void {
    if (this.#draining)
      throw new LongshoreError("shutting-down", "admission", `${this.name} is being unloaded`);
  }

  #checkQuiet(): void {
    const busy =
      this.#running + this.#waitingRequests.queue.length + this.#tickets.count > 0 || this.#trials.running;
    if (!busy) this.#whenQuiet?.();
  }

  /** Starts runs while there are waiting requests and idle instances. Called when either may have changed. */
  #pump(turnOver = true): void {
    const { clock } = this.#parts;
    this.#company?.timer[Symbol.dispose]();
    this.#company = undefined;
    this.#trials.start(this.#waitingRequests.queue.length > 0);
    while (this.#waitingRequests.queue.length > 0) {
      const nowMs = clock.nowMs();
      this.#waitingRequests.refuseHopeless(nowMs);
      const idle = this.#instances.filter(({ state }) => state === "idle");
      if (idle.length === 0) {
        this.#reopen();
        break;
      }
      const formed = formNext(
        this.#waitingRequests.queue.waiting(),
        this.isolation === "shared",
        this.#paces,
        {
          batching: this.#batching,
          times: this.#times,
          nowMs,
          idle: idle.length,
          idleSinceMs: this.#idleSinceMs,
          turnOver,
        },
      );
      if (!formed) break;
      if (formed.kind === "wait") {
        const waitMs = formed.untilMs - nowMs;
        this.#company = { timer: clock.timer(waitMs, this.#look), turn: waitMs === 0 };
        break;
      }
      const [first] = formed.members;
      // The cores or another shared resource are used up. Their release calls this method again.
      if (!first || !this.#begins(idle, formed.members, first)) break;
    }
    this.#checkQuiet();
  }

  /**
   * Starts a request that need not wait: the queue is empty, an instance is idle, and no other request is worth waiting for. The queue
   * would give the same result, but makes up a third of the scheduling cost of a request.
   */
  #startsAtOnce(item: Waiting): boolean {
    if (this.#waitingRequests.queue.length > 0 || this.#draining || (this.#joins && this.#mayWait(item)))
      return false;
    if (this.#waitingRequests.isHopeless(item, item.enqueuedMs)) return false;
    const one = this.#instances.find(({ state }) => state === "idle");
    return one !== undefined && this.#begins([one], [item], item);
  }

  /**
   * Whether waiting for another request may pay. It never does if gaps between requests are longer than runs, nor for one client that
   * sends each request after the last reply: no request arrives while it waits, however short its gaps are.
   */
  #mayWait({ call, rows, rowBytes, enqueuedMs }: Waiting): boolean {
    const { maxQueueDelayMs, preferredSizes } = this.#batching;
    if (maxQueueDelayMs !== undefined || preferredSizes) return true;
    if (this.#accompanied < leastCompany) return false;
    const runMs = this.#times.runMs(rows, rowBytes);
    const sharers = this.isolation === "shared" ? "" : call.tenant;
    return runMs === undefined || this.#paces.of(sharers).gapMs(enqueuedMs) < runMs;
  }

  /** Starts a run if a core and an instance are free. */
  #begins(idle: readonly Instance[], members: readonly Waiting[], first: Waiting): boolean {
    // Shared resources come first: a run that waits for them must not hold a position in the queue for cores.
    const on = idle.find((one) => one.claim(this.#again));
    const expectedMs = this.#times.runMs(rowsIn(members), first.rowBytes) ?? 0;
    const core = on && this.#cores.take(first, expectedMs, this.#parts.clock.nowMs());
    if (!core) {
      on?.unclaim();
      return false;
    }
    for (const member of members) this.#waitingRequests.leave(member);
    this.#looked = this.#waitingRequests.queue.length;
    void this.#start(on, core, members, first);
    return true;
  }

  /** Called when an awaited resource is free. If no run takes it now, another scheduler gets it. */
  readonly #again = (): void => this.#pump();

  /** Goes on after a wait for company. A turn of the event loop that brought some requests may not have brought all that are on their way. */
  readonly #look = (): void => {
    const before = this.#looked;
    this.#looked = this.#waitingRequests.queue.length;
    this.#pump(this.#looked <= before);
  };

  async #start(on: Instance, core: CoreRun, members: readonly Waiting[], first: Waiting): Promise<void> {
    const { clock, observer, version } = this.#parts;
    const batching = this.#batching;
    const model = this.name;
    const rows = rowsIn(members);
    // A request without rows, or with different row counts, runs unpadded: padding could not be told from its answer.
    const ran = this.#unjoinable || !rowsOf(first.feeds) ? rows : paddedRows(rows, batching);
    const startedMs = clock.nowMs();
    const { expectedMs } = core;
    const joined = joinedCall(members, first, expectedMs > 0 && expectedMs < shortRunMs);
    const callIds = members.map(({ call }) => call.id);
    const record = (event: BatchEvent): void => {
      // Assigned, since properties after a spread are defined slowly, and this runs for every small request.
      if (version !== undefined) event.version = version;
      observer.record(event);
    };
    const parted = (tookMs: number): void =>
      record({ kind: "batch-parted", atMs: clock.nowMs(), model, size: rows, callIds, tookMs });
    this.#running++;
    this.#trials.disturbed();
    this.#share.began(members.length, rows);
    this.#waitingRequests.queue.begin(first.tenant, expectedMs, on.restedMs(startedMs));
    this.#charge(members, rows, expectedMs);
    const queueMs = members.reduce((sum, { enqueuedMs }) => sum + startedMs - enqueuedMs, 0);
    record({ kind: "batch-started", atMs: startedMs, model, size: rows, callIds, queueMs });
    const together = members.map(({ feeds }) => feeds);
    let inputMs: number | undefined;
    const beganMs = clock.nowMs();
    const { result, ended } = on.run(expectedMs, (session) =>
      runJoined(together, ran, clock, joined.call, (feeds) => {
        inputMs = clock.nowMs() - beganMs;
        return session.run(feeds, first.fetches, joined.call);
      }),
    );
    let completed = true;
    let answer = (): void => undefined;
    try {
      answer = this.#answerFor(members, await result, { rows: ran, startedMs, parted });
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "execute", `running ${this.name}`);
      // An abandoned run still ends, and its time is still measured.
      completed = error.reason === "cancelled" || error.reason === "deadline-exceeded";
      if (members.length > 1 && error.reason !== "runtime-crashed") this.#runAlone(members);
      else for (const member of members) member.reject(error);
    }
    const { tookMs, ranMs, begun } = await ended;
    joined.over();
    this.#running--;
    this.#idleSinceMs = clock.nowMs();
    core.give(this.#idleSinceMs);
    on.giveBack();
    this.#charge(members, rows, tookMs - expectedMs);
    if (completed && inputMs !== undefined && begun) {
      this.#times.seen(rows, tookMs, this.#idleSinceMs, first.rowBytes, ranMs);
      record({
        kind: "batch-run",
        atMs: this.#idleSinceMs,
        model,
        size: rows,
        callIds,
        tookMs,
        inputMs,
      });
    }
    const waiting = this.#draining || !this.#joins ? 0 : this.#waitingRequests.queue.length;
    if (worthAnswering(waiting, rows, first.rowBytes, this.#times, batching)) {
      answer();
      this.#company?.timer[Symbol.dispose]();
      this.#company = { timer: clock.timer(0, this.#look), turn: true };
      return;
    }
    // The next run begins before the answers of this one are processed, so that the instance does not idle.
    this.#pump();
    answer();
  }

  #charge(members: readonly Waiting[], rows: number, ms: number): void {
    const nowMs = this.#parts.clock.nowMs();
    for (const member of members) {
      const ownMs = (ms * member.rows) / rows;
      this.#waitingRequests.queue.charge(member.tenant, ownMs, nowMs);
      this.#cores.charge(member.tenant, ownMs, nowMs);
    }
  }

  /** Returns a function that gives each member its part of the outputs. If the outputs cannot be divided, each member runs again alone. */
  #answerFor(members: readonly Waiting[], outputs: Tensors, ran: Omit<FinishedRun, "runMs">): () => void {
    const runMs = this.#parts.clock.nowMs() - ran.startedMs;
    const alone = members.length === 1 && ran.rows === rowsIn(members);
    if (!alone && !followRows(outputs, ran.rows)) {
      this.#unjoinable = true;
      this.#runAlone([...members, ...this.#waitingRequests.queue.waiting().flatMap(({ items }) => items)]);
      return () => undefined;
    }
    // Written out: a property after a spread is defined slowly.
    const { rows, startedMs, parted } = ran;
    return () => splitOutputsAmong(members, outputs, { rows, startedMs, parted, runMs }, this.#parts.clock);
  }

  /** Runs each member alone, so that one bad request does not fail the others. */
  #runAlone(members: readonly Waiting[]): void {
    for (const member of members) {
      this.#waitingRequests.leave(member);
      member.batchKey = undefined;
      if (!member.settled) this.#waitingRequests.enter(member);
    }
  }

  /** Crashed instances are loaded again when there is work; when none can be, the work fails with the reason. */
  #reopen(): void {
    const opened = (): void => {
      this.#provider = providersOf(this.#instances);
      this.#again();
    };
    reopenDead(this.#instances, opened, (thrown) => {
      this.#waitingRequests.rejectAll(LongshoreError.from(thrown, "queue", `loading ${this.name}`));
      this.#checkQuiet();
    });
  }
}

/** The execution providers of some instances, with `+` between several. */
function providersOf(instances: readonly Instance[]): string | undefined {
  const names = new Set(instances.flatMap(({ provider }) => provider ?? []));
  return names.size === 0 ? undefined : [...names].join("+");
}
