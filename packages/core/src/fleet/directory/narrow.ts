import { leastTrust, LongshoreError, type TrustLevel, zoneWithin } from "../../words/base/index.ts";
import type { CodecId } from "../../words/codec/index.ts";
import { type EndpointInfo, kindFacts, ratesOf, type SegmentPattern } from "../../wire/endpoint/index.ts";
import type { DirectoryEntry, Statement } from "./entry.ts";

type Served = NonNullable<EndpointInfo["serves"]>[number];

const stateOrder: readonly EndpointInfo["state"][] = ["none", "resident", "movable"];

/** The intersection of both patterns, or undefined. */
function meet(a: SegmentPattern, b: SegmentPattern): SegmentPattern | undefined {
  const met: Record<string, string> = {};
  for (const part of ["model", "version", "variant", "from", "to"] as const) {
    const [one, other] = [a[part], b[part]];
    if (one !== undefined && other !== undefined && one !== other) return undefined;
    const both = one ?? other;
    if (both !== undefined) met[part] = both;
  }
  return { ...met, model: a.model };
}

/** The segments in both lists. An undefined list includes everything. */
function servedByBoth(entry: EndpointInfo["serves"], told: EndpointInfo["serves"]): EndpointInfo["serves"] {
  if (!entry || !told) return entry ?? told;
  return entry.flatMap((one) =>
    told.flatMap((other): readonly Served[] => {
      const segment = meet(one.segment, other.segment);
      if (!segment) return [];
      const as = one.as ?? other.as;
      return [as === undefined ? { segment } : { segment, as }];
    }),
  );
}

/**
 * Joins the statements of the operator and of the endpoint. The narrower statement wins. An endpoint that states a zone outside its own is
 * not used at all, since neither statement can then be trusted. Only the operator sets prices and power, because an endpoint would attract
 * requests with low ones. Throws `not-permitted` for a foreign zone and `invalid-configuration` without any address.
 *
 * @param mostTrust Maximum trust of the entry, by the kind of its proof.
 */
export function narrowed(
  entry: DirectoryEntry,
  told: Statement | undefined,
  mostTrust: TrustLevel,
  codecs: readonly CodecId[],
): EndpointInfo {
  const { id, tier, accelerator, grpcAddress, settings } = entry;
  if (told?.zone !== undefined && !zoneWithin(told.zone, [entry.zone])) {
    throw new LongshoreError(
      "not-permitted",
      "identify",
      `${id} says that it processes in ${told.zone}, which is not inside ${entry.zone}, where it is listed`,
    );
  }
  const address = entry.address ?? told?.address;
  if (address === undefined) {
    throw new LongshoreError("invalid-configuration", "resolve", `the address of ${id} is unknown`);
  }
  const facts = kindFacts(entry.kind, codecs);
  const state = entry.state ?? facts.state;
  const toldState = told?.state ?? state;
  const serves = servedByBoth(entry.serves, told?.serves);
  const trust = leastTrust(entry.trust, mostTrust);
  return {
    id,
    tier,
    zone: told?.zone ?? entry.zone,
    trust: told?.trust === undefined ? trust : leastTrust(trust, told.trust),
    address,
    ...(grpcAddress === undefined ? {} : { grpcAddress }),
    ...(serves ? { serves } : {}),
    ...facts,
    ...(settings ? { settings } : {}),
    state: stateOrder.indexOf(toldState) < stateOrder.indexOf(state) ? toldState : state,
    rates: ratesOf(entry.rates ?? {}, `${id}.rates`),
    ...(accelerator ? { accelerator } : {}),
  };
}
