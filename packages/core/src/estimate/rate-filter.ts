/**
 * The Bayes filter of one direction of one link: weights over (mode, rate), moved on by the model's transitions and
 * multiplied by the likelihood of what was acknowledged while the link was known to be busy.
 */
import { estimateSize } from "./estimate.ts";
import { type LinkModel, normalise } from "./rate-model.ts";

/** Packets in front of ours, the same for all rates, or one figure for each rate. */
export type PacketsAhead = Float64Array | undefined;

/** A belief about a rate, and what follows for completion times. */
export interface RateFilter {
  /** Goes up with every change of the belief. */
  readonly version: number;
  /** Lets `ticks` ticks pass without evidence. */
  pass(ticks: number): void;
  /**
   * Within the last `busyMs` of known work, `packets` were acknowledged. `ahead` are packets of which no
   * acknowledgement will come, by rate; they pass first and are used up in place. `dispersion` is the variance of packet
   * counts over their mean: what comes in bursts says less.
   */
  observe(busyMs: number, packets: number, dispersion: number, ahead: PacketsAhead): void;
  /** 16 quantiles of the time for `packets` packets and what lies `ahead`, in milliseconds. A fresh array. */
  completionMs(packets: number, dispersion: number, ahead: PacketsAhead): Float64Array;
  /** Chance that the link is on, given each rate; used to let unseen packets drain. */
  onChance(rate: number): number;
  /** Believed packets per millisecond while on: the median. */
  medianPacketsPerMs(): number;
}

/** Log-likelihood floor: nothing seen is ever quite impossible. */
const floor = -30;
/** Log-likelihood of a packet that passed in an outage mode: it can only have been at its edge. */
const passedInOutage = -6;
/** States with less weight than this pass none of it on; the heavy ones give them new weight in every step. */
const forgotten = 1e-7;
/** States with less weight than this do not change a decision. */
const negligible = 5e-4;

