/**
 * How the rate of a link is believed to move, and the time that n packets take.
 *
 * A state is a rate (log-spaced) and a mode: on, or one of several outages in which nothing passes and the rate is remembered. The
 * logarithm of the rate walks randomly, sometimes jumps (two-sided exponential, so that far jumps stay possible), and now and then restarts
 * from the link's home: the prior at first, then the rates that this link has shown (`rate-filter.ts`). So a belief ages: a link that
 * stalled is soon taken to have its usual rate again, and not to have stalled for good. Rate and mode move independently of each other, so
 * each has its own transition matrix, and their powers of two cover any span of idle time in a few products.
 *
 * The time for n packets is a table over the **nominal duration** n / rate. Rates are relative, so one set of simulated futures of a unit
 * rate serves all states. A decision is then a sum over states of weight times a row of that table, delayed by the rest of an outage if the
 * link is in one (`rate-filter.ts`).
 *
 * After the packet-count filter of K. Winstein, A. Sivaraman and H. Balakrishnan, "Stochastic Forecasts Achieve High Throughput and Low
 * Delay over Cellular Networks" (NSDI 2013); modes, jumps and the table of completion times depart from it.
 */
import { exponential, gaussian, type Random, seededRandom } from "../../words/base/index.ts";

/** Payload bytes of one packet. */
export const packetBytes = 1460;

/** A kind of outage: how often it begins while the link is on, and how long it lasts on average. */
export interface OutageKind {
  readonly perSecond: number;
  readonly meanMs: number;
}

/** The one parameter set that serves all links. */
export interface LinkModelParameters {
  /** Grid of rates, in bits per second of payload. */
  readonly slowestBitsPerSecond: number;
  readonly fastestBitsPerSecond: number;
  readonly rates: number;
  readonly tickMs: number;
  /** Standard deviation of the walk of the log-rate after one second. */
  readonly walkPerSqrtSecond: number;
  readonly jumpsPerSecond: number;
  /** Mean size of a jump, in units of the log-rate. */
  readonly jumpSize: number;
  /** Rate of restarts from home (the prior at first, then the rates the link has shown), for each regime. */
  readonly resetsPerSecond: readonly number[];
  /** The shortest first: its length is learned for each link (`outage-law.ts`). */
  readonly outages: readonly OutageKind[];
  /** Variance of packet counts over their mean before a link has shown its own: above 1 because packets and acknowledgements come in bursts. */
  readonly dispersion: number;
  /** Before any evidence: median of the rate and spread of its logarithm. */
  readonly priorMedianBitsPerSecond: number;
  readonly priorLogSpread: number;
  /** Weight of the prior in a link's home, in sightings of the rate; and the number of its own sightings that are remembered. */
  readonly priorSightings: number;
  readonly rememberedSightings: number;
}

/** Chosen on recorded cellular uplinks; the bench of decisions prints their results. */
export const linkModelDefaults: LinkModelParameters = {
  slowestBitsPerSecond: 20e3,
  fastestBitsPerSecond: 4e9,
  rates: 48,
  tickMs: 10,
  walkPerSqrtSecond: 0.2,
  jumpsPerSecond: 0.08,
  jumpSize: 0.5,
  resetsPerSecond: [0.1, 0.6, 2.5],
  outages: [
    { perSecond: 1.2, meanMs: 45 },
    { perSecond: 0.03, meanMs: 900 },
    { perSecond: 0.001, meanMs: 10_000 },
  ],
  dispersion: 1.6,
  priorMedianBitsPerSecond: 8e6,
  priorLogSpread: 1.8,
  priorSightings: 30,
  rememberedSightings: 2000,
};

/** Completion times that were computed for a number of packets. */
interface KnownTimes {
  readonly dispersion: number;
  readonly values: Float64Array;
}

/** Transition powers and completion tables of a parameter set. One serves any number of links. */
export interface LinkModel {
  readonly parameters: LinkModelParameters;
  readonly rates: number;
  readonly modes: number;
  /** Packets per millisecond of each rate. */
  readonly packetsPerMs: Float64Array;
  /** Prior weight of each rate, and of each mode. */
  readonly home: Float64Array;
  readonly modePrior: Float64Array;
  /** One tick of the rate, in as many steps as there are rates; equal to the first of `ratePowers`. */
  readonly tick: RateTick;
  /** Matrices for 2^j ticks, row-major `[from, to]`. */
  readonly ratePowers: readonly Float64Array[];
  readonly modePowers: readonly Float64Array[];
  readonly table: CompletionTable;
  /** Completion times of a link without evidence, by packets: each new link reads the same ones. Filled as they are read. */
  readonly unknownTimes: Map<number, KnownTimes>;
}

