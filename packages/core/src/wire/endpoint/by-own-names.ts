import type { Offer } from "./endpoint.ts";

/**
 * An offer whose path holds the names that its endpoints call themselves. Requests carry those: by the name of an address nobody would
 * see that a way comes back to where a request has been.
 */
export function byOwnNames(offer: Offer): Offer {
  const { ownName, ...rest } = offer;
  return ownName === undefined ? offer : { ...rest, path: [ownName, ...offer.path.slice(1)] };
}
