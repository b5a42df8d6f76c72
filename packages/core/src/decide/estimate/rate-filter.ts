/**
 * The Bayes filter of one direction of one link: weights over (regime, mode, rate). The model's transitions move the rate, and the link's
 * own transitions move the mode. Each observation multiplies the weights by the likelihood of the acknowledgements during known busy time.
 *
 * The filter learns three things of each link besides its state. The **home** is the set of rates the link has shown. With only a prior,
 * the filter would believe a link that stalled for a second to be slow for minutes. The **regime** is how soon the rate returns home: a
 * cellular link returns within a second or two, while a line that changed its speed keeps the new one. Regimes are weighted by how well
 * each predicts the observations. The third is the **law of its outages** (`outage-law.ts`).
 */
import { quantilesOfTimes } from "../../words/estimate/index.ts";
import { outageLaw } from "./outage-law.ts";
import { type LinkModel, normalise, priorOf, type RatePrior, tickRates } from "./rate-model.ts";

/** Packets in front of ours: one number for all rates, or one number for each rate. */
export type PacketsAhead = Float64Array | undefined;

/** A belief about a rate, and the completion times that follow from it. */
export interface RateFilter {
  /** Increases with every change of the belief. */
  readonly version: number;
  /** Lets `ticks` ticks pass without evidence. */
  pass(ticks: number): void;
  /**
   * Records `packets` acknowledged within the last `busyMs` of known work. `ahead` holds packets, by rate, that are never acknowledged.
   * They pass first and are used up in place. `dispersion` is the variance of packet counts over their mean: bursty counts carry less
   * evidence. `whole` marks the only observation of a body, during which no silence could be seen.
   */
  observe(busyMs: number, packets: number, dispersion: number, ahead: PacketsAhead, whole?: boolean): void;
  /**
   * Records a transfer for which each rate, while on, has this chance of being fast enough. The observation bounds the time from above
   * only, so rates that could have carried more stay as likely as before.
   */
  within(chances: Float64Array): void;
  /** Records the answer of a small exchange: an outage is over, at the rate believed behind it. Its end time stays unknown. */
  answered(): void;
  /**
   * 16 quantiles of the time for `packets` packets and those `ahead`, in milliseconds, followed by those at `tailRatios`. A fresh array.
   */
  completionMs(packets: number, dispersion: number, ahead: PacketsAhead): Float64Array;
  /** Chance that the link is on, given each rate; used to let cancelled packets drain. */
  onChance(rate: number): number;
  /** Quantile `ratio` of the packets per millisecond while on; 0.5 is the median. */
  packetsPerMs(ratio: number): number;
  /** Weights of the rates that this link has shown; undefined after too little evidence. */
  usual(): Float64Array | undefined;
  /** Forgets all evidence and starts again from a prior, by default the model's. */
  restart(first?: RatePrior): void;
}

/** How often a link changes its regime, per second. */
const regimeChangesPerSecond = 0.01;
/** Idle time after which half of the observations of a link are forgotten. */
const homeHalfLifeMs = 600_000;
/** Log-likelihood floor: no observation is impossible. */
const floor = -30;
/** Likelihood of a packet that passed in an outage mode, which is possible only at its edge. */
const passedInOutage = Math.exp(-6);
/** An observation predicted with this chance teaches nothing. */
const foretoldRatio = 0.9;
/** Up to this many ticks are computed one by one; more ticks use powers of two. */
const fewTicks = 24;
/** States with less weight than this pass none of it on. The heavy states give them new weight in every step. */
const forgotten = 1e-7;
/** States with less weight than this do not change a decision. */
const negligible = 5e-4;

/** Sizes for which a model keeps the times of unknown links. Sizes come in steps of 2 %, and tables read ten. */
const mostUnknownTimes = 256;

/** Minimum of sightings for a memory over a restart. */
const leastSightings = 8;