/**
 * One tick of the rate: to each neighbour with chance `move`, a jump with chance `jump`, whose length falls off by `decay`
 * for each rate; `spread` is one over the sum of all jumps from a rate.
 */
export interface RateTick {
  readonly move: number;
  readonly jump: number;
  readonly decay: number;
  readonly spread: Float64Array;
}

/** P(done within a time | nominal duration, on now), cumulative over `times`. */
export interface CompletionTable {
  /** Right edges of the time cells, in milliseconds. */
  readonly times: Float64Array;
  /** By how much the logarithm of the nominal duration grows with each row, and number of rows. */
  readonly rowStep: number;
  readonly rows: number;
  /** Nominal duration of row 0, in milliseconds. */
  readonly shortestMs: number;
  /** `[row, time]`. */
  readonly cumulative: Float32Array;
  /** The first cell of each row that is above 0: nothing completes sooner. */
  readonly firstCell: Uint16Array;
}

const powers = 18;

/** Builds the tables of a parameter set (a few milliseconds). Hand one model to all links of a process. */
export function linkModel(change: Partial<LinkModelParameters> = {}): LinkModel {
  const parameters = { ...linkModelDefaults, ...change };
  const { rates, tickMs } = parameters;
  const step = Math.log(parameters.fastestBitsPerSecond / parameters.slowestBitsPerSecond) / (rates - 1);
  const packetsPerMs = Float64Array.from(
    { length: rates },
    (_, index) => (parameters.slowestBitsPerSecond * Math.exp(index * step)) / 8 / packetBytes / 1000,
  );
  const home = homeOf(parameters, step);
  const tick = rateTick(parameters, step);
  const modes = 1 + parameters.outages.length;
  return {
    parameters,
    rates,
    modes,
    packetsPerMs,
    home,
    modePrior: modePriorOf(parameters),
    tick,
    ratePowers: powersOf(rateStep(tick, rates), rates),
    modePowers: modePowersOf(parameters.outages, tickMs),
    table: completionTable(parameters, step),
    unknownTimes: new Map(),
  };
}

/** Belief about the rates of one link before it has shown its own: weights that sum to 1. */
export interface RatePrior {
  /** Where the rate begins and where it returns. */
  readonly home: Float64Array;
  /** A transfer longer than a rate lasts continues at the mean of these. */
  readonly lasting: Float64Array;
}

/** The prior of an unknown link. */
export function priorOf({ home }: LinkModel): RatePrior {
  return { home, lasting: home };
}

function homeOf(parameters: LinkModelParameters, step: number): Float64Array {
  const centre = Math.log(parameters.priorMedianBitsPerSecond / parameters.slowestBitsPerSecond) / step;
  const spread = parameters.priorLogSpread / step;
  const home = Float64Array.from(
    { length: parameters.rates },
    (_, index) => Math.exp(-0.5 * ((index - centre) / spread) ** 2) + 0.02,
  );
  return normalise(home);
}

function modePriorOf(parameters: LinkModelParameters): Float64Array {
  return normalise(
    Float64Array.from([1, ...parameters.outages.map((kind) => (kind.perSecond * kind.meanMs) / 1000)]),
  );
}

function rateTick(parameters: LinkModelParameters, step: number): RateTick {
  const { rates } = parameters;
  const seconds = parameters.tickMs / 1000;
  const decay = Math.exp(-step / parameters.jumpSize);
  const spread = new Float64Array(rates);
  for (let from = 0; from < rates; from++) {
    let total = 0;
    for (let to = 0; to < rates; to++) if (to !== from) total += decay ** Math.abs(to - from);
    spread[from] = 1 / total;
  }
  return {
    move: (0.5 * parameters.walkPerSqrtSecond ** 2 * seconds) / step ** 2,
    jump: 1 - Math.exp(-parameters.jumpsPerSecond * seconds),
    decay,
    spread,
  };
}

