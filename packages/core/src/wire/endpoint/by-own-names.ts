import type { Offer } from "./endpoint.ts";

/**
 * An offer whose path holds the names that its endpoints call themselves. Requests carry those names: the name of an address
 * would not show that a way comes back to an endpoint where a request has been.
 */
export function byOwnNames(offer: Offer): Offer {
  const { ownName, ...rest } = offer;
  return ownName === undefined ? offer : { ...rest, path: [ownName, ...offer.path.slice(1)] };
}
