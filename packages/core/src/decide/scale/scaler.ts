import type { Clock } from "../../words/base/index.ts";
import { type ArrivalForecast, arrivalForecast, windowMs } from "./forecast.ts";
import { neededEndpoints, type ScalePrediction, type ScaleInputs } from "./needed.ts";
import type { ScaleObjective } from "./objective.ts";
import { startTimes } from "./start-times.ts";

/** Observations of a model since the last look. */
export interface DemandSample {
  /** Requests that arrived, refused and held ones included. */
  readonly arrivals: number;
  /** Times of requests that were answered lately, in milliseconds, equally likely values; empty while none is known. */
  readonly runMs: Float64Array;
  readonly aloneMs: Float64Array;
  /** Milliseconds that one request occupies a whole endpoint, in the mean; 0 while it is not known. */
  readonly occupiedMs: number;
}

/** Parts of a scaler. */
export interface ScalerParts {
  readonly clock: Clock;
  readonly objective: ScaleObjective;
  /** Time from the decision to a ready endpoint, until starts were seen, in milliseconds. */
  readonly startMs: number;
  /** Without a request for this long, no endpoint is needed, in milliseconds; Infinity: one is always needed. */
  readonly idleMs: number;
  /** The greatest number of endpoints that is requested. */
  readonly most: number;
  /** Requests that an endpoint runs at a time. Default: learned, as run time over occupied time. */
  readonly slots?: number;
}

/** The decision for one model, or for all together. */
export interface ScaleDecision {
  /** The number to serve to an autoscaler. Undefined until requests were counted for the length of a forecast's window. */
  readonly needed: number | undefined;
  /**
   * Whether requests came lately; false: the fleet may be empty. Undefined while neither is known: no request was seen, and the idle time has
   * not passed since the first look.
   */
  readonly active: boolean | undefined;
  /** Whether the objective is kept with `needed`, as far as can be predicted. */
  readonly met: boolean;
  readonly predicted: ScalePrediction;
  /** Requests a second now, and the highest rate that is believed when an endpoint that starts now is ready. */
  readonly rate: number;
  readonly comingRate: number;
}

/** The decisions for one objective. */
export interface ScaleDecisions {
  /** The decision for one model that has endpoints of its own; undefined for a model that no sample named. */
  model(name: string): ScaleDecision | undefined;
  /** The decision for a fleet that serves all models. */
  all(): ScaleDecision;
}

/** Says how many endpoints are needed. Pure on its clock: the same samples give the same numbers. */
export interface Scaler extends ScaleDecisions {
  /**
   * Takes in what was seen of each model, and how many endpoints are ready now, if that is known. `isWhole`: every source of samples has
   * answered. Otherwise no model is found idle.
   */
  observe(samples: ReadonlyMap<string, DemandSample>, ready: number | undefined, isWhole: boolean): void;
  readonly models: readonly string[];
  /** The decisions for another objective, from all that this scaler has seen and will see. */
  withObjective(objective: ScaleObjective): ScaleDecisions;
  /** Time of a start that is planned for, in milliseconds. */
  readonly startMs: number;
}

/** Models that are remembered; requests of further ones count for the fleet only. */
const mostModels = 256;
/** A falling number is followed after the time of this many starts: an endpoint that is given up takes one start to come back. */
const holdStarts = 1;
const leastHoldMs = 30_000;
/** Before the first answer, requests are taken to occupy an endpoint for this part of the time that the objective allows. */
const assumedRatio = 0.5;

const nothing: ScalePrediction = { lateRatio: 0, missRatio: 0 };

/** The decision before the first look. */
export const unknownDecision: ScaleDecision = {
  needed: undefined,
  active: undefined,
  met: true,
  predicted: nothing,
  rate: 0,
  comingRate: 0,
};

/** The largest number of a while. */
class Held {
  /** Recent numbers, oldest first. One that is not larger than a later one is dropped: it is never the largest again. */
  readonly #numbers: { readonly atMs: number; readonly needed: number }[] = [];

  /** Notes the number that is needed now. Returns the largest one of the last `holdMs`. */
  most(needed: number, holdMs: number, nowMs: number): number {
    const held = this.#numbers;
    while (held.length > 0 && (held.at(-1)?.needed ?? 0) <= needed) held.pop();
    held.push({ atMs: nowMs, needed });
    while ((held[0]?.atMs ?? nowMs) < nowMs - holdMs) held.shift();
    return held[0]?.needed ?? needed;
  }
}

/** Arrivals of one model, or of the fleet. */
class Demand {
  readonly forecast: ArrivalForecast;
  sample: DemandSample | undefined;
  /** Undefined until a request or the idle time was seen. */
  active: boolean | undefined;
  #quietFromMs: number;

  /** @param sinceMs Start of the time in which arrivals would have been seen. */
  constructor(aheadMs: () => number, sinceMs: number) {
    this.forecast = arrivalForecast(aheadMs);
    this.#quietFromMs = sinceMs;
  }

  seen(sample: DemandSample, nowMs: number, idleMs: number, isWhole: boolean): void {
    this.forecast.seen(sample.arrivals, nowMs);
    if (sample.arrivals > 0) {
      this.#quietFromMs = nowMs;
      this.active = true;
    } else if (isWhole && nowMs - this.#quietFromMs >= idleMs) {
      // Counters are sums: what came while a source was silent would have shown by now.
      this.active = false;
    }
    this.sample = {
      ...sample,
      ...(sample.runMs.length > 0 || !this.sample
        ? {}
        : { runMs: this.sample.runMs, aloneMs: this.sample.aloneMs, occupiedMs: this.sample.occupiedMs }),
    };
  }
}