/** A filter that begins at a prior, by default the model's prior. */
export function rateFilter(model: LinkModel, first?: RatePrior): RateFilter {
  const { rates, modes, table } = model;
  const { priorSightings, rememberedSightings, resetsPerSecond, tickMs } = model.parameters;
  const states = modes * rates;
  const regimes = resetsPerSecond.length;
  /** Joint weights `[regime, mode, rate]`. */
  let weights: Float64Array = new Float64Array(regimes * states);
  let moved: Float64Array = new Float64Array(regimes * states);
  /** The link's home before it has shown its own rates. */
  let { home, lasting } = first ?? priorOf(model);
  let version = 0;
  /** Weights `[mode, rate]` over all regimes, as of `flatVersion`. */
  const flat = new Float64Array(states);
  let flatVersion = -1;
  /** Sightings of the rates this link has shown. With few sightings, the home is close to the prior. */
  const seen = new Float64Array(rates);
  let seenTotal = 0;
  const stayPerTick = resetsPerSecond.map((perSecond) => Math.exp((-perSecond * tickMs) / 1000));
  const keepPerTick = Math.exp((-regimeChangesPerSecond * tickMs) / 1000);
  const logOn = new Float64Array(rates);
  const cells = table.times.length;
  /** Weight that completes by the end of each cell of the table. */
  const density = new Float64Array(cells);
  /** The same for weight that waits for the end of an outage. */
  const waiting = new Float64Array(cells);
  /** Row of the table for each rate, of the transfer that is computed. */
  const rowOf = new Float64Array(rates);
  /** See `keptOf`; for the last mean length of each mode. */
  const keptShares: { readonly meanMs: number; readonly kept: Float64Array }[] = [];
  const usualRates = new Float64Array(rates);
  /** How long a rate lasts, and packets per millisecond at home, as of `meansVersion`. */
  let lastsMs = 0;
  let homePerMs = 0;
  let meansVersion = -1;
  let law = outageLaw(model);
  begin();

  function begin(): void {
    for (let at = 0; at < weights.length; at++) {
      const mode = Math.floor((at % states) / rates);
      weights[at] = ((model.modePrior[mode] ?? 0) * (home[at % rates] ?? 0)) / regimes;
    }
  }

  function multiplyRates(matrix: Float64Array): void {
    moved.fill(0);
    for (let base = 0; base < weights.length; base += rates) {
      for (let from = 0; from < rates; from++) {
        const weight = weights[base + from] ?? 0;
        if (weight < forgotten) continue;
        const row = from * rates;
        for (let to = 0; to < rates; to++) {
          moved[base + to] = (moved[base + to] ?? 0) + weight * (matrix[row + to] ?? 0);
        }
      }
    }
  }

  function swap(): void {
    [weights, moved] = [moved, weights];
  }

  function moveModes(matrix: Float64Array): void {
    moved.fill(0);
    for (let first = 0; first < weights.length; first += states) {
      for (let to = 0; to < modes; to++) {
        const there = first + to * rates;
        for (let from = 0; from < modes; from++) {
          const chance = matrix[from * modes + to] ?? 0;
          // An outage never turns into another within a tick.
          if (chance === 0) continue;
          const here = first + from * rates;
          for (let rate = 0; rate < rates; rate++)
            moved[there + rate] = (moved[there + rate] ?? 0) + (weights[here + rate] ?? 0) * chance;
        }
      }
    }
    swap();
  }

  /** Some of each mode's weight restarts from home, at the rate of each regime. Regimes change now and then. */
  function goHome(ticks: number): void {
    // A device may have moved after a long idle time.
    if (ticks > 1) forget(0.5 ** ((ticks * tickMs) / homeHalfLifeMs));
    const homeTotal = priorSightings + seenTotal;
    for (let rate = 0; rate < rates; rate++)
      usualRates[rate] = priorSightings * (home[rate] ?? 0) + (seen[rate] ?? 0);
    flat.fill(0);
    for (let regime = 0; regime < regimes; regime++) {
      const stay = (stayPerTick[regime] ?? 1) ** ticks;
      for (let mode = 0; mode < modes; mode++) {
        const base = regime * states + mode * rates;
        let total = 0;
        for (let at = base; at < base + rates; at++) total += weights[at] ?? 0;
        const share = ((1 - stay) * total) / homeTotal;
        for (let rate = 0; rate < rates; rate++) {
          const weight = stay * (weights[base + rate] ?? 0) + share * (usualRates[rate] ?? 0);
          weights[base + rate] = weight;
          const state = mode * rates + rate;
          flat[state] = (flat[state] ?? 0) + weight;
        }
      }
    }
    const keep = keepPerTick ** ticks;
    for (let first = 0; first < weights.length; first += states) {
      for (let state = 0; state < states; state++) {
        const share = ((1 - keep) * (flat[state] ?? 0)) / regimes;
        weights[first + state] = keep * (weights[first + state] ?? 0) + share;
      }
    }
    flatVersion = -1;
  }

  /** The weights summed over the regimes. */
  function marginal(): Float64Array {
    if (flatVersion === version) return flat;
    flat.fill(0);
    for (let first = 0; first < weights.length; first += states)
      for (let state = 0; state < states; state++)
        flat[state] = (flat[state] ?? 0) + (weights[first + state] ?? 0);
    flatVersion = version;
    return flat;
  }

  function forget(kept: number): void {
    for (let rate = 0; rate < rates; rate++) seen[rate] = (seen[rate] ?? 0) * kept;
    seenTotal *= kept;
  }

  /** Adds the current belief to the rates the link has shown. */
  function remember(): void {
    if (seenTotal > rememberedSightings) forget(1 - 1 / rememberedSightings);
    for (let base = 0; base < weights.length; base += rates)
      for (let rate = 0; rate < rates; rate++) seen[rate] = (seen[rate] ?? 0) + (weights[base + rate] ?? 0);
    seenTotal += 1;
  }

  /** The believed rate of returns to home, per second. */
  function resetsNow(): number {
    let mean = 0;
    let all = 0;
    for (let regime = 0, at = 0; regime < regimes; regime++) {
      const perSecond = resetsPerSecond[regime] ?? 0;
      for (let state = 0; state < states; state++, at++) {
        const weight = weights[at] ?? 0;
        mean += weight * perSecond;
        all += weight;
      }
    }
    return mean / all;
  }

  /** The two means over all states, once for each state of the belief: it is read for many sizes. */
  function readMeans(): void {
    if (meansVersion === version) return;
    lastsMs = 1000 / resetsNow();
    homePerMs = homeRate();
    meansVersion = version;
  }

  /** Packets per millisecond at home, on average. */
  function homeRate(): number {
    let sum = 0;
    for (let rate = 0; rate < rates; rate++) {
      const usual = priorSightings * (lasting[rate] ?? 0) + (seen[rate] ?? 0);
      sum += usual * (model.packetsPerMs[rate] ?? 0);
    }
    return sum / (priorSightings + seenTotal);
  }

  function onChance(rate: number): number {
    const now = marginal();
    let total = 0;
    for (let mode = 0; mode < modes; mode++) total += now[mode * rates + rate] ?? 0;
    return total > 0 ? (now[rate] ?? 0) / total : (model.modePrior[0] ?? 0);
  }

  /** Adds weight times the row of the table for one nominal duration, interpolated linearly between two rows. */
  function addRow(into: Float64Array, weight: number, row: number): void {
    const clamped = Math.min(table.rows - 1.001, Math.max(0, row));
    const low = Math.floor(clamped);
    const high = clamped - low;
    const first = low * cells;
    const lowWeight = weight * (1 - high);
    const highWeight = weight * high;
    const { cumulative, firstCell } = table;
    // A longer duration never completes sooner.
    for (let cell = firstCell[low] ?? 0; cell < cells; cell++) {
      into[cell] =
        (into[cell] ?? 0) +
        lowWeight * (cumulative[first + cell] ?? 0) +
        highWeight * (cumulative[first + cells + cell] ?? 0);
    }
  }

  /** Share of what waits at the begin of each cell of the table that still waits at its end. */
  function keptOf(mode: number, meanMs: number): Float64Array {
    const known = keptShares[mode];
    if (known?.meanMs === meanMs) return known.kept;
    const kept = new Float64Array(cells);
    for (let cell = 0, beforeMs = 0; cell < cells; cell++) {
      const nowMs = table.times[cell] ?? 0;
      kept[cell] = Math.exp(-(nowMs - beforeMs) / meanMs);
      beforeMs = nowMs;
    }
    keptShares[mode] = { meanMs, kept };
    return kept;
  }

  /**
   * Adds the weight that waits for the end of an outage of this mode: G' = (F - G) / mean remaining time, F straight in each cell.
   */
  function addDelayed(mode: number): void {
    const meanMs = law.meanMs(mode);
    const kept = keptOf(mode, meanMs);
    let before = 0;
    let beforeMs = 0;
    let delayed = 0;
    for (let cell = 0; cell < cells; cell++) {
      const now = waiting[cell] ?? 0;
      const nowMs = table.times[cell] ?? 0;
      const spanMs = nowMs - beforeMs;
      const lag = ((now - before) / spanMs) * meanMs;
      delayed = now - lag + (delayed - before + lag) * (kept[cell] ?? 0);
      density[cell] = (density[cell] ?? 0) + delayed;
      before = now;
      beforeMs = nowMs;
    }
  }

  /** See `RateFilter.completionMs`. */
  function completion(packets: number, dispersion: number, ahead: PacketsAhead): Float64Array {
    density.fill(0);
    const now = marginal();
    readMeans();
    // A count of few packets is itself uncertain: two points of a normal spread of the log-rate (Gauss-Hermite).
    const spread = Math.min(1, Math.sqrt(dispersion / Math.max(1, packets)));
    const side = spread > 0.12 ? spread / table.rowStep : 0;
    rowOf.fill(NaN);
    for (let mode = 0; mode < modes; mode++) {
      const into = mode === 0 ? density : waiting;
      if (mode > 0) waiting.fill(0);
      let any = false;
      for (let rate = 0; rate < rates; rate++) {
        const weight = now[mode * rates + rate] ?? 0;
        if (weight < negligible) continue;
        any = true;
        let row = rowOf[rate] ?? NaN;
        if (Number.isNaN(row)) {
          const work = Math.max(1e-3, packets + (ahead?.[rate] ?? 0));
          const perMs = model.packetsPerMs[rate] ?? 1;
          const stays = work / perMs;
          // A transfer longer than the rate usually lasts continues at home.
          const nominalMs = stays <= lastsMs ? stays : lastsMs + (work - perMs * lastsMs) / homePerMs;
          row = Math.log(nominalMs / table.shortestMs) / table.rowStep;
          rowOf[rate] = row;
        }
        if (side === 0) addRow(into, weight, row);
        else {
          addRow(into, weight / 2, row - side);
          addRow(into, weight / 2, row + side);
        }
      }
      if (mode > 0 && any) addDelayed(mode);
    }
    return quantilesOfTimes(table.times, density);
  }

  return {
    get version() {
      return version;
    },
    pass(ticks) {
      const left = Math.min(ticks, 2 ** model.ratePowers.length - 1);
      if (left <= 0) return;
      law.pass(weights, ticks);
      const singles = left <= fewTicks ? left : 0;
      for (let tick = 0; tick < singles; tick++) {
        tickRates(model, weights, moved);
        swap();
      }
      for (let power = 0, rest = left; rest > 0; power++, rest = Math.floor(rest / 2)) {
        const rateMatrix = model.ratePowers[power];
        const modeMatrix = law.powers[power];
        if (rest % 2 === 0 || !rateMatrix || !modeMatrix) continue;
        if (left > fewTicks) {
          multiplyRates(rateMatrix);
          swap();
        }
        moveModes(modeMatrix);
      }
      goHome(ticks);
      version += 1;
    },
    observe(busyMs, packets, dispersion, ahead, whole = false) {
      if (busyMs <= 0 && packets <= 0) return;
      let best = packets > 0 ? -Infinity : 0;
      for (let rate = 0; rate < rates; rate++) {
        const expected = (model.packetsPerMs[rate] ?? 0) * Math.max(busyMs, 0.1);
        const hidden = ahead?.[rate] ?? 0;
        // Packets ahead pass first. Until they are through, this rate predicts silence.
        const seen = packets > 0 ? packets + hidden : 0;
        const visible = packets > 0 ? expected : Math.max(0, expected - hidden);
        const on =
          seen > 0
            ? (seen * Math.log(expected / seen) + seen - expected) / dispersion
            : -visible / dispersion;
        logOn[rate] = Math.max(floor, on);
        best = Math.max(best, logOn[rate] ?? floor);
        if (ahead) ahead[rate] = packets > 0 ? 0 : Math.max(0, hidden - expected * onChance(rate));
      }
      if (whole) law.lookedAway();
      else law.observed(weights, logOn, packets, busyMs);
      const silent = Math.exp(-best);
      for (let rate = 0; rate < rates; rate++) {
        const on = Math.exp((logOn[rate] ?? floor) - best);
        const out = packets > 0 ? on * passedInOutage : silent;
        for (let first = rate; first < weights.length; first += states) {
          weights[first] = (weights[first] ?? 0) * on;
          for (let at = first + rates; at < first + states; at += rates)
            weights[at] = (weights[at] ?? 0) * out;
        }
      }
      normalise(weights);
      if (packets > 0) remember();
      version += 1;
    },
    within(chances) {
      const now = marginal();
      let foretold = 0;
      for (let rate = 0; rate < rates; rate++) foretold += (now[rate] ?? 0) * (chances[rate] ?? 0);
      if (foretold > foretoldRatio) return;
      // Outages stay as likely as before: an unused link is not aged, and its current mode says little about later.
      for (let at = 0; at < weights.length; at++)
        weights[at] = (weights[at] ?? 0) * (chances[at % rates] ?? 0);
      normalise(weights);
      version += 1;
    },
    answered() {
      law.lookedAway();
      // If their weight were removed instead, a silence that slow rates also explain would leave only the slow ones.
      for (let at = 0; at < weights.length; at++) {
        if (at % states < rates) continue;
        const on = at - (at % states) + (at % rates);
        weights[on] = (weights[on] ?? 0) + (weights[at] ?? 0);
        weights[at] = 0;
      }
      version += 1;
    },
    completionMs(packets, dispersion, ahead) {
      if (version > 0 || first || ahead) return completion(packets, dispersion, ahead);
      const { unknownTimes } = model;
      const known = unknownTimes.get(packets);
      if (known?.dispersion === dispersion) return known.values.slice();
      const values = completion(packets, dispersion, undefined);
      if (unknownTimes.size < mostUnknownTimes)
        unknownTimes.set(packets, { dispersion, values: values.slice() });
      return values;
    },
    onChance,
    packetsPerMs(ratio) {
      const now = marginal();
      let left = ratio;
      for (let rate = 0; rate < rates; rate++) {
        for (let mode = 0; mode < modes; mode++) left -= now[mode * rates + rate] ?? 0;
        if (left <= 0) return model.packetsPerMs[rate] ?? 0;
      }
      return model.packetsPerMs[rates - 1] ?? 0;
    },
    usual: () => (seenTotal >= leastSightings ? seen.slice() : undefined),
    restart(next) {
      ({ home, lasting } = next ?? priorOf(model));
      law = outageLaw(model);
      forget(0);
      begin();
      version += 1;
    },
  };
}
