/**
 * What a place's runs took over what it promised. Promises are corrected by what was observed: a place that claims one
 * millisecond and takes three hundred is charged three hundred after the first answer. The correction fades with time, so
 * that a place that was slow is tried again.
 */
export interface ServiceRatio {
  seen(tookMs: number, promisedMs: number, nowMs: number): void;
  /** Factor for promised times; 1 before anything was seen. */
  ratio(nowMs: number): number;
}

/** A mean of logarithms: each observation weighs 0.3, up to a factor of 1,000; half of it is forgotten in `halfLifeMs`. */
export function serviceRatio(halfLifeMs = 30_000): ServiceRatio {
  let log = 0;
  let noted = 0;
  const faded = (nowMs: number): number =>
    log === 0 ? 0 : log * 0.5 ** (Math.max(0, nowMs - noted) / halfLifeMs);
  return {
    seen(tookMs, promisedMs, nowMs) {
      if (!(tookMs > 0) || !(promisedMs > 0)) return;
      // Differences below a millisecond say nothing about a place.
      const said = Math.log((tookMs + 1) / (promisedMs + 1));
      const before = faded(nowMs);
      // A promise that was missed by far is believed at once; small differences are averaged.
      const weight = said - before > 1 ? 0.7 : 0.3;
      log = Math.max(-3, Math.min(6.9, before + weight * (said - before)));
      noted = nowMs;
    },
    ratio: (nowMs) => Math.exp(faded(nowMs)),
  };
}
