import {
  type Batching,
  type Call,
  checkCall,
  type Clock,
  LongshoreError,
  type LoadReport,
  type Observer,
  type Tensors,
} from "@longshore/core";
import { batchKey, joinFeeds, rowsOf, splitOutputs } from "./batch.ts";
import { formBatch } from "./form-batch.ts";
import { Instance, type OpenSession } from "./instance.ts";
import { type DeadlineQueue, deadlineQueue } from "./queue.ts";
import { runTimes, type RunTimes } from "./run-times.ts";
import { expectedWaitMs, type Ticket, type TicketDesk, ticketDesk } from "./tickets.ts";
import { joinedCall, outcomeOf, type RunOutcome, type Waiting } from "./waiting.ts";

export interface SchedulerParts {
  /** What is scheduled, for events and messages: model and cuts, no file names. */
  readonly name: string;
  /** One for each instance. */
  readonly opens: readonly OpenSession[];
  readonly batching: Batching;
  /** Requests that may wait besides those that run. */
  readonly maxQueued: number;
  readonly clock: Clock;
  readonly observer: Observer;
}

/** One owner of one loaded graph's instances: admission, queue, batching, running. */
export interface Scheduler {
  readonly name: string;
  /** How many requests of one caller can be under way at the same time to good effect. */
  readonly width: number;
  readonly instances: number;
  /** Grants a place. Throws `queue-full` or `shutting-down`. */
  admit(rows: number, deadlineMs: number): Ticket;
  /** Expected wait of work with this deadline that comes now, and the run of so many rows once runs were seen. */
  expected(rows: number, deadlineMs: number): { readonly waitMs: number; readonly runMs: number | undefined };
  /**
   * Waits for an instance, runs, and gives the outputs, which are the caller's. Rejects as soon as the call ends; the
   * instance stays busy until the run does. `evicted` when it was admitted and cannot make its deadline any more. The
   * call must end at its deadline; the scheduler sets no timers for that.
   */
  run(feeds: Tensors, fetches: readonly string[], call: Call, ticket?: Ticket): Promise<RunOutcome>;
  load(): LoadReport;
  /** Refuses new work, finishes what was accepted, and releases the instances. Idempotent. */
  drain(): Promise<void>;
}

/** Loads all instances; when one fails, those that were loaded are released and the failure is thrown. */
export async function openScheduler(parts: SchedulerParts): Promise<Scheduler> {
  const all = parts.opens.map((open) => new Instance(open, parts.clock));
  const opened = await Promise.allSettled(all.map((one) => one.open()));
  const failure = opened.find((one) => one.status === "rejected");
  if (failure) {
    await Promise.all(all.map((one) => one.release()));
    throw LongshoreError.from(failure.reason, "execute", `loading ${parts.name}`);
  }
  return new GraphScheduler(parts, all);
}

class GraphScheduler implements Scheduler {
  readonly name: string;
  readonly width: number;
  readonly #parts: SchedulerParts;
  readonly #instances: readonly Instance[];
  readonly #queue: DeadlineQueue<Waiting> = deadlineQueue();
  readonly #times: RunTimes = runTimes();
  readonly #desk: TicketDesk;
  #order = 0;
  #running = 0;
  #draining = false;
  #drained: Promise<void> | undefined;
  #whenQuiet: (() => void) | undefined;
  /** Armed while a request waits for company. */
  #company: Disposable | undefined;
  /** Learned: an output does not follow the batch axis, so requests for this graph can never share a run. */
  #unjoinable = false;

  constructor(parts: SchedulerParts, instances: readonly Instance[]) {
    this.#parts = parts;
    this.#instances = instances;
    this.name = parts.name;
    this.width = instances.length * Math.max(1, Math.min(8, parts.batching.maxBatchSize));
    this.#desk = ticketDesk(parts.name, parts.maxQueued + instances.length, () => this.#checkQuiet());
  }

  get instances(): number {
    return this.#instances.length;
  }

  admit(rows: number, deadlineMs: number): Ticket {
    this.#refuseWhenDraining();
    return this.#desk.grant(rows, deadlineMs, this.#times.rowMs() ?? 1);
  }

  expected(rows: number, deadlineMs: number): ReturnType<Scheduler["expected"]> {
    const nowMs = this.#parts.clock.nowMs();
    const rowMs = this.#times.rowMs() ?? 0;
    const ahead = [...this.#queue.items, ...this.#desk.open].flatMap((work) =>
      work.deadlineMs <= deadlineMs && work.rows > 0 ? [work.rows * rowMs] : [],
    );
    const free = this.#instances.map((one) => one.remainingMs(nowMs));
    return { waitMs: expectedWaitMs(free, ahead), runMs: this.#times.runMs(rows) };
  }

  async run(feeds: Tensors, fetches: readonly string[], call: Call, ticket?: Ticket): Promise<RunOutcome> {
    const { clock, batching } = this.#parts;
    if (!ticket) this.#refuseWhenDraining();
    checkCall(call, clock, "queue");
    // Without batching a request is one run, whatever its first axis means.
    const rows = batching.maxBatchSize > 1 ? Math.max(1, rowsOf(feeds) ?? 1) : 1;
    ticket?.expect(ticket.rows - rows);
    const joins = batching.maxBatchSize > 1 && !this.#unjoinable;
    return outcomeOf(
      {
        deadlineMs: call.deadlineMs,
        order: this.#order++,
        rows,
        batchKey: joins ? batchKey(feeds, fetches, call.tenant) : undefined,
        enqueuedMs: clock.nowMs(),
        feeds,
        fetches,
        call,
      },
      (item) => {
        this.#queue.push(item);
        this.#pump();
      },
      (gone) => {
        if (!this.#queue.remove(gone)) gone.left?.();
        this.#pump();
      },
    );
  }

  load(): LoadReport {
    const busy = this.#instances.filter(({ state }) => state === "busy").length;
    return {
      atMs: this.#parts.clock.nowMs(),
      cpuRatio: busy / this.#instances.length,
      inFlight: this.#queue.items.length + this.#running,
      queueMs: this.expected(1, Infinity).waitMs,
    };
  }

  drain(): Promise<void> {
    this.#draining = true;
    this.#drained ??= this.#finish();
    return this.#drained;
  }

  async #finish(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#whenQuiet = resolve;
      this.#pump();
    });
    await Promise.all(this.#instances.map((one) => one.release()));
  }