/** Moves weights `[any, rate]` by one tick into `moved`, in two sweeps instead of a matrix: jumps fall off by the same factor with each rate. */
export function tickRates({ rates, tick }: LinkModel, weights: Float64Array, moved: Float64Array): void {
  const { move, jump, decay, spread } = tick;
  const stay = 1 - jump;
  for (let base = 0; base < weights.length; base += rates) {
    const last = base + rates - 1;
    let jumped = 0;
    for (let at = base; at <= last; at++) {
      const here = weights[at] ?? 0;
      const before = at > base ? (weights[at - 1] ?? 0) : here;
      const after = at < last ? (weights[at + 1] ?? 0) : here;
      moved[at] = stay * (here + move * (before - 2 * here + after)) + jump * jumped;
      jumped = decay * (jumped + here * (spread[at - base] ?? 0));
    }
    jumped = 0;
    for (let at = last; at >= base; at--) {
      moved[at] = (moved[at] ?? 0) + jump * jumped;
      jumped = decay * (jumped + (weights[at] ?? 0) * (spread[at - base] ?? 0));
    }
  }
}

/** The tick as a matrix, to be raised to powers. */
function rateStep({ move, jump, decay, spread }: RateTick, rates: number): Float64Array {
  const matrix = new Float64Array(rates * rates);
  for (let from = 0; from < rates; from++) {
    const edge = from === 0 || from === rates - 1 ? 1 : 2;
    for (let to = 0; to < rates; to++) {
      const distance = Math.abs(to - from);
      const near = distance === 0 ? 1 - edge * move : distance === 1 ? move : 0;
      const far = distance === 0 ? 0 : (spread[from] ?? 0) * decay ** distance;
      matrix[from * rates + to] = (1 - jump) * near + jump * far;
    }
  }
  return matrix;
}

/** One tick of the mode: on to an outage, and back; never from one outage to another. */
function modeStep(outages: readonly OutageKind[], tickMs: number): Float64Array {
  const modes = 1 + outages.length;
  const matrix = new Float64Array(modes * modes);
  let stay = 1;
  outages.forEach((kind, index) => {
    const begin = 1 - Math.exp((-kind.perSecond * tickMs) / 1000);
    const end = 1 - Math.exp(-tickMs / kind.meanMs);
    matrix[index + 1] = begin;
    stay -= begin;
    matrix[(index + 1) * modes] = end;
    matrix[(index + 1) * modes + index + 1] = 1 - end;
  });
  matrix[0] = stay;
  return matrix;
}

/** The `modePowers` of a model with other outages. */
export function modePowersOf(outages: readonly OutageKind[], tickMs: number): readonly Float64Array[] {
  return powersOf(modeStep(outages, tickMs), 1 + outages.length);
}

function powersOf(matrix: Float64Array, size: number): readonly Float64Array[] {
  const all = [matrix];
  while (all.length < powers) {
    const last = all[all.length - 1] ?? matrix;
    const square = new Float64Array(size * size);
    for (let row = 0; row < size; row++) {
      for (let inner = 0; inner < size; inner++) {
        const weight = last[row * size + inner] ?? 0;
        for (let column = 0; column < size; column++) {
          square[row * size + column] =
            (square[row * size + column] ?? 0) + weight * (last[inner * size + column] ?? 0);
        }
      }
    }
    all.push(square);
  }
  return all;
}

const futures = 240;
/** No rate is impossible. */
const leastChance = 1e-4;
const shortestMs = 0.5;
const longestMs = 1e6;
const timeRatio = 1.15;
const rowsPerRate = 3;

