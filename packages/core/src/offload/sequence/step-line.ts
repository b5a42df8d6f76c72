import {
  type Call,
  type Clock,
  type EndpointId,
  LongshoreError,
  untilEnded,
} from "../../words/base/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import type { HeldStep } from "./held-sequences.ts";

/** A step of a sequence, as it is asked for. */
export interface SequenceStep {
  readonly id: string;
  readonly step: number;
  readonly end: boolean;
  /** Where the state after the previous step is, when some endpoint has it. */
  readonly resident: EndpointId | undefined;
  /** A copy of that state. */
  readonly state: Tensors | undefined;
  /** What came with the copy when it was exported. */
  readonly seal?: string | undefined;
  /** Whether the answer should bring the state, even if it will not be needed for moving. */
  readonly wantState: boolean;
}

/** A step that was answered. */
export interface StepAnswer<R> extends Omit<HeldStep, "step"> {
  readonly result: R;
}

/**
 * Steps of one sequence, one after another in the order of the calls. After each step it is known where the state is, and
 * where the endpoint lets it travel there is a copy of it here: the next step can go anywhere, also when that endpoint is gone. A step
 * that fails may be asked for again.
 */
export class StepLine {
  readonly id: string;
  readonly #clock: Clock;
  /** Whether the answers should bring the state. */
  readonly #wantState: () => boolean;
  #step = 0;
  #before: Omit<HeldStep, "step"> | undefined;
  #last: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(id: string, clock: Clock, wantState: () => boolean) {
    this.id = id;
    this.#clock = clock;
    this.#wantState = wantState;
  }

  /**
   * Does one step when those before it are over, for which it waits until its call ends or its deadline passes. Throws
   * `sequence-unknown` after the end, else what `run` throws.
   */
  next<R>(
    end: boolean,
    until: Pick<Call, "abort" | "deadlineMs">,
    run: (step: SequenceStep) => Promise<StepAnswer<R>>,
  ): Promise<R> {
    const before = this.#last;
    const turn = untilEnded(before, until, this.#clock, "admission").then(() => this.#next(end, run));
    // Also when this one gives up while it waits, those behind it wait for those before it.
    this.#last = Promise.allSettled([before, turn]).then(() => undefined);
    return turn;
  }

  /** No step may follow; resolves when the last one is over. */
  end(): Promise<void> {
    this.#ended = true;
    return this.#last;
  }

  async #next<R>(end: boolean, run: (step: SequenceStep) => Promise<StepAnswer<R>>): Promise<R> {
    if (this.#ended) {
      throw new LongshoreError("sequence-unknown", "resolve", `sequence ${this.id} was ended`);
    }
    const { result, ...after } = await run({
      id: this.id,
      step: this.#step,
      end,
      resident: this.#before?.endpoint,
      state: this.#before?.state,
      seal: this.#before?.seal,
      wantState: this.#wantState() && !end,
    });
    this.#before = after;
    this.#step++;
    this.#ended ||= end;
    return result;
  }
}
