/** Learns how bursty a link's packets come: the variance of their count in a tick over its mean. */
export interface DispersionMeter {
  /** A tick of known work brought `packets`; `whole` says that the link was busy through all of it. */
  count(packets: number, whole: boolean): void;
  /** At least what the meter began with. */
  readonly dispersion: number;
}

const weight = 0.03;
const most = 30;

/**
 * Half the squared difference of two neighbouring counts over their mean estimates the dispersion without knowing the
 * rate, as long as the rate moves slowly (J. von Neumann's mean square successive difference, 1941). Pairs in which
 * nothing came say nothing: they may lie in an outage.
 */
export function dispersionMeter(least: number): DispersionMeter {
  let mean = least;
  let last: number | undefined;
  return {
    count(packets, whole) {
      if (!whole) {
        last = undefined;
        return;
      }
      if (last !== undefined && packets > 0 && last > 0) {
        const seen = (packets - last) ** 2 / (packets + last);
        mean += weight * (Math.min(most, seen) - mean);
      }
      last = packets;
    },
    get dispersion() {
      return Math.max(least, mean);
    },
  };
}
