/**
 * What a run here keeps later requests waiting.
 *
 * A device runs one thing at a time, so a run that delays nobody now may delay the next request, and that one the next. Charging
 * only its own time makes a busy device look free; charging the next request alone misses the queue that builds up behind it. The
 * price follows from a belief about arrivals: gaps are drawn from the latest ones, a request runs here with the share that did
 * lately, and what a backlog of `x` costs all later requests is the fixed point
 *
 *   V(x) = E[h (x' + V(x' + L)) + (1 - h) V(x')] - the same at 0,   x' = (x - gap)+,
 *
 * computed a bounded number of arrivals ahead. For Poisson arrivals it comes to the mean waiting time of a queue with one server;
 * on a beat with gaps longer than a run it is 0. Waits count plainly: a wait that is somebody else's is not late yet.
 */
export interface DevicePrice {
  /** What work that keeps the device busy until `endMs` from now costs requests to come, in milliseconds of waiting. */
  heldMs(endMs: number): number;
}

/** Points in the table of V. Beyond the last, V is a straight line. */
const points = 25;
/** Points per run. */
const stepsPerRun = 2;
/** Arrivals ahead. */
const sweeps = 12;

/** What a backlog costs, in milliseconds, at multiples of half a run of `runMs`. */
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

/** The price at an instant: times until the next request, equally likely, and the values of `backlogValues`. */
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

/** A device that keeps nobody waiting. */
export const idleDevice: DevicePrice = { heldMs: () => 0 };

/** The same price of a device that is hot, throttled or short of something: each millisecond of work counts so much more. */
export function strained(price: DevicePrice, strainRatio: number): DevicePrice {
  if (!(strainRatio > 0)) return price;
  return { heldMs: (endMs) => price.heldMs(endMs) + strainRatio * endMs };
}
