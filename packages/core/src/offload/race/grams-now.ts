import type { Clock } from "../../words/base/index.ts";
import type { OffloadParts } from "./parts.ts";

/** Grams of CO2 of a kilowatt hour in each zone now; undefined where nothing is stated. */
export function gramsNow(
  { carbon }: Pick<OffloadParts, "carbon">,
  clock: Clock,
): ((zone: string) => number) | undefined {
  if (!carbon) return undefined;
  const wallMs = clock.wallMs();
  return (zone) => carbon.gramsPerKilowattHour(zone, wallMs) ?? NaN;
}
