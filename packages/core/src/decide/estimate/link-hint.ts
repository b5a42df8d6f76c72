/**
 * What is known of a link before anything was sent over it: what a browser or an operating system tells, or somebody who knows
 * the endpoint. It is a prior and no more. What a system tells is rounded, capped, of another server or of the first hop only; so
 * its distribution over rates is wide, a part of it stays what is believed of any link, and both give way to what is seen. That
 * part is what keeps links tried of which too little was told. It does not count for what takes longer than a rate lasts, and
 * goes on at a mean: a few in a hundred at 4 Gbit/s would be most of the mean of a thin link.
 */
import type { Direction } from "../../wire/transport/index.ts";
import { type LinkModel, normalise, type RatePrior } from "./rate-model.ts";

/** What a link runs over, as far as it is told. */
export type LinkKind = "loopback" | "ethernet" | "wifi" | "cellular";

/** What is known of a link before it is used. What nobody tells is left out; rates are of payload, in bits per second. */
export interface LinkHint {
  /** Told to people: no rate follows from it. */
  readonly kind?: LinkKind;
  /** From here to there. Default: a quarter of the rate down. */
  readonly upBitsPerSecond?: number;
  /** From there to here. Default: what is believed of the way up. */
  readonly downBitsPerSecond?: number;
  /** The rates are the least that the link does, as where whoever measures them stops counting. Default false. */
  readonly atLeast?: boolean;
  readonly roundTripMs?: number;
}

/** Rates up that follow from rates down: cable, DSL and mobile networks give most of what they have to the way down. */
const upShareRatio = 1 / 4;
/** Spread of the log-rate around a stated figure. */
const toldLogSpread = 0.9;
/** Spread of the log-rate around a figure that follows from the other direction's. */
const impliedLogSpread = 1.2;
/**
 * How much of the usual prior stays: as much as is just seen in sixteen quantile values, so that probes are worth their bytes
 * and requests are not.
 */
const doubtRatio = 0.06;

/** What is believed of the rates of one direction by a hint; undefined where it says nothing of this direction. */
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
    // The least that it does leaves open what it does: rates below lose weight. 1.7 makes a logistic curve a normal one.
    return hint.atLeast ? usual / (1 + Math.exp(-1.7 * away)) : Math.exp(-0.5 * away ** 2);
  });
  normalise(believed);
  const home = believed.map(
    (weight, rate) => (1 - doubtRatio) * weight + doubtRatio * (model.home[rate] ?? 0),
  );
  return { home, lasting: believed };
}
