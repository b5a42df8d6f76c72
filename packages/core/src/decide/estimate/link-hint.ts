/**
 * Facts about a link before anything was sent over it, from a browser, an operating system or a person who knows the endpoint. They form a
 * prior only. System figures are rounded, capped, or about another server or the first hop. So the distribution over rates is wide, a part
 * of it stays the usual prior, and evidence replaces both. The usual part keeps a link with too low a hint in use. It does not apply to
 * transfers longer than a rate lasts, which continue at a mean: a few per cent at 4 Gbit/s would dominate the mean of a thin link.
 */
import type { Direction } from "../../wire/transport/index.ts";
import { type LinkModel, normalise, type RatePrior } from "./rate-model.ts";

/** Kind of a link, as far as it is known. */
export type LinkKind = "loopback" | "ethernet" | "wifi" | "cellular";

/** Facts about a link before it is used. Unknown facts are absent. Rates are of payload, in bits per second. */
export interface LinkHint {
  /** For display only: no rate follows from it. */
  readonly kind?: LinkKind;
  /** Rate from this device. Default: a quarter of the rate down. */
  readonly upBitsPerSecond?: number;
  /** Rate to this device. Default: the belief about the way up. */
  readonly downBitsPerSecond?: number;
  /** The rates are lower bounds, for example where the source caps its figures. Default false. */
  readonly atLeast?: boolean;
  readonly roundTripMs?: number;
}

/** Rate up over rate down: cable, DSL and mobile networks give most of their capacity to the way down. */
const upShareRatio = 1 / 4;
/** Spread of the log-rate around a stated figure. */
const toldLogSpread = 0.9;
/** Spread of the log-rate around a figure derived from the other direction. */
const impliedLogSpread = 1.2;
/** Share of the usual prior that stays. It is just visible in sixteen quantiles, so the link stays worth probes but not requests. */
const doubtRatio = 0.06;

/** Prior over the rates of one direction from a hint; undefined if the hint has no figure for this direction. */
export function hintedRates(
  model: LinkModel,
  hint: LinkHint | undefined,
  direction: Direction,
): RatePrior | undefined {
  const told = direction === "up" ? hint?.upBitsPerSecond : hint?.downBitsPerSecond;
  const implied = direction === "up" ? (hint?.downBitsPerSecond ?? NaN) * upShareRatio : NaN;
  const wanted = told ?? implied;
  if (!hint || !(wanted > 0) || wanted === Infinity) return undefined;
  const { slowestBitsPerSecond, fastestBitsPerSecond } = model.parameters;
  const centre = Math.log(Math.min(fastestBitsPerSecond, Math.max(slowestBitsPerSecond, wanted)));
  const step = Math.log(fastestBitsPerSecond / slowestBitsPerSecond) / (model.rates - 1);
  const spread = told === undefined ? impliedLogSpread : toldLogSpread;
  const believed = model.home.map((usual, rate) => {
    const away = (Math.log(slowestBitsPerSecond) + rate * step - centre) / spread;
    // A lower bound leaves the rate open: only lower rates lose weight. The factor 1.7 makes a logistic curve close to a normal one.
    return hint.atLeast ? usual / (1 + Math.exp(-1.7 * away)) : Math.exp(-0.5 * away ** 2);
  });
  normalise(believed);
  const home = believed.map(
    (weight, rate) => (1 - doubtRatio) * weight + doubtRatio * (model.home[rate] ?? 0),
  );
  return { home, lasting: believed };
}