function completionTable(parameters: LinkModelParameters, step: number): CompletionTable {
  const random = seededRandom(20_13);
  const rowStep = step / rowsPerRate;
  const rows = Math.ceil(Math.log(longestMs / shortestMs) / rowStep) + 1;
  const cells = Math.ceil(Math.log(longestMs / shortestMs) / Math.log(timeRatio)) + 1;
  const times = Float64Array.from({ length: cells }, (_, cell) => shortestMs * timeRatio ** cell);
  const cumulative = new Float32Array(rows * cells);
  for (let future = 0; future < futures; future++) {
    const finishMs = oneFuture(parameters, rows, rowStep, random);
    let cell = 0;
    for (let row = 0; row < rows; row++) {
      const doneMs = finishMs[row] ?? longestMs;
      while (cell < cells - 1 && (times[cell] ?? 0) < doneMs) cell++;
      const at = row * cells + cell;
      cumulative[at] = (cumulative[at] ?? 0) + 1 / futures;
    }
  }
  const firstCell = new Uint16Array(rows);
  for (let row = 0, start = 0; row < rows; row++, start += cells) {
    for (let cell = 1; cell < cells; cell++) {
      cumulative[start + cell] = (cumulative[start + cell] ?? 0) + (cumulative[start + cell - 1] ?? 0);
    }
    const first = cumulative.subarray(start, start + cells).findIndex((chance) => chance > 0);
    firstCell[row] = first < 0 ? cells : first;
  }
  return { times, rowStep, rows, shortestMs, cumulative, firstCell };
}

/** A future of a link that begins on, at rate 1: when the work of each row (in milliseconds at rate 1) is done. */
function oneFuture(
  parameters: LinkModelParameters,
  rows: number,
  rowStep: number,
  random: Random,
): Float64Array {
  const finishMs = new Float64Array(rows).fill(longestMs);
  let wallMs = 0;
  let done = 0;
  let logRate = 0;
  let row = 0;
  while (row < rows && wallMs < longestMs) {
    // Coarser steps further out: second 100 needs no precision of a millisecond.
    const spanMs = Math.max(2, wallMs / 12);
    const seconds = spanMs / 1000;
    wallMs += outagesWithin(parameters, seconds, random);
    const before = Math.exp(logRate);
    logRate += parameters.walkPerSqrtSecond * Math.sqrt(seconds) * gaussian(random);
    if (random.next() < 1 - Math.exp(-parameters.jumpsPerSecond * seconds)) {
      logRate += (random.next() < 0.5 ? -1 : 1) * exponential(random, parameters.jumpSize);
    }
    const rate = (before + Math.exp(logRate)) / 2;
    const gained = rate * spanMs;
    for (let due = shortestMs * Math.exp(row * rowStep); row < rows && due <= done + gained;) {
      finishMs[row] = wallMs + (due - done) / rate;
      row += 1;
      due = shortestMs * Math.exp(row * rowStep);
    }
    done += gained;
    wallMs += spanMs;
  }
  return finishMs;
}

function outagesWithin(parameters: LinkModelParameters, seconds: number, random: Random): number {
  let lostMs = 0;
  for (const kind of parameters.outages) {
    const expected = kind.perSecond * seconds;
    if (expected > 20) lostMs += expected * kind.meanMs;
    else {
      for (let at = exponential(random, 1); at < expected; at += exponential(random, 1)) {
        lostMs += exponential(random, kind.meanMs);
      }
    }
  }
  return lostMs;
}

/** Chance, for each rate, that this many packets take at most this time, relative to the most likely rate. */
export function chancesWithin(
  { rates, packetsPerMs, table }: LinkModel,
  packets: number,
  ms: number,
): Float64Array {
  const { times, cumulative, rows, rowStep, shortestMs } = table;
  const cells = times.length;
  let cell = 0;
  while (cell < cells - 1 && !((times[cell] ?? 0) >= ms)) cell++;
  const chances = new Float64Array(rates);
  let surest = leastChance;
  for (let rate = 0; rate < rates; rate++) {
    const row = Math.round(Math.log(packets / (packetsPerMs[rate] ?? 1) / shortestMs) / rowStep);
    const chance = cumulative[Math.min(rows - 1, Math.max(0, row)) * cells + cell] ?? 0;
    chances[rate] = chance;
    surest = Math.max(surest, chance);
  }
  for (let rate = 0; rate < rates; rate++)
    chances[rate] = Math.max(leastChance, (chances[rate] ?? 0) / surest);
  return chances;
}

/** Scales weights in place so that they sum to 1. */
export function normalise(weights: Float64Array): Float64Array {
  let total = 0;
  for (const weight of weights) total += weight;
  if (total > 0)
    for (let index = 0; index < weights.length; index++) weights[index] = (weights[index] ?? 0) / total;
  return weights;
}
