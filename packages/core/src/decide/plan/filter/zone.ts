import { type ZoneId, zoneWithin } from "../../../words/base/index.ts";

/**
 * Removes paths through a zone that the request may not enter. `device` is the zone of the caller's own machine. No other endpoint may
 * claim it, so one that does is removed whatever the rules say.
 */
export function zoneRemoves(
  zones: readonly ZoneId[],
  allowed: readonly ZoneId[] | undefined,
  own: boolean,
): boolean {
  for (const zone of zones) {
    if (zone === "device") {
      if (own) continue;
      return true;
    }
    if (allowed && !zoneWithin(zone, allowed)) return true;
  }
  return zones.length === 0;
}

/** The sentence for `lost`. Names the remedy where the zone of an endpoint was not stated. */
export function zoneDetail(zones: readonly ZoneId[], allowed: readonly ZoneId[] | undefined): string {
  if (zones.length === 0) return "no zone is stated for it";
  if (zones.includes("unknown"))
    return `no zone is stated for a server on the way (\`zone\` of its entry, or --at-zone); allowed: ${allowed?.join(", ") ?? "any"}`;
  return `it processes in ${zones.join(", ")}; allowed: ${allowed?.join(", ") ?? "any but another's device"}`;
}
