/** Learns how bursty the packets of a link are: the variance of their count over its mean. */
export interface DispersionMeter {
  /** Counts one tick of known work with `packets`. `whole` means that the link was busy for all of it. */
  count(packets: number, whole: boolean): void;
  /** The prior until pairs were measured; far below 1 on a line with an even flow. */
  readonly dispersion: number;
}

/** Weight of one new pair. */
const weight = 0.03;
/** Number of pairs that the prior counts for. */
const priorPairs = 10;
/** Upper limit of the estimate from one pair. */
const most = 30;
/** Lower limit of the dispersion of any link. */
const least = 0.1;
/** Ticks are joined until a span holds about this many packets: spans of one packet or none show nothing. */
const spanPackets = 4;
/** Longest span, in ticks. */
const mostTicks = 5;
/** An empty span next to this many packets is an outage and not a burst effect. */
const surely = 2 * spanPackets;

/**
 * Half the squared difference of two neighbouring counts over their mean estimates the dispersion without knowing the
 * rate, as long as the rate moves slowly (J. von Neumann's mean square successive difference, 1941). Spans are as short as
 * the packets allow, because over longer ones the rate moves; pairs of few packets weigh less.
 */
export function dispersionMeter(prior: number): DispersionMeter {
  let spread = prior * priorPairs;
  let pairs = priorPairs;
  let perTick = NaN;
  let packetsNow = 0;
  let ticksNow = 0;
  let last: number | undefined;

  function compare(one: number, other: number): void {
    const mean = (one + other) / 2;
    if (mean === 0 || (Math.min(one, other) === 0 && Math.max(one, other) >= surely)) return;
    const share = Math.min(1, mean / spanPackets);
    spread = (1 - weight) * spread + share * Math.min(most, (one - other) ** 2 / 2 / mean);
    pairs = (1 - weight) * pairs + share;
  }

  return {
    count(packets, whole) {
      if (!whole) {
        last = undefined;
        packetsNow = 0;
        ticksNow = 0;
        return;
      }
      perTick = Number.isNaN(perTick) ? packets : perTick + weight * (packets - perTick);
      packetsNow += packets;
      ticksNow += 1;
      if (ticksNow < Math.min(mostTicks, Math.round(spanPackets / perTick))) return;
      if (last !== undefined) compare(packetsNow, last);
      last = packetsNow;
      packetsNow = 0;
      ticksNow = 0;
    },
    get dispersion() {
      return Math.max(least, spread / pairs);
    },
  };
}
