/** Axes: where a value lies in a picture, and which round numbers stand beside it. */

/** Maps values to pixels. */
export interface AxisScale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** How an axis is laid out. */
export interface AxisOptions {
  readonly min: number;
  readonly max: number;
  readonly fromPx: number;
  readonly toPx: number;
  readonly logarithmic?: boolean;
  /** About how many ticks are wanted. */
  readonly ticks: number;
}

/** Larger figures are drawn at the edge, so that spans stay finite. */
const largest = 1e300;
/** Spans that are smaller are none: parts of them would round to zero. */
const smallestSpan = 1e-290;

/** A linear or logarithmic axis. Bounds that make no span are widened. */
export function axisScale(options: AxisOptions): AxisScale {
  const { fromPx, toPx, logarithmic = false } = options;
  const min = Math.min(largest, Math.max(options.min, logarithmic ? 1e-9 : -largest));
  const wanted = Math.min(largest, options.max);
  const max =
    wanted - min > Math.max(smallestSpan, 1e-9 * Math.abs(min)) ? wanted : min + Math.max(1, Math.abs(min));
  const scaled = logarithmic ? Math.log : (value: number): number => value;
  const span = scaled(max) - scaled(min);
  return {
    at(value) {
      const inside = Math.min(max, Math.max(min, value));
      return fromPx + ((scaled(inside) - scaled(min)) / span) * (toPx - fromPx);
    },
    ticks: logarithmic ? logTicks(min, max, options.ticks) : roundTicks(min, max, options.ticks),
  };
}

/** Multiples of 1, 2 or 5 times a power of ten. */
export function roundTicks(min: number, max: number, wanted: number): readonly number[] {
  const rough = (max - min) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const ticks: number[] = [];
  const first = Math.ceil(min / step - 1e-9);
  const count = Math.min(50, Math.floor(max / step - first + 1e-9) + 1);
  for (let index = 0; index < count; index++) ticks.push((first + index) * step);
  return ticks;
}

function logTicks(min: number, max: number, wanted: number): readonly number[] {
  const decades = Math.log10(max / min);
  const factors = decades > wanted ? [1] : decades > wanted / 2 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  const stride = Math.max(1, Math.round(decades / wanted));
  for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power += stride) {
    for (const factor of factors) {
      const tick = factor * 10 ** power;
      if (tick >= min * 0.999 && tick <= max * 1.001) ticks.push(tick);
    }
  }
  return ticks.length >= 2 ? ticks : roundTicks(min, max, wanted).filter((tick) => tick > 0);
}

/** A number as people write it: three digits that count, thousands as k, millions as M. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "-" : value > 0 ? "never" : "-never";
  const size = Math.abs(value);
  if (size >= 1e9) return `${trim(value / 1e9)}G`;
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  return trim(value);
}

function trim(value: number): string {
  const size = Math.abs(value);
  const text = value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
