import type { Random } from "@longshore/core";
import type { Activations, LayerParameters } from "./layer.ts";
import { frameSteps, type Network, network } from "./network.ts";
import { startHead } from "./start.ts";
import { channels, faultKinds, type Plant, type Series } from "./series.ts";

/** Readings as a network takes them: channels side by side. */
export function activationsOf({ values, steps }: Series): Activations {
  const turned = new Float64Array(steps * channels);
  for (let channel = 0; channel < channels; channel++) {
    for (let step = 0; step < steps; step++) {
      turned[step * channels + channel] = values[channel * steps + step] as number;
    }
  }
  return { steps, channels, values: turned };
}

/** Adam (Kingma and Ba, 2015) with its usual moments; gradients are used up. */
function adapt(parameters: readonly LayerParameters[], rate: number, round: number): void {
  const [keepFirst, keepSecond] = [0.9, 0.999];
  const scaled = (rate * Math.sqrt(1 - keepSecond ** round)) / (1 - keepFirst ** round);
  for (const { values, gradients, first, second } of parameters) {
    for (let at = 0; at < values.length; at++) {
      const gradient = gradients[at] as number;
      const mean = keepFirst * (first[at] as number) + (1 - keepFirst) * gradient;
      const square = keepSecond * (second[at] as number) + (1 - keepSecond) * gradient * gradient;
      first[at] = mean;
      second[at] = square;
      values[at] = (values[at] as number) - (scaled * mean) / (Math.sqrt(square) + 1e-8);
      gradients[at] = 0;
    }
  }
}

/** Gradient of the cross-entropy of each frame and kind, faulty frames counting `weight` times; and the loss. */
function lossOf(
  scores: Activations,
  { fault }: Series,
  weight: number,
): { gradient: Activations; loss: number } {
  const kinds = faultKinds.length;
  const faulty = fault ? faultKinds.indexOf(fault.kind) : -1;
  let loss = 0;
  const values = scores.values.map((score, at) => {
    const middle = (Math.floor(at / kinds) + 0.5) * frameSteps;
    const wanted = fault && at % kinds === faulty && middle >= fault.from && middle < fault.to ? 1 : 0;
    const share = 1 / (1 + Math.exp(-score));
    const importance = (wanted ? weight : 1) / scores.values.length;
    loss -= importance * Math.log(Math.max(wanted ? share : 1 - share, 1e-12));
    return importance * (share - wanted);
  });
  return { gradient: { ...scores, values }, loss };
}

export interface TrainingOptions {
  /** Number of updates. */
  readonly rounds: number;
  /** Stretches for each update, and their length in steps. */
  readonly stretches: number;
  readonly steps: number;
  readonly rate: number;
  readonly progress?: (round: number, loss: number) => void;
}

/** Trains a detector on stretches of a plant, three in four of them with a fault. The same random source, the same network. */
export function trainDetector(source: Plant, random: Random, options: TrainingOptions): Network {
  const { rounds, stretches, steps, rate, progress } = options;
  const detector = network(random);
  startHead(detector, source, random);
  let sum = 0;
  for (let round = 1; round <= rounds; round++) {
    for (let index = 0; index < stretches; index++) {
      const kind =
        random.next() < 0.75 ? faultKinds[Math.floor(random.next() * faultKinds.length)] : undefined;
      const series = source.series(random, steps, kind);
      const { gradient, loss } = lossOf(detector.forward(activationsOf(series)), series, 3);
      detector.backward({ ...gradient, values: gradient.values.map((value) => value / stretches) });
      sum += loss / stretches;
    }
    // The rate rises for a twentieth of the time and then falls as a cosine: early steps do not wreck, late ones settle.
    const share = round / rounds;
    const rise = Math.min(share * 20, 1);
    adapt(detector.parameters(), rate * rise * (0.5 + 0.5 * Math.cos(Math.PI * share)), round);
    if (round % 20 === 0) {
      progress?.(round, sum / 20);
      sum = 0;
    }
  }
  return detector;
}
