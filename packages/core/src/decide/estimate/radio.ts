/**
 * Power of a radio, after J. Huang, F. Qian, A. Gerber, Z. M. Mao, S. Sen, O. Spatscheck, "A Close Examination of Performance and Power
 * Characteristics of 4G LTE Networks" (MobiSys 2012). Power while moving data is linear in the rate, and the radio stays up for a tail
 * after the last byte. Every figure computed from it is an estimate.
 */
export interface Radio {
  /** Milliwatts for each Mbit/s, so also millijoules for each Mbit, above the base. */
  readonly upMillijoulesPerMegabit: number;
  readonly downMillijoulesPerMegabit: number;
  /** Watts while it sends or receives, whatever the rate. */
  readonly baseWatts: number;
  /** Watts while it waits, between bytes and after the last one. */
  readonly tailWatts: number;
  readonly tailMs: number;
  /** Energy of waking it up. */
  readonly promotionMillijoules: number;
}

/** Radios by kind, figures after Huang et al. (phones of 2012; newer ones draw several times less for each byte). */
export const radios: Readonly<Record<"lte" | "3g" | "wifi" | "wired", Radio>> = {
  lte: {
    upMillijoulesPerMegabit: 438.39,
    downMillijoulesPerMegabit: 51.97,
    baseWatts: 1.288,
    tailWatts: 1.06,
    tailMs: 11_600,
    promotionMillijoules: 315,
  },
  "3g": {
    upMillijoulesPerMegabit: 868.98,
    downMillijoulesPerMegabit: 122.12,
    baseWatts: 0.818,
    tailWatts: 0.804,
    tailMs: 8_100,
    promotionMillijoules: 382,
  },
  wifi: {
    upMillijoulesPerMegabit: 283.17,
    downMillijoulesPerMegabit: 137.01,
    baseWatts: 0.133,
    tailWatts: 0.119,
    tailMs: 240,
    promotionMillijoules: 10,
  },
  wired: {
    upMillijoulesPerMegabit: 0,
    downMillijoulesPerMegabit: 0,
    baseWatts: 0,
    tailWatts: 0,
    tailMs: 0,
    promotionMillijoules: 0,
  },
};

/** Whether a radio draws nothing at all, so that nothing has to be known of when it was on. */
export function drawsNothing(radio: Radio): boolean {
  return Object.values(radio).every((figure) => figure === 0);
}

/** Energy of moving bytes over the air, without the time it takes, in millijoules. */
export function bytesMillijoules(radio: Radio, sentBytes: number, receivedBytes: number): number {
  return (radio.upMillijoulesPerMegabit * sentBytes + radio.downMillijoulesPerMegabit * receivedBytes) * 8e-6;
}

/**
 * Energy of the radio's time for one exchange, in millijoules: while bytes move, while the request waits for its answer, and idle until the
 * next exchange if the radio stays up for that. The first `sharedMs` are charged to the exchanges whose bytes move first.
 */
export function radioTimeMillijoules(
  { radio, radioGapMs }: { readonly radio: Radio; readonly radioGapMs: number },
  onAirMs: number,
  awaitedMs: number,
  sharedMs: number,
): number {
  const idleMs = Math.max(0, radioGapMs - onAirMs - awaitedMs);
  return Math.max(0, onAirMs - sharedMs) * radio.baseWatts + (awaitedMs + idleMs) * radio.tailWatts;
}

/** Energy of this device for an exchange, estimated from its bytes and times. */
export function exchangeMillijoules(
  radio: Radio,
  sentBytes: number,
  receivedBytes: number,
  onAirMs: number,
  awaitedMs: number,
): number {
  return (
    bytesMillijoules(radio, sentBytes, receivedBytes) +
    onAirMs * radio.baseWatts +
    awaitedMs * radio.tailWatts
  );
}
