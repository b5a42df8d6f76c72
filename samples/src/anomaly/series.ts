import { type Random, seededRandom } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";

/** Seeds of the sample: the plant with the sensors, the training data of the detector, and its test data. */
export const plantSeed = 7;
export const trainingSeed = 20_261_124;
export const heldOutSeed = 99;

/** Sensors of the plant, and steps of the window that the model takes. */
export const channels = 32;
export const windowSteps = 4096;

/** The kinds of faults, in the order of the model's outputs. */
export const faultKinds = ["spikes", "drift", "stuck", "noise", "resonance"] as const;

export type FaultKind = (typeof faultKinds)[number];

/** A stretch of sensor readings. */
export interface Series {
  /** `[channels, steps]`, one channel after the other, each around -1..1. */
  readonly values: Float32Array;
  readonly steps: number;
  /** The injected fault; undefined for a healthy stretch. */
  readonly fault?: { readonly kind: FaultKind; readonly from: number; readonly to: number };
}

/** A made-up plant: the readings of its machine's sensors, fixed by the seed. */
export interface Plant {
  /** A stretch of `steps` readings; `fault` injects one somewhere inside. */
  series(random: Random, steps: number, fault?: FaultKind): Series;
}

const sources = 6;

/** Sensor noise as a share of the signal. */
const hiss = 0.12;

function between(random: Random, low: number, high: number): number {
  return low + random.next() * (high - low);
}

function somes(random: Random, count: number, of: number): readonly number[] {
  const picked = new Set<number>();
  while (picked.size < count) picked.add(Math.floor(random.next() * of));
  return [...picked];
}

/**
 * Hidden state of the machine: a shaft whose speed wanders, its first three harmonics, a slow load (Ornstein and Uhlenbeck,
 * 1930) and a duty cycle that switches. `[sources, steps]`.
 */
function machine(random: Random, steps: number): Float64Array {
  const out = new Float64Array(sources * steps);
  let phase = random.next() * 2 * Math.PI;
  let speed = between(random, 0.08, 0.2);
  let load = gaussian(random);
  let duty = random.next() < 0.5 ? 1 : -1;
  let smooth = duty;
  for (let step = 0; step < steps; step++) {
    speed = Math.min(Math.max(speed + gaussian(random) * 0.0004, 0.06), 0.22);
    phase += speed;
    load += -0.01 * load + 0.14 * gaussian(random);
    if (random.next() < 1 / 300) duty = -duty;
    smooth += (duty - smooth) * 0.08;
    const swing = 1 + 0.25 * Math.tanh(load);
    const state = [
      swing * Math.sin(phase),
      swing * Math.cos(phase),
      0.5 * Math.sin(2 * phase + 0.7),
      0.35 * Math.sin(3 * phase + 1.9),
      0.7 * load,
      smooth,
    ];
    for (let source = 0; source < sources; source++) out[source * steps + step] = state[source] ?? 0;
  }
  return out;
}

/** Changes the readings of some channels between two steps as the fault would. */
function inject(
  random: Random,
  values: Float32Array,
  steps: number,
  kind: FaultKind,
  from: number,
  to: number,
): void {
  const widths: Readonly<Record<FaultKind, readonly [number, number]>> = {
    spikes: [2, 5],
    drift: [2, 5],
    stuck: [1, 3],
    noise: [3, 8],
    resonance: [4, 10],
  };
  const [least, most] = widths[kind];
  const beat = between(random, 0.9, 1.6);
  for (const channel of somes(random, Math.round(between(random, least, most)), channels)) {
    const row = values.subarray(channel * steps, (channel + 1) * steps);
    const size = between(random, 0.6, 1.4) * (random.next() < 0.5 ? 1 : -1);
    const held = row[from] ?? 0;
    for (let step = from; step < to; step++) {
      const share = (step - from) / (to - from);
      const value = row[step] ?? 0;
      if (kind === "spikes")
        row[step] = value + (random.next() < 0.07 ? size * between(random, 0.7, 1.6) : 0);
      if (kind === "drift") row[step] = value + 1.3 * size * share;
      if (kind === "stuck") row[step] = held + gaussian(random) * 0.02;
      if (kind === "noise") row[step] = value + gaussian(random) * 0.45 * Math.abs(size);
      if (kind === "resonance")
        row[step] = value + 0.35 * size * Math.sin(beat * step) * Math.sin(Math.PI * share);
    }
  }
}

/** The plant of this seed: each sensor sees its own mixture of the hidden state. */
export function plant(seed: number): Plant {
  const random = seededRandom(seed);
  const mixing = Float64Array.from({ length: channels * sources }, () => gaussian(random));
  for (let channel = 0; channel < channels; channel++) {
    const row = mixing.subarray(channel * sources, (channel + 1) * sources);
    const length = Math.sqrt(row.reduce((sum, weight) => sum + weight * weight, 0));
    for (let source = 0; source < sources; source++) row[source] = (0.7 * (row[source] ?? 0)) / length;
  }
  return {
    series(draw, steps, fault) {
      const state = machine(draw, steps);
      const values = new Float32Array(channels * steps);
      for (let channel = 0; channel < channels; channel++) {
        for (let step = 0; step < steps; step++) {
          let sum = gaussian(draw) * hiss;
          for (let source = 0; source < sources; source++) {
            sum += (mixing[channel * sources + source] ?? 0) * (state[source * steps + step] ?? 0);
          }
          values[channel * steps + step] = sum;
        }
      }
      if (!fault) return { values, steps };
      const length = Math.round(Math.min(between(draw, 80, 300), steps * 0.8));
      const from = Math.floor(draw.next() * (steps - length));
      inject(draw, values, steps, fault, from, from + length);
      return { values, steps, fault: { kind: fault, from, to: from + length } };
    },
  };
}
