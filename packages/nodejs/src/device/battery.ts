import { readNames, readSysNumber, readSysText } from "./sys-file.ts";

/** The machine's own battery. */
export interface BatteryState {
  /** Charge from 0 to 1; undefined where the driver does not say. */
  readonly chargeRatio: number | undefined;
  /** Whether it is being used up. */
  readonly discharging: boolean;
  /** The power drawn from it (or, while it charges, put into it), in milliwatts. */
  readonly powerMilliwatts: number | undefined;
}

const microPerMilli = 1000;

async function powerOf(folder: string, name: string): Promise<number | undefined> {
  // Some drivers count current as negative while it flows out.
  const power = await readSysNumber(folder, name, "power_now");
  if (power !== undefined) return Math.abs(power) / microPerMilli;
  const current = await readSysNumber(folder, name, "current_now");
  const voltage = await readSysNumber(folder, name, "voltage_now");
  if (current === undefined || voltage === undefined) return undefined;
  return Math.abs((current / 1e6) * (voltage / 1e6) * 1000);
}

/** Some drivers give a little more than all. */
const mostPercent = 110;

function isCharge(percent: number | undefined): percent is number {
  return percent !== undefined && percent >= 0 && percent <= mostPercent;
}

/** Reads the first battery of the machine itself; those of mice and keyboards do not count. */
export async function readBattery(sysClass: string): Promise<BatteryState | undefined> {
  const folder = `${sysClass}/power_supply`;
  for (const name of await readNames(folder)) {
    if ((await readSysText(folder, name, "type")) !== "Battery") continue;
    if ((await readSysText(folder, name, "scope")) === "Device") continue;
    const percent = await readSysNumber(folder, name, "capacity");
    return {
      chargeRatio: isCharge(percent) ? Math.min(1, percent / 100) : undefined,
      discharging: (await readSysText(folder, name, "status")) === "Discharging",
      powerMilliwatts: await powerOf(folder, name),
    };
  }
  return undefined;
}