/** Makes a scaler that has seen nothing. */
export function createScaler(parts: ScalerParts): Scaler {
  const { clock, idleMs, most } = parts;
  const starts = startTimes(parts.startMs);
  const models = new Map<string, Demand>();
  let fleet: Demand | undefined;
  let firstMs = Infinity;
  let looks = 0;

  const questionOf = ({ forecast, sample }: Demand, assumed: Float64Array, nowMs: number): ScaleInputs => {
    const known = sample && sample.runMs.length > 0;
    const runMs = known ? sample.runMs : assumed;
    const mean = runMs.reduce((sum, one) => sum + one, 0) / runMs.length;
    const learned = known && sample.occupiedMs > 0 ? mean / sample.occupiedMs : 1;
    return {
      rates: forecast.rates(nowMs),
      dispersion: forecast.dispersion,
      runMs,
      aloneMs: known && sample.aloneMs.length > 0 ? sample.aloneMs : runMs,
      slots: parts.slots ?? Math.max(1, learned),
      most,
    };
  };

  const view = (objective: ScaleObjective): ScaleDecisions => {
    const boundMs = objective.latency?.withinMs ?? objective.misses?.deadlineMs ?? 1000;
    const assumed = Float64Array.of(assumedRatio * boundMs);
    const decided = new Map<Demand, ScaleDecision>();
    const held = new Map<Demand, Held>();
    let decidedAt = looks;

    const decide = (demand: Demand, nowMs: number): ScaleDecision => {
      // A count of less than a window says less than what came.
      const isCounted = nowMs - firstMs >= windowMs;
      const active = demand.active ?? (isCounted && idleMs === Infinity ? true : undefined);
      const holdMs = Math.max(leastHoldMs, holdStarts * starts.ms);
      const own = held.get(demand) ?? new Held();
      held.set(demand, own);
      const rate = demand.forecast.now;
      if (active === false) {
        own.most(0, 0, nowMs);
        return { active, rate, needed: 0, met: true, predicted: nothing, comingRate: 0 };
      }
      if (active === undefined || !isCounted) return { ...unknownDecision, active, rate };
      const inputs = questionOf(demand, assumed, nowMs);
      const { endpoints, met, predicted } = neededEndpoints(inputs, objective);
      const needed = own.most(Math.max(1, endpoints), holdMs, nowMs);
      return { active, rate, needed, met, predicted, comingRate: inputs.rates.at(-1) ?? 0 };
    };

    const now = (demand: Demand): ScaleDecision => {
      if (decidedAt !== looks) decided.clear();
      decidedAt = looks;
      const found = decided.get(demand) ?? decide(demand, clock.nowMs());
      decided.set(demand, found);
      return found;
    };

    return {
      model(name) {
        const demand = models.get(name);
        return demand && now(demand);
      },
      all: () => (fleet ? now(fleet) : unknownDecision),
    };
  };

  const own = view(parts.objective);
  return {
    ...own,
    observe(samples, ready, isWhole) {
      const nowMs = clock.nowMs();
      looks++;
      firstMs = Math.min(firstMs, nowMs);
      for (const [name, sample] of samples) {
        const known =
          models.get(name) ?? (models.size < mostModels ? new Demand(() => starts.ms, firstMs) : undefined);
        if (!known) continue;
        models.set(name, known);
        known.seen(sample, nowMs, idleMs, isWhole);
      }
      fleet ??= new Demand(() => starts.ms, firstMs);
      fleet.seen(together([...samples.values()]), nowMs, idleMs, isWhole);
      const { needed } = own.all();
      if (ready !== undefined && needed !== undefined) starts.seen(needed, ready, nowMs);
    },
    get models() {
      return [...models.keys()];
    },
    withObjective: view,
    get startMs() {
      return starts.ms;
    },
  };
}

/** Times that the mixture of all models keeps. */
const mixed = 128;

/** The requests of several models as those of one. A model counts by its arrivals. */
function together(samples: readonly DemandSample[]): DemandSample {
  const [only] = samples;
  if (only && samples.length === 1) return only;
  const arrivals = samples.reduce((sum, one) => sum + one.arrivals, 0);
  const known = samples.filter(({ runMs }) => runMs.length > 0);
  const weight = known.reduce((sum, one) => sum + Math.max(1, one.arrivals), 0);
  const mix = (of: (one: DemandSample) => Float64Array): Float64Array => {
    const values: number[] = [];
    for (const one of known) {
      const own = of(one);
      const count = Math.max(1, Math.round((mixed * Math.max(1, one.arrivals)) / weight));
      for (let at = 0; at < count; at++) values.push(own[Math.floor(((at + 0.5) / count) * own.length)] ?? 0);
    }
    return Float64Array.from(values).sort();
  };
  const occupied = known.reduce((sum, one) => sum + Math.max(1, one.arrivals) * one.occupiedMs, 0);
  return {
    arrivals,
    runMs: mix(({ runMs }) => runMs),
    aloneMs: mix(({ aloneMs }) => aloneMs),
    occupiedMs: weight > 0 ? occupied / weight : 0,
  };
}
