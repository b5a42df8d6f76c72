import type { Random } from "@longshore/core";
import type { Convolution } from "./layer.ts";
import type { Network } from "./network.ts";
import { channels, type Plant } from "./series.ts";

/** Directions in which healthy readings vary; the plant's hidden state has no more. */
const rank = 6;

/** `[channels, channels]`: how healthy readings vary together. */
function covariance(source: Plant, random: Random): Float64Array {
  const steps = 20_000;
  const { values } = source.series(random, steps);
  const out = new Float64Array(channels * channels);
  for (let a = 0; a < channels; a++) {
    for (let b = 0; b <= a; b++) {
      let sum = 0;
      for (let step = 0; step < steps; step++) {
        sum += (values[a * steps + step] as number) * (values[b * steps + step] as number);
      }
      out[a * channels + b] = out[b * channels + a] = sum / steps;
    }
  }
  return out;
}

/** The `rank` main directions, each of length 1, by orthogonal iteration (Golub and Van Loan, "Matrix Computations"). */
function mainDirections(matrix: Float64Array, random: Random): readonly Float64Array[] {
  let basis: readonly Float64Array[] = Array.from({ length: rank }, () =>
    Float64Array.from({ length: channels }, () => random.next() - 0.5),
  );
  const inner = (a: Float64Array, b: Float64Array): number =>
    a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
  for (let round = 0; round < 200; round++) {
    const next: Float64Array[] = [];
    for (const direction of basis) {
      let image = direction.map((_value, row) =>
        inner(matrix.subarray(row * channels, (row + 1) * channels), direction),
      );
      for (const other of next) {
        const share = inner(image, other);
        image = image.map((value, at) => value - share * (other[at] ?? 0));
      }
      const length = Math.sqrt(inner(image, image));
      next.push(image.map((value) => value / length));
    }
    basis = next;
  }
  return basis;
}

function setWeight(
  { shape, weights }: Convolution,
  to: number,
  tap: number,
  from: number,
  value: number,
): void {
  weights.values[(to * shape.kernel + tap) * shape.from + from] = value;
}

/**
 * Gives the head of a new network weights in closed form: training from chance alone finds little in minutes, because the
 * waist then hides the faults. The entry takes from each sensor what the others explain (principal components of healthy
 * readings) and looks at its mean and at its change from one step to the next, up and down; the waist adds these up by
 * groups of four sensors and over the frame.
 */
export function startHead({ entry, waist }: Network, source: Plant, random: Random): void {
  const directions = mainDirections(covariance(source, random), random);
  entry.weights.values.fill(0);
  for (let sensor = 0; sensor < channels; sensor++) {
    for (let from = 0; from < channels; from++) {
      const explained = directions.reduce((sum, one) => sum + (one[sensor] ?? 0) * (one[from] ?? 0), 0);
      const left = (sensor === from ? 1 : 0) - explained;
      for (const [half, sign] of [1, -1].entries()) {
        for (let tap = 0; tap < entry.shape.kernel; tap++) {
          setWeight(entry, half * channels + sensor, tap, from, (sign * left) / entry.shape.kernel);
        }
        setWeight(entry, (2 + half) * channels + sensor, 1, from, sign * left * Math.SQRT1_2);
        setWeight(entry, (2 + half) * channels + sensor, 2, from, -sign * left * Math.SQRT1_2);
      }
    }
  }
  const groups = waist.shape.to / 2;
  for (let to = 0; to < waist.shape.to; to++) {
    const quick = to >= groups;
    for (let from = 0; from < waist.shape.from; from++) {
      const member = from % groups === to % groups && from >= 2 * channels === quick;
      for (let tap = 0; tap < waist.shape.kernel; tap++) {
        setWeight(waist, to, tap, from, member ? (quick ? 0.6 : 0.5) : 0);
      }
    }
    waist.bias.values[to] = quick ? -1.2 : -0.6;
  }
}
