import { type CarbonIntensity, carbonIntensity, type CarbonZones } from "@longshore/core/internal";
import type { LiveSettings } from "../settings/live-settings.ts";
import type { ObjectSchema, Schema } from "../settings/schema.ts";
import type { Settled } from "../settings/settled.ts";

const grams: Schema = {
  type: "number",
  minimum: 0,
  maximum: 10_000,
  title: "grams of CO2 per kilowatt hour",
};

/** `carbon` of the file. */
export const carbonSchema: ObjectSchema = {
  type: "object",
  description: "CO2 of electricity, which the objective carbon weighs. Nothing is fetched from elsewhere.",
  additionalProperties: false,
  properties: {
    zones: {
      type: "object",
      description:
        "Grams of CO2 per kilowatt hour of each zone and of those inside it: a number, or numbers by hours of the day in UTC such as 7-20. device is this device.",
      propertyNames: {
        pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
        title: "a zone such as eu/de/store-7",
      },
      additionalProperties: {
        anyOf: [
          grams,
          {
            type: "object",
            propertyNames: { pattern: "^[0-9]{1,2}-[0-9]{1,2}$", title: "hours such as 7-20" },
            additionalProperties: grams,
          },
        ],
      },
    },
  },
};

/** The intensities of zones in the file. Throws `invalid-configuration` with file, line, path and value. */
export function carbonFrom({ file }: Settled): CarbonIntensity | undefined {
  // The schema of the file has checked its form.
  const zones = file?.at("carbon", "zones") as CarbonZones | undefined;
  if (!file || !zones) return undefined;
  return carbonIntensity(zones, `${file.where("carbon", "zones")}: carbon.zones`);
}

/** The CO2 of zones as the settings say at each moment; nothing without a file. */
export function carbonOf(live: LiveSettings): { readonly carbon?: CarbonIntensity } {
  if (!live.now().file?.at("carbon", "zones")) return {};
  let now = carbonFrom(live.now());
  live.follow((next) => void (now = carbonFrom(next)));
  return { carbon: { gramsPerKilowattHour: (zone, wallMs) => now?.gramsPerKilowattHour(zone, wallMs) } };
}
