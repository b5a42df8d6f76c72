import type { Radio } from "@longshore/core";
import { type LinkHint, radios } from "@longshore/core/internal";
import { linkHint } from "@longshore/nodejs";

/** The radio of each kind of network interface. A wired interface, and one of unknown kind, draw nothing. */
const radioOf: Readonly<Partial<Record<NonNullable<LinkHint["kind"]>, Radio>>> = {
  cellular: radios.lte,
  wifi: radios.wifi,
};

/**
 * The radio through which servers are reached, by what the system says of the interface. Of several kinds it is the one that draws most, since
 * it is the one that matters.
 */
export async function radioTowards(
  addresses: readonly string[],
  hint: typeof linkHint = linkHint,
): Promise<Radio> {
  const found = await Promise.all(addresses.map((address) => hint(address)));
  const kinds = new Set(found.flatMap((one) => one?.kind ?? []));
  for (const kind of ["cellular", "wifi"] as const) {
    if (kinds.has(kind)) return radioOf[kind] ?? radios.wired;
  }
  return radios.wired;
}