/** A filter that begins at the model's prior. */
export function rateFilter(model: LinkModel): RateFilter {
  const { rates, modes, table } = model;
  let weights: Float64Array = new Float64Array(modes * rates);
  let moved: Float64Array = new Float64Array(modes * rates);
  for (let mode = 0; mode < modes; mode++) {
    for (let rate = 0; rate < rates; rate++) {
      weights[mode * rates + rate] = (model.modePrior[mode] ?? 0) * (model.home[rate] ?? 0);
    }
  }
  let version = 0;
  const logLikelihood = new Float64Array(modes * rates);
  const rowStep = Math.log((model.packetsPerMs[1] ?? 1) / (model.packetsPerMs[0] ?? 1)) / table.rowsPerRate;
  const rowOffset = -Math.log((model.packetsPerMs[0] ?? 1) * table.shortestMs) / rowStep;
  const cells = table.times.length;
  const density = new Float64Array(cells);

  function applyPower(power: number): void {
    const rateMatrix = model.ratePowers[power];
    const modeMatrix = model.modePowers[power];
    if (!rateMatrix || !modeMatrix) return;
    moved.fill(0);
    for (let mode = 0; mode < modes; mode++) {
      const base = mode * rates;
      for (let from = 0; from < rates; from++) {
        const weight = weights[base + from] ?? 0;
        if (weight < forgotten) continue;
        const row = from * rates;
        for (let to = 0; to < rates; to++) {
          moved[base + to] = (moved[base + to] ?? 0) + weight * (rateMatrix[row + to] ?? 0);
        }
      }
    }
    for (let rate = 0; rate < rates; rate++) {
      for (let to = 0; to < modes; to++) {
        let total = 0;
        for (let from = 0; from < modes; from++) {
          total += (moved[from * rates + rate] ?? 0) * (modeMatrix[from * modes + to] ?? 0);
        }
        weights[to * rates + rate] = total;
      }
    }
  }

  function onChance(rate: number): number {
    let total = 0;
    for (let mode = 0; mode < modes; mode++) total += weights[mode * rates + rate] ?? 0;
    return total > 0 ? (weights[rate] ?? 0) / total : (model.modePrior[0] ?? 0);
  }

  /** Adds weight times the row of the table for one nominal duration, between two rows linearly. */
  function addRow(weight: number, mode: number, row: number): void {
    const clamped = Math.min(table.rows - 1.001, Math.max(0, row));
    const low = Math.floor(clamped);
    const high = clamped - low;
    const first = (mode * table.rows + low) * cells;
    const lowWeight = weight * (1 - high);
    const highWeight = weight * high;
    const { cumulative } = table;
    for (let cell = 0; cell < cells; cell++) {
      density[cell] =
        (density[cell] ?? 0) +
        lowWeight * (cumulative[first + cell] ?? 0) +
        highWeight * (cumulative[first + cells + cell] ?? 0);
    }
  }

  function quantiles(): Float64Array {
    const values = new Float64Array(estimateSize);
    const total = density[cells - 1] ?? 1;
    let cell = 0;
    for (let index = 0; index < estimateSize; index++) {
      const wanted = ((index + 0.5) / estimateSize) * total;
      while (cell < cells - 1 && (density[cell] ?? 0) < wanted) cell++;
      const highTime = table.times[cell] ?? 0;
      const lowTime = cell > 0 ? (table.times[cell - 1] ?? 0) : 0;
      const low = cell > 0 ? (density[cell - 1] ?? 0) : 0;
      const high = density[cell] ?? 0;
      values[index] =
        high > low ? lowTime + ((highTime - lowTime) * (wanted - low)) / (high - low) : highTime;
    }
    return values;
  }

  return {
    get version() {
      return version;
    },
    pass(ticks) {
      let left = Math.min(ticks, 2 ** model.ratePowers.length - 1);
      if (left <= 0) return;
      for (let power = 0; left > 0; power++, left = Math.floor(left / 2)) {
        if (left % 2 === 1) applyPower(power);
      }
      version += 1;
    },
    observe(busyMs, packets, dispersion, ahead) {
      if (busyMs <= 0 && packets <= 0) return;
      let best = -Infinity;
      for (let rate = 0; rate < rates; rate++) {
        const expected = (model.packetsPerMs[rate] ?? 0) * Math.max(busyMs, 0.1);
        const hidden = ahead?.[rate] ?? 0;
        // Packets ahead pass first: until they are through, silence is what this rate predicts.
        const seen = packets > 0 ? packets + hidden : 0;
        const visible = packets > 0 ? expected : Math.max(0, expected - hidden);
        const on =
          seen > 0
            ? (seen * Math.log(expected / seen) + seen - expected) / dispersion
            : -visible / dispersion;
        logLikelihood[rate] = Math.max(floor, on);
        for (let mode = 1; mode < modes; mode++) {
          logLikelihood[mode * rates + rate] = packets > 0 ? passedInOutage + Math.max(floor, on) : 0;
        }
        if (ahead) ahead[rate] = packets > 0 ? 0 : Math.max(0, hidden - expected * onChance(rate));
      }
      for (const value of logLikelihood) best = Math.max(best, value);
      for (let state = 0; state < weights.length; state++) {
        weights[state] = (weights[state] ?? 0) * Math.exp((logLikelihood[state] ?? 0) - best);
      }
      normalise(weights);
      version += 1;
    },
    completionMs(packets, dispersion, ahead) {
      density.fill(0);
      // The count of few packets is itself uncertain: two points of a normal spread of the log-rate (Gauss-Hermite).
      const spread = Math.min(1, Math.sqrt(dispersion / Math.max(1, packets)));
      const side = spread > 0.12 ? spread / rowStep : 0;
      for (let mode = 0; mode < modes; mode++) {
        for (let rate = 0; rate < rates; rate++) {
          const weight = weights[mode * rates + rate] ?? 0;
          if (weight < negligible) continue;
          const work = Math.max(1e-3, packets + (ahead?.[rate] ?? 0));
          const row = Math.log(work) / rowStep + rowOffset - rate * table.rowsPerRate;
          if (side === 0) addRow(weight, mode, row);
          else {
            addRow(weight / 2, mode, row - side);
            addRow(weight / 2, mode, row + side);
          }
        }
      }
      return quantiles();
    },
    onChance,
    medianPacketsPerMs() {
      let left = 0.5;
      for (let rate = 0; rate < rates; rate++) {
        for (let mode = 0; mode < modes; mode++) left -= weights[mode * rates + rate] ?? 0;
        if (left <= 0) return model.packetsPerMs[rate] ?? 0;
      }
      return model.packetsPerMs[rates - 1] ?? 0;
    },
  };
}
