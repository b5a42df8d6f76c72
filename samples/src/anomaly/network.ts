import { type Random } from "@longshore/core";
import { type Activations, convolution, type Convolution, type LayerParameters } from "./layer.ts";
import { channels, faultKinds } from "./series.ts";

/** Outputs of the entry: four for each sensor. */
const entryChannels = 4 * channels;
const entryStride = 2;

/** Width of the waist and its steps, as a share of the window's; width of the body and the dilations of its layers. */
export const waistChannels = 16;
export const frameSteps = 8;
const bodyChannels = 128;
const dilations: readonly number[] = [1, 2, 4, 8, 16, 1, 2, 4];

/**
 * The detector while it is trained. A light head (two strided convolutions) brings the readings down to a **waist**: 16
 * channels at an eighth of the steps, 1/16 of the input. A heavy body of residual dilated convolutions judges each frame of
 * eight steps. So a weak device can run the head and send the waist.
 */
export interface Network {
  readonly entry: Convolution;
  readonly waist: Convolution;
  readonly spread: Convolution;
  readonly body: readonly Convolution[];
  readonly exit: Convolution;
  /** Fault scores before the sigmoid, `[frames, kinds]`. The number of steps is a multiple of `frameSteps`. */
  forward(input: Activations): Activations;
  backward(gradient: Activations): void;
  parameters(): readonly LayerParameters[];
}

function mapped(input: Activations, change: (value: number, at: number) => number): Activations {
  return { ...input, values: input.values.map(change) };
}

const relu = (input: Activations): Activations => mapped(input, (value) => (value > 0 ? value : 0));

/** The gradient where the rectifier let its input through. */
function through(gradient: Activations, output: Activations): Activations {
  return mapped(gradient, (value, at) => ((output.values[at] as number) > 0 ? value : 0));
}

export function network(random: Random): Network {
  const plain = { stride: 1, dilation: 1, before: 0, kernel: 1 };
  const entry = convolution(
    { from: channels, to: entryChannels, kernel: 4, stride: entryStride, dilation: 1, before: 1 },
    random,
  );
  const waist = convolution(
    {
      from: entryChannels,
      to: waistChannels,
      kernel: 4,
      stride: frameSteps / entryStride,
      dilation: 1,
      before: 0,
    },
    random,
    0.7,
  );
  const spread = convolution({ ...plain, from: waistChannels, to: bodyChannels }, random);
  const body = dilations.map((dilation) =>
    convolution(
      { from: bodyChannels, to: bodyChannels, kernel: 3, stride: 1, dilation, before: dilation },
      random,
      0.5,
    ),
  );
  const exit = convolution({ ...plain, from: bodyChannels, to: faultKinds.length }, random, 0.2);
  const all = [entry, waist, spread, ...body, exit];
  let entered: Activations | undefined;
  let narrow: Activations | undefined;
  let wide: Activations | undefined;
  let bent: Activations[] = [];
  return {
    entry,
    waist,
    spread,
    body,
    exit,
    forward(input) {
      entered = relu(entry.forward(input));
      narrow = mapped(waist.forward(entered), Math.tanh);
      wide = relu(spread.forward(narrow));
      let flow = wide;
      bent = [];
      for (const layer of body) {
        const out = relu(layer.forward(flow));
        bent.push(out);
        const before = flow.values;
        flow = mapped(out, (value, at) => value + (before[at] as number));
      }
      return exit.forward(flow);
    },
    backward(gradient) {
      if (!entered || !narrow || !wide) throw new Error("backward before forward");
      let flow = exit.backward(gradient);
      for (let index = body.length - 1; index >= 0; index--) {
        const [layer, out] = [body[index], bent[index]];
        if (!layer || !out) continue;
        const inner = layer.backward(through(flow, out));
        flow = mapped(flow, (value, at) => value + (inner.values[at] as number));
      }
      const squashed = narrow.values;
      const bend = mapped(
        spread.backward(through(flow, wide)),
        (value, at) => value * (1 - (squashed[at] as number) ** 2),
      );
      entry.backward(through(waist.backward(bend), entered));
    },
    parameters: () => all.flatMap(({ weights, bias }) => [weights, bias]),
  };
}
