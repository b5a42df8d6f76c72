import {
  type Clock,
  type EndpointId,
  housekeepingCall,
  LongshoreError,
  untilAborted,
  withTime,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { type ModelReport, replaced } from "../models/index.ts";
import type { ModelInUse } from "./model-in-use.ts";

/** The first poll to an endpoint is repeated after this share of the wait for its answer. */
const secondRatio = 1 / 3;

/** Polls of endpoints that are under way, and the timers of those that are due. Disposing ends both. */
export class Polls implements Disposable {
  readonly #clock: Clock;
  readonly #self: EndpointId;
  readonly #asking = new Set<AbortController>();
  readonly #timers = new Set<Disposable>();
  #closed = false;

  constructor(clock: Clock, self: EndpointId) {
    this.#clock = clock;
    this.#self = self;
  }

  get closed(): boolean {
    return this.#closed;
  }

  later(delayMs: number, fire: () => void): Disposable {
    const timer = this.#clock.timer(delayMs, () => {
      this.#timers.delete(timer);
      fire();
    });
    this.#timers.add(timer);
    return timer;
  }

  /** The answer of one endpoint. Rejects if it does not answer within `patienceMs`. */
  async report(
    endpoint: Endpoint,
    entry: ModelInUse,
    known: ModelReport | undefined,
    path: readonly EndpointId[],
    patienceMs: number,
  ): Promise<ModelReport> {
    const { id } = endpoint.info;
    const control = new AbortController();
    const base = { ...housekeepingCall(`ask-${id}`, control.signal), path: [...path, this.#self] };
    const late = (): LongshoreError =>
      new LongshoreError("no-answer", "resolve", `${id} did not say what it offers`);
    using own = withTime(base, this.#clock, patienceMs, late);
    const { call } = own;
    this.#asking.add(control);
    try {
      const { model, version } = entry;
      const report = async (): Promise<ModelReport> => {
        const query = version === undefined ? { model } : { model, version };
        // An endpoint without offers shows a new version only in its description.
        let knowledge = endpoint.info.offers ? known?.knowledge : undefined;
        let offers = knowledge ? await endpoint.offers(query, call) : [];
        // The offers do not match the description: the content was replaced meanwhile.
        if (!knowledge || replaced(knowledge, offers)) {
          knowledge = await endpoint.describe(model, version, call);
          offers = knowledge ? await endpoint.offers(query, call) : [];
        }
        const missing = endpoint.capabilities.missing?.(query, call) ?? [];
        return { endpoint, knowledge, offers, ...(missing.length > 0 ? { missing } : {}) };
      };
      // An endpoint that is known already has time. At a first contact a lost poll costs the whole wait.
      const answer = known ? report() : this.#polledTwice(report, secondRatio * patienceMs);
      return await untilAborted(answer, call.abort, "resolve");
    } finally {
      this.#asking.delete(control);
    }
  }

  /** Asks once more beside a poll that was not answered in time. The first answer counts; a failure counts if nothing is under way. */
  #polledTwice(report: () => Promise<ModelReport>, afterMs: number): Promise<ModelReport> {
    return new Promise((resolve, reject) => {
      let underWay = 1;
      const failed = (thrown: unknown): void => {
        if (--underWay === 0) reject(thrown);
      };
      const timer = this.later(afterMs, () => {
        underWay++;
        report().then(resolve, failed);
      });
      const answered = (): void => {
        timer[Symbol.dispose]();
        this.#timers.delete(timer);
      };
      report().finally(answered).then(resolve, failed);
    });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    const error = new LongshoreError("shutting-down", "resolve", "the offloader was closed");
    for (const control of this.#asking) control.abort(error);
    for (const timer of this.#timers) timer[Symbol.dispose]();
    this.#timers.clear();
  }
}
