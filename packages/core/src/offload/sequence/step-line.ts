import {
  type Call,
  type Clock,
  type EndpointId,
  LongshoreError,
  untilEnded,
} from "../../words/base/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import type { HeldStep } from "./held-sequences.ts";

/** One requested step of a sequence. */
export interface SequenceStep {
  readonly id: string;
  readonly step: number;
  readonly end: boolean;
  /** Endpoint that holds the state after the previous step, if any. */
  readonly resident: EndpointId | undefined;
  /** A copy of that state. */
  readonly state: Tensors | undefined;
  /** Seal of the copy, from its export. */
  readonly seal?: string | undefined;
  /** Whether the answer should bring the state even if no move needs it. */
  readonly wantState: boolean;
}

/** A step that was answered. */
export interface StepAnswer<R> extends Omit<HeldStep, "step"> {
  readonly result: R;
}

/**
 * Steps of one sequence, one after another in the order of the calls. After each step the line knows the endpoint of the state and holds a
 * copy if the endpoint exports it. So the next step can run anywhere, even after that endpoint is gone. A failed step may be requested
 * again.
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
   * Runs one step after all earlier ones. It waits for them until its call ends or its deadline passes. Throws `sequence-unknown` after the
   * end, otherwise what `run` throws.
   */
  next<R>(
    end: boolean,
    until: Pick<Call, "abort" | "deadlineMs">,
    run: (step: SequenceStep) => Promise<StepAnswer<R>>,
  ): Promise<R> {
    const before = this.#last;
    const turn = untilEnded(before, until, this.#clock, "admission").then(() => this.#next(end, run));
    // If this step gives up while it waits, the steps behind it still wait for those before it.
    this.#last = Promise.allSettled([before, turn]).then(() => undefined);
    return turn;
  }

  /** Refuses further steps. Resolves when the last one is over. */
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
