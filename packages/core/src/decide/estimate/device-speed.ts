import { type SpeedBelief, speedBelief, type SpeedBeliefOptions } from "./speed-belief.ts";

/**
 * How fast one device is against the machines that profiles were measured on. What was never run on it is believed to be
 * as much slower than its profile as what was: first other inputs of the same variant, else everything whose profile is
 * from the same machine.
 */
export interface DeviceSpeed {
  /**
   * A belief of its own for what is run here: `kin` names what is most alike (a variant of a version), `reference` the
   * machine of the profile. Without runs of its own and of others, it starts from `start` (default 1).
   */
  follow(reference: string, kin: string, start?: number): SpeedBelief;
  /** What is worth remembering after a restart: the latest belief of each kind that enough runs tell of. */
  remember(): readonly SpeedMemory[];
}

/** How fast something ran here, by what it is: see `DeviceSpeed.follow`. */
export interface SpeedMemory {
  readonly reference: string;
  readonly kin: string;
  /** Time over that of the profile. */
  readonly ratio: number;
}

/** After this time half of what was remembered of a speed counts: machines change rarely. */
const rememberedHalfLifeMs = 7 * 86_400_000;

/** Beliefs that others start from; the oldest goes. */
const mostFollowed = 64;
/** A belief of fewer runs says nothing to others: they may have been cold. */
const enoughRuns = 3;
/** From so many runs of all on, what is usual is worked out again for a tenth more of them only. */
const manyRuns = 100;

interface Followed {
  readonly reference: string;
  readonly kin: string;
  readonly speed: SpeedBelief;
}

/** Of a device on which nothing was run yet. `options` hold for all beliefs. */
export function deviceSpeed(
  options: Omit<SpeedBeliefOptions, "prior"> = {},
  remembered: readonly (SpeedMemory & { readonly ageMs: number })[] = [],
): DeviceSpeed {
  const followed: Followed[] = [];

  function usual(of: (one: Followed) => boolean): number | undefined {
    const ratios: number[] = [];
    for (const one of followed) if (one.speed.runs >= enoughRuns && of(one)) ratios.push(one.speed.mean());
    if (ratios.length === 0) return undefined;
    ratios.sort((a, b) => a - b);
    // The geometric mean of the middle two: neither of two models is more right than the other.
    const low = ratios[Math.floor((ratios.length - 1) / 2)] ?? 1;
    const high = ratios[Math.floor(ratios.length / 2)] ?? 1;
    return Math.sqrt(low * high);
  }

  /** What was remembered of such runs, the less of it the older it is. */
  function before(of: (one: SpeedMemory) => boolean, start: number): number | undefined {
    const ratios = remembered
      .filter(of)
      .map(({ ratio, ageMs }) => start * (ratio / start) ** (0.5 ** (ageMs / rememberedHalfLifeMs)))
      .sort((a, b) => a - b);
    return ratios[Math.floor(ratios.length / 2)];
  }

  return {
    remember() {
      const latest = new Map<string, SpeedMemory>();
      for (const { reference, kin, speed } of followed)
        if (speed.runs >= enoughRuns)
          latest.set(`${reference} ${kin}`, { reference, kin, ratio: speed.mean() });
      return [...latest.values()];
    },
    follow(reference, kin, start = 1) {
      const kinBefore = before((one) => one.kin === kin, start);
      const referenceBefore = before((one) => one.reference === reference, start);
      let known = kinBefore ?? referenceBefore ?? start;
      let knownAt = 0;
      const prior = (): number => {
        const runs = followed.reduce((sum, one) => sum + one.speed.runs, 0);
        // Decisions ask often, and soon one run more changes little.
        if (runs === knownAt || (runs < 1.1 * knownAt && runs > manyRuns)) return known;
        knownAt = runs;
        known =
          usual((one) => one.kin === kin) ??
          kinBefore ??
          usual((one) => one.reference === reference) ??
          referenceBefore ??
          start;
        return known;
      };
      const speed = speedBelief({ ...options, prior });
      followed.push({ reference, kin, speed });
      if (followed.length > mostFollowed) followed.shift();
      return speed;
    },
  };
}
