/**
 * How long a run on this device delays later requests.
 *
 * A device runs one request at a time. A run that delays no request now may delay the next one, and that one the next. A price of the run's
 * own time alone makes a busy device look free. A price of the next request alone misses the queue behind it. The price follows from a
 * belief about arrivals: gaps are drawn from the latest ones, and a request runs here with the recent share `h`. The cost of a backlog of
 * `x` for all later requests is the fixed point
 *
 * V(x) = E[h (x' + V(x' + L)) + (1 - h) V(x')] - the same at 0, x' = (x - gap)+,
 *
 * computed a bounded number of arrivals ahead. For Poisson arrivals it equals the mean waiting time of a queue with one server. For regular
 * gaps longer than a run it is 0. Waits have weight 1: a delayed request is not yet a late one.
 */
export interface DevicePrice {
  /** Expected delay of later requests, in milliseconds, if work keeps the device busy until `endMs` from now. */
  heldMs(endMs: number): number;
}

/** Points in the table of V. V is a straight line beyond the last point. */
const points = 25;
/** Points per run. */
const stepsPerRun = 2;
/** Number of arrivals computed ahead. */
const sweeps = 12;

/** Cost of a backlog, in milliseconds, at multiples of half a run of `runMs`. */
export function backlogValues(gapsMs: ArrayLike<number>, runMs: number, hereRatio: number): Float64Array {
  let values = new Float64Array(points);
  const count = gapsMs.length;
  if (count === 0 || !(runMs > 0)) return values;
  const step = runMs / stepsPerRun;
  // The backlog that a gap leaves, and its position in the table, are the same in each sweep.
  const size = points * count;
  const [left, runLow, runPart, restLow, restPart] = [
    new Float64Array(size),
    new Uint8Array(size),
    new Float64Array(size),
    new Uint8Array(size),
    new Float64Array(size),
  ];
  for (let point = 0, at = 0; point < points; point++) {
    for (let index = 0; index < count; index++, at++) {
      const rest = Math.max(0, point * step - (gapsMs[index] ?? 0));
      left[at] = rest;
      runLow[at] = lowPoint((rest + runMs) / step);
      runPart[at] = (rest + runMs) / step - (runLow[at] ?? 0);
      restLow[at] = lowPoint(rest / step);
      restPart[at] = rest / step - (restLow[at] ?? 0);
    }
  }
  let next = new Float64Array(points);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    let atRest = 0;
    let moved = false;
    for (let point = 0, at = 0; point < points; point++) {
      let total = 0;
      for (let index = 0; index < count; index++, at++) {
        const low = runLow[at] ?? 0;
        const from = values[low] ?? 0;
        const run = from + ((values[low + 1] ?? 0) - from) * (runPart[at] ?? 0);
        const lowRest = restLow[at] ?? 0;
        const fromRest = values[lowRest] ?? 0;
        const rest = fromRest + ((values[lowRest + 1] ?? 0) - fromRest) * (restPart[at] ?? 0);
        total += hereRatio * ((left[at] ?? 0) + run) + (1 - hereRatio) * rest;
      }
      if (point === 0) atRest = total;
      const value = (total - atRest) / count;
      moved ||= value !== values[point];
      next[point] = value;
    }
    [values, next] = [next, values];
    // A further sweep would give the same values.
    if (!moved) break;
  }
  return values;
}

function lowPoint(position: number): number {
  return Math.min(points - 2, Math.floor(position));
}

function valueAt(values: Float64Array, ms: number, step: number): number {
  const position = ms / step;
  const low = lowPoint(position);
  const from = values[low] ?? 0;
  return from + ((values[low + 1] ?? 0) - from) * (position - low);
}

/** The price at one instant, from equally likely times until the next request and the values of `backlogValues`. */
export function devicePrice(
  untilNextMs: ArrayLike<number>,
  values: Float64Array,
  runMs: number,
  hereRatio: number,
): DevicePrice {
  const count = untilNextMs.length;
  const step = runMs / stepsPerRun;
  const alone = hereRatio * valueAt(values, runMs, step);
  return {
    heldMs(endMs) {
      if (count === 0 || !(runMs > 0)) return 0;
      let total = 0;
      for (let index = 0; index < count; index++) {
        const left = endMs - (untilNextMs[index] ?? 0);
        if (left <= 0) total += alone;
        else
          total +=
            hereRatio * (left + valueAt(values, left + runMs, step)) +
            (1 - hereRatio) * valueAt(values, left, step);
      }
      return total / count - alone;
    },
  };
}

/** Price of a device with no later requests to delay. */
export const idleDevice: DevicePrice = { heldMs: () => 0 };

/** The same price for a hot, throttled or short device: each millisecond of work is multiplied by `strainRatio`. */
export function strained(price: DevicePrice, strainRatio: number): DevicePrice {
  if (!(strainRatio > 0)) return price;
  return { heldMs: (endMs) => price.heldMs(endMs) + strainRatio * endMs };
}
