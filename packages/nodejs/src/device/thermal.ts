import { readNames, readSysNumber } from "./sys-file.ts";

/** Sensors that are switched off report figures far outside of this. */
export const plausibleCelsius: { readonly least: number; readonly most: number } = { least: -60, most: 150 };

/** Temperatures of the machine's thermal zones in degrees Celsius. */
export async function readThermalZones(sysClass: string): Promise<readonly number[]> {
  const folder = `${sysClass}/thermal`;
  const zones: number[] = [];
  for (const name of await readNames(folder)) {
    if (!name.startsWith("thermal_zone")) continue;
    const millidegrees = await readSysNumber(folder, name, "temp");
    if (millidegrees === undefined) continue;
    const celsius = millidegrees / 1000;
    if (celsius > plausibleCelsius.least && celsius < plausibleCelsius.most) zones.push(celsius);
  }
  return zones;
}
