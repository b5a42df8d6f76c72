import type { Clock } from "@longshore/core";
import type { DeviceHealth } from "@longshore/core/internal";
import { type BatteryState, readBattery } from "./battery.ts";
import { type EnergyCounter, energyCounter } from "./energy-counter.ts";
import { type CoreTimes, systemCoreTimes } from "./load-meter.ts";
import { readNames, readSysNumber, readSysText } from "./sys-file.ts";
import { plausibleCelsius } from "./thermal.ts";

/** Where a system shows its sensors, and how often they are read. */
export interface DeviceMonitorOptions {
  readonly clock: Clock;
  /** Default `/sys/class`. */
  readonly sysClass?: string;
  /** Default `/proc`. */
  readonly proc?: string;
  /** Readings older than this are replaced at the next read. Default 5,000. */
  readonly everyMs?: number;
  /** Busy and idle time of all cores; default: the operating system's. */
  readonly coreTimes?: () => CoreTimes;
}

/** Sensors of this machine. Every reading is the latest one; reading an old one starts a new measurement in the background. */
export interface DeviceMonitor {
  /** Undefined on machines without a battery. */
  battery(): { readonly ratio: number; readonly charging: boolean } | undefined;
  /** Heat, throttling, short memory and a low battery. */
  health(): DeviceHealth;
  /**
   * Energy of one busy millisecond of one core, in millijoules, which is its power in watts: the processor's energy counters,
   * else the battery's discharge, shared among all work of that time. Undefined if neither can be read, and before two
   * readings.
   */
  millijoulesPerMs(): number | undefined;
  /** Reads all sensors now. Never rejects. */
  read(): Promise<void>;
}

/** A zone begins to count this far below the temperature at which the system throttles it. */
const warmRangeCelsius = 15;
/** Where a zone does not say at which temperature it is throttled. */
const usualLimitCelsius = 95;
/** Share of time in which some program waited for memory: where it begins to count, and where it counts fully. */
const pressure = { from: 0.1, full: 0.5 };
/** A battery that is being used up counts below this charge. */
const lowCharge = 0.3;
/** Energy is believed over intervals of at most a minute, since counters start again, in which the cores were busy for some of the time. */
const longestIntervalMs = 60_000;
const leastBusyRatio = 0.05;
/** No machine that runs this draws more: a counter that did not wrap at its end, or a driver with another unit. */
const mostWatts = 10_000;
/** Weight of the latest interval. */
const latestWeight = 0.3;

/**
 * Watches the sensors of this machine, and only while they are read. A value that the system does not show counts as healthy.
 *
 * @example
 * ```ts
 * import { deviceMonitor, systemClock } from "@longshore/nodejs";
 *
 * const monitor = deviceMonitor({ clock: systemClock() });
 * await monitor.read();
 * console.log(monitor.health().strainRatio >= 0); // true
 * ```
 */
export function deviceMonitor(options: DeviceMonitorOptions): DeviceMonitor {
  const { clock, sysClass = "/sys/class", proc = "/proc", everyMs = 5000 } = options;
  const energy = energyShare(options.coreTimes ?? systemCoreTimes);
  let counter: Promise<EnergyCounter | undefined> | undefined;
  let battery: BatteryState | undefined;
  let health: DeviceHealth = well;
  let readAtMs = -Infinity;
  let reading: Promise<void> | undefined;

  const readAll = async (): Promise<void> => {
    const [power, heat, short] = await Promise.all([
      readBattery(sysClass),
      readHeat(sysClass),
      readPressure(proc),
    ]);
    battery = power;
    health = worst([heat, short, chargeHealth(power)]);
    const measured = await (counter ??= energyCounter(sysClass)).then((one) => one?.readMillijoules());
    energy.seen(clock.nowMs(), measured, power?.discharging ? power.powerMilliwatts : undefined);
    readAtMs = clock.nowMs();
  };
  const read = (): Promise<void> => (reading ??= readAll().finally(() => (reading = undefined)));
  const fresh = (): void => {
    if (clock.nowMs() - readAtMs > everyMs) void read();
  };
  return {
    battery() {
      fresh();
      const ratio = battery?.chargeRatio;
      return battery && ratio !== undefined ? { ratio, charging: !battery.discharging } : undefined;
    },
    health() {
      fresh();
      return health;
    },
    millijoulesPerMs() {
      fresh();
      return energy.perBusyMs();
    },
    read,
  };
}

const well: DeviceHealth = { strainRatio: 0 };

