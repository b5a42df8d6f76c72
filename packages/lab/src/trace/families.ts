/**
 * Families of made-up links, for what recorded ones do not show: a way of deciding that was chosen on some networks is tried
 * on others. Each is a short program of rates; none copies a recorded link. Same family, seed and length: same trace.
 */
import { type Random, seededRandom } from "@longshore/core";
import { exponential } from "@longshore/core/internal";
import { leavingAtRandom, rateStepMs, wandering } from "./generate.ts";
import { type RateEntry, rateTrace, type Trace } from "./trace.ts";

const megabit = 1e6;

/** Bits per second at an instant; called in steps of 20 ms, in order. */
type Program = (atMs: number, lengthMs: number) => number;

/** The families by name: the kind of link, and how its rate is drawn. */
const programs: Readonly<Record<string, (random: Random) => Program>> = {
  /** Jumps between five rates, none of which is usual, and sometimes stops. */
  "markov-modulated": (random) => {
    const rates = [0.4, 1.2, 3, 8, 20].map((rate) => rate * megabit);
    return holding(random, (last) => {
      const stops = last !== 0 && random.next() < 0.15;
      if (stops) return { bitsPerSecond: 0, forMs: exponential(random, 1200) };
      return { bitsPerSecond: pick(random, rates), forMs: exponential(random, 6000) };
    });
  },
  /** Climbs for some seconds and falls back at once, as under a congestion control that probes. */
  sawtooth: (random) => {
    let fromMs = 0;
    let forMs = 0;
    return (atMs) => {
      if (atMs >= fromMs + forMs) {
        fromMs = atMs;
        forMs = 4000 + 6000 * random.next();
      }
      return (1.5 + (10.5 * (atMs - fromMs)) / forMs) * megabit;
    };
  },
  /** Good for a while, then gone for seconds: a lift, a cellar, a dead zone. */
  "long-outages": (random) =>
    holding(random, (last) =>
      last === 0
        ? { bitsPerSecond: 10 * megabit, forMs: 3000 + exponential(random, 12_000) }
        : { bitsPerSecond: 0, forMs: 1000 + exponential(random, 5000) },
    ),
  /** Falls through two powers of ten in one trace, without a jump. */
  drift: (random) => {
    const noise = wandering(random, 0.1, 1000);
    return (atMs, lengthMs) => 30 * megabit * Math.exp(-Math.LN10 * 2 * (atMs / lengthMs) + noise());
  },
  /** Far too thin for anything: staying is right, and every try is a loss. */
  "slow-constant": () => () => 0.12 * megabit,
  /** A rate in the middle, where the size of inputs and the speed of the endpoint decide. */
  "middling-constant": () => () => 4 * megabit,
  /** Never a reason to stay. */
  "quick-constant": () => () => 300 * megabit,
  /** Shared air: fast, with gaps while others send, and spells in which little is left. */
  "bursty-wifi": (random) => {
    const noise = wandering(random, 0.4, 300);
    const crowded = holding(random, (last) => ({
      bitsPerSecond: last === 1 ? 0.06 : 1,
      forMs: exponential(random, last === 1 ? 1500 : 9000),
    }));
    const gaps = holding(random, (last) =>
      last === 0
        ? { bitsPerSecond: 1, forMs: 10 + exponential(random, 120) }
        : { bitsPerSecond: 0, forMs: 5 + exponential(random, 25) },
    );
    return (atMs, lengthMs) =>
      45 * megabit * Math.exp(noise()) * crowded(atMs, lengthMs) * gaps(atMs, lengthMs);
  },
  /** A new satellite every 15 seconds: another rate, after a short silence. */
  satellites: (random) => {
    let slot = -1;
    let rate = 0;
    const noise = wandering(random, 0.15, 500);
    return (atMs) => {
      const now = Math.floor(atMs / 15_000);
      if (now !== slot) {
        slot = now;
        rate = (2 + 18 * random.next()) * megabit * (random.next() < 0.2 ? 0.2 : 1);
      }
      return atMs % 15_000 < 150 ? 0 : rate * Math.exp(noise());
    };
  },
  /** A home line of one rate, of which others at times take most. */
  "shared-line": (random) =>
    holding(random, (last) =>
      last === 10 * megabit
        ? { bitsPerSecond: 1.2 * megabit, forMs: exponential(random, 8000) }
        : { bitsPerSecond: 10 * megabit, forMs: exponential(random, 15_000) },
    ),
  /** Cells along a street: swings within seconds, slow stretches, short stops. */
  bus: (random) => {
    const slow = wandering(random, 0.8, 9000);
    const quick = wandering(random, 0.35, 700);
    const stops = holding(random, (last) =>
      last === 0
        ? { bitsPerSecond: 1, forMs: exponential(random, 14_000) }
        : { bitsPerSecond: 0, forMs: exponential(random, 600) },
    );
    return (atMs, lengthMs) => 2.5 * megabit * Math.exp(slow() + quick()) * stops(atMs, lengthMs);
  },
  /** Cells along a railway, weak between them, and two tunnels of 20 seconds. */
  train: (random) => {
    const quick = wandering(random, 0.3, 800);
    const tunnels = [0.2 + 0.15 * random.next(), 0.6 + 0.2 * random.next()];
    return (atMs, lengthMs) => {
      const level = 0.7 + 1.6 * Math.sin((atMs / 23_000) * Math.PI) ** 2;
      const under = tunnels.some((at) => atMs >= at * lengthMs && atMs < at * lengthMs + 20_000);
      return under ? 0.02 * megabit : megabit * Math.exp(level + quick() - 1.2);
    };
  },
};

/** Wires carry evenly; over the air packets leave at random. */
const wires: readonly string[] = ["slow-constant", "middling-constant", "quick-constant", "shared-line"];

/** Names of the families of `familyTrace`. */
export const traceFamilies: readonly string[] = Object.keys(programs);

/** A link of that family. Unknown names are refused. */
export function familyTrace(family: string, seed: number, lengthMs = 180_000): Trace {
  const draw = programs[family];
  if (!draw) throw new RangeError(`no family "${family}"; there are ${traceFamilies.join(", ")}`);
  const random = seededRandom(seed * 1009 + traceFamilies.indexOf(family));
  const program = draw(random);
  const entries: RateEntry[] = [];
  for (let fromMs = 0; fromMs < lengthMs; fromMs += rateStepMs)
    entries.push({ fromMs, bitsPerSecond: program(fromMs, lengthMs) });
  const rates = rateTrace(`${family} (synthetic, seed ${seed})`, entries, lengthMs, "synthetic");
  return wires.includes(family) ? rates : leavingAtRandom(rates, random);
}

/** A rate that holds for a time and is then drawn again, in view of the last one. */
function holding(
  random: Random,
  next: (last: number) => { readonly bitsPerSecond: number; readonly forMs: number },
): Program {
  // Where in its span the first one stands is drawn, too.
  let now = next(0);
  let untilMs = now.forMs * random.next();
  return (atMs) => {
    while (atMs >= untilMs) {
      now = next(now.bitsPerSecond);
      untilMs += Math.max(rateStepMs, now.forMs);
    }
    return now.bitsPerSecond;
  };
}

function pick(random: Random, list: readonly number[]): number {
  return list[Math.floor(random.next() * list.length)] ?? 0;
}
