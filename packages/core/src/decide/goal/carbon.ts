import { LongshoreError, type ZoneId } from "../../words/base/index.ts";

/**
 * Grams of CO2 of a kilowatt hour in each zone: all day, or by hours of the day in UTC, such as `{ "0-7": 40, "7-24": 90 }`. The figure of a
 * zone holds for the zones inside it that have none. `device` is this device.
 */
export type CarbonZones = Readonly<Record<ZoneId, number | Readonly<Record<string, number>>>>;

/** How much CO2 the electricity of each zone stands for. */
export interface CarbonIntensity {
  /** Grams of CO2 of a kilowatt hour in a zone at a moment, in milliseconds since the Unix epoch; undefined if nothing is stated. */
  gramsPerKilowattHour(zone: ZoneId, wallMs: number): number | undefined;
}

/** No grid comes near: a greater figure has another unit. */
const mostGrams = 10_000;
const hoursOfDay = 24;
const hourMs = 3_600_000;

/** Micrograms of CO2 of so much energy. */
export function microgramsOf(millijoules: number, gramsPerKilowattHour: number): number {
  return (millijoules * gramsPerKilowattHour) / 3600;
}

/**
 * Reads what is stated of zones. `where` is its path, such as `carbon.zones`. Throws `invalid-configuration` with path and value for figures
 * outside 0 to 10,000, and for hours that overlap or leave a part of the day out.
 */
export function carbonIntensity(zones: CarbonZones, where: string): CarbonIntensity {
  const byZone = new Map<ZoneId, Float64Array>();
  for (const [zone, stated] of Object.entries(zones)) byZone.set(zone, hoursOf(stated, `${where}.${zone}`));
  return {
    gramsPerKilowattHour(zone, wallMs) {
      const hour = Math.floor((((wallMs / hourMs) % hoursOfDay) + hoursOfDay) % hoursOfDay);
      for (let name = zone; ; name = name.slice(0, name.lastIndexOf("/"))) {
        const found = byZone.get(name)?.[hour];
        if (found !== undefined || !name.includes("/")) return found;
      }
    },
  };
}

function hoursOf(stated: CarbonZones[string], where: string): Float64Array {
  const hours = new Float64Array(hoursOfDay);
  if (typeof stated === "number") return hours.fill(checked(stated, where));
  hours.fill(NaN);
  for (const [span, grams] of Object.entries(stated)) {
    const [, first, end] = /^(\d{1,2})-(\d{1,2})$/.exec(span) ?? [];
    const [from, to] = [Number(first ?? NaN), Number(end ?? NaN)];
    if (!(from < to && to <= hoursOfDay)) {
      throw refused(`${where} has the hours '${span}'; they must be such as 7-20, within 0-24`);
    }
    const figure = checked(grams, `${where}.${span}`);
    for (let hour = from; hour < to; hour++) {
      if (!Number.isNaN(hours[hour])) throw refused(`${where} states the hour from ${hour} twice`);
      hours[hour] = figure;
    }
  }
  const missing = hours.findIndex(Number.isNaN);
  if (missing >= 0) throw refused(`${where} states nothing for the hour from ${missing}`);
  return hours;
}

function checked(grams: number, where: string): number {
  if (typeof grams === "number" && grams >= 0 && grams <= mostGrams) return grams;
  throw refused(
    `${where} is ${String(grams)}; it must be grams of CO2 per kilowatt hour, from 0 to ${mostGrams}`,
  );
}

function refused(why: string): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", why);
}
