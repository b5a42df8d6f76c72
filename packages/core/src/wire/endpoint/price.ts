import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import { estimateSize, meanOf } from "../../words/estimate/index.ts";
import type { CostRates, EndpointInfo, Offer } from "./endpoint.ts";

/** The prices and the power of an endpoint, as an operator states them: each may be left out. */
export type StatedRates = Partial<Omit<CostRates, "unpriced">>;

/** Names of the prices, each of which is a finite number of 0 or more. */
const prices = [
  "microsPerSecond",
  "microsPerRequest",
  "microsPerMegabyte",
  "microsPerMegabyteIn",
  "microsPerMegabyteOut",
  "microsPerJoule",
] as const satisfies readonly (keyof StatedRates)[];

/** Greatest price, in micros: sums of prices times seconds and bytes stay finite and exact to the micro where they matter. */
export const mostPrice = 1e15;

/** Names of all figures of `StatedRates`. */
const ratesFields: readonly (keyof StatedRates)[] = [...prices, "activeWatts"];

/**
 * Refuses prices that are negative, above `mostPrice` or no number. `where` is the path of the rates, such as `servers[0]`.
 * Throws `invalid-configuration` with path and value.
 */
export function checkRates(stated: StatedRates, where: string): void {
  for (const name of ratesFields) {
    const value: unknown = stated[name];
    if (value === undefined || (typeof value === "number" && value >= 0 && value <= mostPrice)) continue;
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `${where}.${name} is ${typeof value === "number" ? String(value) : JSON.stringify(value)}; it must be a number from 0 to ${mostPrice}`,
    );
  }
}

/**
 * The rates that were stated, the rest filled in. Without any price they are `unpriced`, unless `free` says that an endpoint
 * without a price costs nothing, as the caller's own device. Throws as `checkRates`.
 */
export function ratesOf(stated: StatedRates, where: string, free = false, watts = 0): CostRates {
  checkRates(stated, where);
  const rates: Record<string, number | true> = {
    microsPerSecond: stated.microsPerSecond ?? 0,
    microsPerMegabyte: stated.microsPerMegabyte ?? 0,
    activeWatts: stated.activeWatts ?? watts,
  };
  for (const name of prices) {
    const price = stated[name];
    if (price !== undefined) rates[name] = price;
  }
  if (!free && prices.every((name) => stated[name] === undefined)) rates["unpriced"] = true;
  // Every required figure was assigned above; the others are numbers by name.
  return rates as unknown as CostRates;
}

/** Price of one run: the request, its run time and its energy. */
export function runMicros(rates: CostRates, runMs: number, millijoules: number): number {
  return (
    (rates.microsPerRequest ?? 0) +
    (rates.microsPerSecond * runMs + (rates.microsPerJoule ?? 0) * millijoules) / 1000
  );
}

/** Price of one megabyte of requests. */
export function inMicros({ microsPerMegabyte, microsPerMegabyteIn = microsPerMegabyte }: CostRates): number {
  return microsPerMegabyteIn;
}

/** Price of one megabyte of replies. */
export function outMicros({
  microsPerMegabyte,
  microsPerMegabyteOut = microsPerMegabyte,
}: CostRates): number {
  return microsPerMegabyteOut;
}

/** Price of the bytes of a request and its reply. */
export function moveMicros(rates: CostRates, sentBytes: number, receivedBytes: number): number {
  return (inMicros(rates) * sentBytes + outMicros(rates) * receivedBytes) / 1e6;
}

/** A body may be this factor larger than predicted. */
const bodyRatio = 1.25;
/** Bytes of headers beside a body. */
const bodyBytes = 4096;

/** The most that bytes may cost when this many are expected. */
export function mostMoveMicros(rates: CostRates, sentBytes: number, receivedBytes: number): number {
  return moveMicros(rates, bodyRatio * sentBytes + bodyBytes, bodyRatio * receivedBytes + bodyBytes);
}

/** The longest run of an offer that is believed over the expected one, 1 or more. */
export function longestRatio({ completionMs, queueMs }: Pick<Offer, "completionMs" | "queueMs">): number {
  const meanMs = meanOf(completionMs) - queueMs;
  const longestMs = (completionMs.values[estimateSize - 1] ?? Infinity) - queueMs;
  return meanMs > 0 ? Math.max(1, longestMs / meanMs) : 1;
}

/** The most that an offer may cost, without the bytes to its first endpoint. */
export function mostMicrosOf(offer: Offer): number {
  return Math.max(offer.costMicros, offer.mostMicros ?? offer.costMicros * longestRatio(offer));
}

/**
 * Offers at the price that the requesting operator states, from below: a claim can only raise it. Of a path, every endpoint
 * that the requester knows adds its own price. Bytes to the first endpoint are priced by the plan, which knows how many they
 * are.
 */
export function pricedOffers(
  offers: readonly Offer[],
  info: EndpointInfo,
  infoOf: (id: EndpointId) => EndpointInfo | undefined,
): readonly Offer[] {
  return offers.map((offer) => {
    const { completionMs, queueMs } = offer;
    const runMs = Math.max(0, meanOf(completionMs) - queueMs);
    const least = leastMicros(offer, runMs, info, infoOf);
    const most = Math.max(mostMicrosOf(offer), leastMicros(offer, runMs * longestRatio(offer), info, infoOf));
    return { ...offer, costMicros: Math.max(least, offer.costMicros), mostMicros: most };
  });
}

function leastMicros(
  { path, energyMillijoules }: Offer,
  runMs: number,
  first: EndpointInfo,
  infoOf: (id: EndpointId) => EndpointInfo | undefined,
): number {
  let least = 0;
  for (let at = 0; at < path.length; at++) {
    const info = at === 0 ? first : infoOf(path[at] ?? "");
    if (info)
      least += runMicros(info.rates, runMs, Math.max(energyMillijoules, runMs * info.rates.activeWatts));
  }
  return least;
}