function worst(all: readonly DeviceHealth[]): DeviceHealth {
  return all.reduce((most, one) => (one.strainRatio > most.strainRatio ? one : most), well);
}

const share = (value: number, from: number, full: number): number =>
  Math.min(1, Math.max(0, (value - from) / (full - from)));

function chargeHealth(battery: BatteryState | undefined): DeviceHealth {
  if (!battery?.discharging || battery.chargeRatio === undefined) return well;
  const strainRatio = share(lowCharge - battery.chargeRatio, 0, lowCharge);
  return strainRatio > 0 ? { strainRatio, why: `its battery is at ${percent(battery.chargeRatio)}` } : well;
}

const percent = (ratio: number): string => `${(ratio * 100).toFixed(0)} %`;

/** The hottest zone against the temperature at which the system throttles it, and whether it throttles the processor now. */
async function readHeat(sysClass: string): Promise<DeviceHealth> {
  const folder = `${sysClass}/thermal`;
  const found: DeviceHealth[] = [];
  for (const name of await readNames(folder)) {
    if (name.startsWith("cooling_device")) {
      const type = (await readSysText(folder, name, "type")) ?? "";
      const state = (await readSysNumber(folder, name, "cur_state")) ?? 0;
      if (/processor|cpu/i.test(type) && state > 0)
        found.push({ strainRatio: 1, why: "its processor is throttled" });
    } else if (name.startsWith("thermal_zone")) found.push(await readZone(folder, name));
  }
  return worst(found);
}

async function readZone(folder: string, zone: string): Promise<DeviceHealth> {
  const celsius = ((await readSysNumber(folder, zone, "temp")) ?? NaN) / 1000;
  if (!(celsius > plausibleCelsius.least && celsius < plausibleCelsius.most)) return well;
  let limit = usualLimitCelsius;
  for (const file of await readNames(folder, zone)) {
    const point = /^trip_point_(\d+)_type$/.exec(file)?.[1];
    if (point === undefined || (await readSysText(folder, zone, file)) !== "passive") continue;
    const trip = ((await readSysNumber(folder, zone, `trip_point_${point}_temp`)) ?? NaN) / 1000;
    if (trip > plausibleCelsius.least && trip < plausibleCelsius.most) limit = Math.min(limit, trip);
  }
  const strainRatio = share(celsius, limit - warmRangeCelsius, limit);
  return strainRatio > 0 ? { strainRatio, why: `it is at ${celsius.toFixed(0)} °C` } : well;
}

/** Linux' pressure stall information: the share of the last ten seconds in which some program waited for memory. */
async function readPressure(proc: string): Promise<DeviceHealth> {
  const [, written] =
    /^some avg10=(\d+(?:\.\d+)?)/.exec((await readSysText(proc, "pressure", "memory")) ?? "") ?? [];
  const ratio = Math.min(1, Number(written ?? 0) / 100);
  const strainRatio = share(ratio, pressure.from, pressure.full);
  return strainRatio > 0
    ? { strainRatio, why: `programs wait for memory ${percent(ratio)} of the time` }
    : well;
}

/** Shares measured energy among the cores' busy time. */
function energyShare(coreTimes: () => CoreTimes): {
  seen(atMs: number, millijoules: number | undefined, dischargeMilliwatts: number | undefined): void;
  perBusyMs(): number | undefined;
} {
  let last:
    | { readonly atMs: number; readonly times: CoreTimes; readonly millijoules: number | undefined }
    | undefined;
  let perMs: number | undefined;
  return {
    seen(atMs, millijoules, dischargeMilliwatts) {
      const times = coreTimes();
      const before = last;
      last = { atMs, times, millijoules };
      if (!before || atMs - before.atMs > longestIntervalMs) return;
      const busyMs = times.all - times.idle - (before.times.all - before.times.idle);
      const allMs = times.all - before.times.all;
      if (!(allMs > 0) || busyMs < leastBusyRatio * allMs) return;
      const used =
        millijoules !== undefined && before.millijoules !== undefined
          ? millijoules - before.millijoules
          : dischargeMilliwatts === undefined
            ? undefined
            : (dischargeMilliwatts * (atMs - before.atMs)) / 1000;
      if (used === undefined || !(used > 0) || used > mostWatts * (atMs - before.atMs)) return;
      const latest = used / busyMs;
      perMs = perMs === undefined ? latest : perMs + latestWeight * (latest - perMs);
    },
    perBusyMs: () => perMs,
  };
}
