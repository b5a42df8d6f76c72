/** A source of random numbers, injected and seeded, so that a run can be replayed. */
export interface Random {
  /** The next draw, uniform in [0, 1). */
  next(): number;
}

/**
 * A small fast generator with 32 bits of state (mulberry32, after T. Ettinger), good enough for tie-breaking, jitter
 * and simulated traffic; not for secrets.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next(): number {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    },
  };
}

/** A draw from the exponential distribution with the given mean. */
export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random.next());
}

/** A draw from the standard normal distribution (Box and Muller, 1958). */
export function gaussian(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
  return radius * Math.cos(2 * Math.PI * random.next());
}

/** A short identifier of 16 hexadecimal digits, unique enough to join log lines and spans. */
export function randomId(random: Random): string {
  const high = Math.floor(random.next() * 4294967296);
  const low = Math.floor(random.next() * 4294967296);
  const digit = (word: number, shift: number): number => {
    const value = (word >>> shift) & 15;
    return value < 10 ? 48 + value : 87 + value;
  };
  // Every request gets one. Made of its characters at once, it takes a tenth of what texts of numbers would.
  return String.fromCharCode(
    digit(high, 28),
    digit(high, 24),
    digit(high, 20),
    digit(high, 16),
    digit(high, 12),
    digit(high, 8),
    digit(high, 4),
    digit(high, 0),
    digit(low, 28),
    digit(low, 24),
    digit(low, 20),
    digit(low, 16),
    digit(low, 12),
    digit(low, 8),
    digit(low, 4),
    digit(low, 0),
  );
}

/** An identifier of a trace: 32 hexadecimal digits, never all zeros. */
export function newTraceId(random: Random): string {
  return `${newSpanId(random)}${randomId(random)}`;
}

/** An identifier of a span: 16 hexadecimal digits, never all zeros, which would mean none. */
export function newSpanId(random: Random): string {
  const id = randomId(random);
  return /[^0]/.test(id) ? id : "0000000000000001";
}