  #refuseWhenDraining(): void {
    if (this.#draining)
      throw new LongshoreError("shutting-down", "admission", `${this.name} is being unloaded`);
  }

  #checkQuiet(): void {
    if (this.#running === 0 && this.#queue.items.length === 0 && this.#desk.open.size === 0)
      this.#whenQuiet?.();
  }

  /** Gives work to idle instances for as long as there is both. Called whenever either may have changed. */
  #pump(): void {
    const { clock, batching } = this.#parts;
    this.#company?.[Symbol.dispose]();
    this.#company = undefined;
    for (let head = this.#queue.items[0]; head; head = this.#queue.items[0]) {
      const nowMs = clock.nowMs();
      const problem = this.#hopeless(head, nowMs);
      if (problem) {
        this.#queue.remove(head);
        head.reject(problem);
        continue;
      }
      const idle = this.#instances.find(({ state }) => state === "idle");
      if (!idle) {
        this.#reopen();
        break;
      }
      const formed = formBatch(this.#queue.items, batching, this.#times, nowMs);
      if (formed.kind === "wait") {
        this.#company = clock.timer(formed.untilMs - nowMs, () => this.#pump());
        break;
      }
      for (const member of formed.members) this.#queue.remove(member);
      void this.#start(idle, formed.members, head);
    }
    this.#checkQuiet();
  }

  #hopeless({ deadlineMs, rows }: Waiting, nowMs: number): LongshoreError | undefined {
    if (nowMs > deadlineMs) {
      return new LongshoreError(
        "deadline-exceeded",
        "queue",
        `the deadline passed while waiting for ${this.name}`,
      );
    }
    const fastestMs = this.#times.fastestMs(rows);
    if (fastestMs === undefined || nowMs + fastestMs <= deadlineMs) return undefined;
    return new LongshoreError(
      "evicted",
      "queue",
      `${this.name}: ${Math.ceil(deadlineMs - nowMs)} ms are left and the fastest run took ${Math.ceil(fastestMs)} ms`,
    );
  }

  async #start(on: Instance, members: readonly Waiting[], first: Waiting): Promise<void> {
    const { clock, observer } = this.#parts;
    const rows = members.reduce((sum, member) => sum + member.rows, 0);
    const startedMs = clock.nowMs();
    const joined = joinedCall(members, first);
    const batch = { model: this.name, size: rows, callIds: members.map(({ call }) => call.id) };
    this.#running++;
    observer.record({ kind: "batch-started", atMs: startedMs, ...batch });
    const { result, ended } = on.run(this.#times.runMs(rows) ?? 0, (session) => {
      const feeds = members.length === 1 ? first.feeds : joinFeeds(members.map((member) => member.feeds));
      return session.run(feeds, first.fetches, joined.call);
    });
    let completed = true;
    try {
      this.#answer(members, await result, clock.nowMs() - startedMs, startedMs);
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "execute", `running ${this.name}`);
      // A run that nobody waits for any more ends as it would have: its time still teaches.
      completed = error.reason === "cancelled" || error.reason === "deadline-exceeded";
      if (members.length > 1 && error.reason !== "runtime-crashed") this.#runAlone(members);
      else for (const member of members) member.reject(error);
    }
    const tookMs = await ended;
    joined[Symbol.dispose]();
    this.#running--;
    if (completed) {
      this.#times.seen(rows, tookMs);
      observer.record({ kind: "batch-run", atMs: clock.nowMs(), ...batch, tookMs });
    }
    this.#pump();
  }

  #answer(members: readonly Waiting[], outputs: Tensors, runMs: number, startedMs: number): void {
    const rows = members.map((member) => member.rows);
    const total = rows.reduce((sum, count) => sum + count, 0);
    const parts = members.length === 1 ? [outputs] : splitOutputs(outputs, rows);
    if (!parts) {
      this.#unjoinable = true;
      this.#runAlone([...members, ...this.#queue.items]);
      return;
    }
    for (const [index, member] of members.entries()) {
      member.resolve({
        outputs: parts[index] ?? new Map(),
        queueMs: startedMs - member.enqueuedMs,
        runMs,
        busyMs: (runMs * member.rows) / total,
      });
    }
  }

  /** One bad request must not fail its company: each member runs once more, alone. */
  #runAlone(members: readonly Waiting[]): void {
    for (const member of members) {
      member.batchKey = undefined;
      this.#queue.remove(member);
      if (!member.settled) this.#queue.push(member);
    }
  }

  /** Crashed instances are loaded again when there is work; when none can be, the work fails with the reason. */
  #reopen(): void {
    for (const one of this.#instances) {
      if (one.state !== "dead") continue;
      one.open().then(
        () => this.#pump(),
        () => {
          if (this.#instances.some(({ state }) => state !== "dead")) return;
          const problem =
            one.problem ?? new LongshoreError("runtime-crashed", "queue", `${this.name} cannot be loaded`);
          for (let item = this.#queue.items[0]; item; item = this.#queue.items[0]) {
            this.#queue.remove(item);
            item.reject(problem);
          }
          this.#checkQuiet();
        },
      );
    }
  }
}
