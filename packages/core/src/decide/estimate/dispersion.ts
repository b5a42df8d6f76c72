/** Learns how bursty a link's packets come: the variance of their count over its mean. */
export interface DispersionMeter {
  /** A tick of known work brought `packets`; `whole` says that the link was busy through all of it. */
  count(packets: number, whole: boolean): void;
  /** What the meter began with at first; far below 1 on a line that carries evenly. */
  readonly dispersion: number;
}

/** Share of the belief that one more pair replaces. */
const weight = 0.03;
/** Pairs that the first belief counts for. */
const priorPairs = 10;
/** The most that one pair can show. */
const most = 30;
/** No link is believed to be more even than this. */
const least = 0.1;
/** Ticks are joined until about this many packets fall in a span: spans of one packet or none show nothing. */
const spanPackets = 4;
/** The most ticks of a span. */
const mostTicks = 5;
/** Next to so many packets an empty span is an outage, no matter of bursts. */
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
