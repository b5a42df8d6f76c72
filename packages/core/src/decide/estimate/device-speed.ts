import { type SpeedBelief, speedBelief, type SpeedBeliefOptions } from "./speed-belief.ts";

/**
 * The speed of one device relative to the machines that profiles were measured on. A model that never ran here starts from the runs of
 * similar models: first other inputs of the same variant, then everything with a profile from the same machine.
 */
export interface DeviceSpeed {
  /**
   * Creates a separate belief for one kind of run. `kin` names the most similar runs (a variant of a version). `reference` names the
   * machine of the profile. The belief starts from `start` (default 1) if neither it nor similar models have runs.
   */
  follow(reference: string, kin: string, start?: number): SpeedBelief;
  /** Beliefs to keep over a restart: the latest of each kind with enough runs. */
  remember(): readonly SpeedMemory[];
}

/** Measured speed of one kind of run; see `DeviceSpeed.follow`. */
export interface SpeedMemory {
  readonly reference: string;
  readonly kin: string;
  /** Run time divided by the profiled time. */
  readonly ratio: number;
}

/** Half-life of a remembered speed. It is long because machines change rarely. */
const rememberedHalfLifeMs = 7 * 86_400_000;

/** Number of beliefs that others start from. The oldest is dropped first. */
const mostFollowed = 64;
/** A belief with fewer runs is not used for other models: its runs may have been cold. */
const enoughRuns = 3;
/** From this many runs in total, the usual speed is recomputed only after a tenth more runs. */
const manyRuns = 100;

interface Followed {
  readonly reference: string;
  readonly kin: string;
  readonly speed: SpeedBelief;
}

/** Starts without any run. `options` apply to all beliefs. */
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
    // Geometric mean of the middle two: with two models, neither is more right than the other.
    const low = ratios[Math.floor((ratios.length - 1) / 2)] ?? 1;
    const high = ratios[Math.floor(ratios.length / 2)] ?? 1;
    return Math.sqrt(low * high);
  }

  /** The remembered ratio of matching runs. Its weight falls with age. */
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
        // Decisions call this often, and one more run soon changes little.
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
