import { readNames, readSysNumber, readSysText } from "./sys-file.ts";

/** Energy that the processor has taken since the counter was made. Always measured, never estimated. */
export interface EnergyCounter {
  /**
   * Millijoules so far, over all sockets; undefined when a counter can no longer be read. The hardware counters start
   * again after some minutes at full load, so they have to be read more often than that to be right.
   */
  readMillijoules(): Promise<number | undefined>;
}

interface Domain {
  readonly name: string;
  /** Value after which the counter starts again at 0, in microjoules. */
  readonly wrapsAt: number;
  last: number;
}

/** Whether a reading is one that a counter of this range can have. */
function isWithin(value: number | undefined, range: number): value is number {
  return value !== undefined && value >= 0 && value <= range;
}

/**
 * Intel's and AMD's running average power limit counters (RAPL), which Linux shows in `/sys/class/powercap`: whole
 * sockets (`package-0`...), of which cores and memory controllers are parts and not counted again. Undefined where there
 * are none or only root may read them, which is the rule on distributions since 2020 (the counters leak secrets).
 *
 * @example
 * ```ts
 * import { energyCounter } from "@longshore/nodejs";
 *
 * // Undefined where there is no counter, or only root may read it.
 * const counter = await energyCounter();
 * if (counter) console.warn(await counter.readMillijoules());
 * ```
 */
export async function energyCounter(sysClass: string = "/sys/class"): Promise<EnergyCounter | undefined> {
  const folder = `${sysClass}/powercap`;
  const domains: Domain[] = [];
  for (const name of await readNames(folder)) {
    if (!(await readSysText(folder, name, "name"))?.startsWith("package")) continue;
    const last = await readSysNumber(folder, name, "energy_uj");
    const range = await readSysNumber(folder, name, "max_energy_range_uj");
    if (range === undefined || !(range > 0) || !isWithin(last, range)) return undefined;
    domains.push({ name, wrapsAt: range + 1, last });
  }
  if (domains.length === 0) return undefined;
  let microjoules = 0;
  return {
    async readMillijoules() {
      const values = await Promise.all(domains.map(({ name }) => readSysNumber(folder, name, "energy_uj")));
      if (!values.every((value, at) => isWithin(value, (domains[at]?.wrapsAt ?? 0) - 1))) return undefined;
      for (const [index, domain] of domains.entries()) {
        const value = values[index] ?? domain.last;
        microjoules += value >= domain.last ? value - domain.last : value + domain.wrapsAt - domain.last;
        domain.last = value;
      }
      return microjoules / 1000;
    },
  };
}
