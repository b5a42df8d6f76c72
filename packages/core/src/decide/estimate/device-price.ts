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
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const next = new Float64Array(points);
    let atRest = 0;
    for (let point = 0; point < points; point++) {
      let total = 0;
      for (let index = 0; index < count; index++) {
        const left = Math.max(0, point * step - (gapsMs[index] ?? 0));
        total +=
          hereRatio * (left + valueAt(values, left + runMs, step)) +
          (1 - hereRatio) * valueAt(values, left, step);
      }
      if (point === 0) atRest = total;
      next[point] = (total - atRest) / count;
    }
    values = next;
  }
  return values;
}

function valueAt(values: Float64Array, ms: number, step: number): number {
  const position = ms / step;
  const low = Math.min(points - 2, Math.floor(position));
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
