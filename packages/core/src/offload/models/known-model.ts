import type { EndpointId } from "../../words/base/index.ts";
import {
  type Endpoint,
  type EndpointInfo,
  type ModelKnowledge,
  type Offer,
  pricedOffers,
  type SegmentPattern,
} from "../../wire/endpoint/index.ts";
import { isForeignDigest, sameSignature } from "../../wire/oip/index.ts";
import type { DeviceSpeed, SpeedBelief } from "../../decide/estimate/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import {
  endCut,
  type ModelDescription,
  needsOthers,
  type Profile,
  referenceOf,
  startCut,
} from "../../words/model/index.ts";
import type { ModelPoll } from "../../decide/plan/index.ts";
import {
  bucketFor,
  guessedProfile,
  inferredOffers,
  modelTable,
  type ModelTable,
  type RouteBlock,
  routeBlocks,
  segmentMeanMs,
} from "../../decide/table/index.ts";

/** What one endpoint said of a model. */
export interface Heard {
  readonly endpoint: Endpoint;
  readonly knowledge: ModelKnowledge | undefined;
  readonly offers: readonly Offer[];
}

/** Everything known of one version of a model; replaced whole when endpoints were asked again. */
export interface KnownModel {
  readonly description: ModelDescription;
  readonly profile: Profile;
  readonly table: ModelTable;
  /** As `ModelKnowledge` has it. */
  readonly configuration: ModelKnowledge["configuration"];
  /** Whether the endpoint here has it, and whether it can run all of it. */
  readonly here: boolean;
  readonly whole: boolean;
  /** Another endpoint has another content of it than the one here, which may be out of date. */
  readonly behind: boolean;
  /** The ways to run it elsewhere, and those of each endpoint; laid out again only when the endpoint said something new. */
  readonly blocks: readonly RouteBlock[];
  readonly blocksBy: ReadonlyMap<EndpointId, readonly RouteBlock[]>;
  readonly laidOut: WeakMap<Heard, readonly RouteBlock[]>;
  /** What each other endpoint offers, inferred where it makes no offers itself. */
  readonly offersBy: ReadonlyMap<EndpointId, readonly Offer[]>;
  /** Who said so, or was asked: another endpoint that is listed under its name since may be where the rules let nothing go. */
  readonly saidBy: ReadonlyMap<EndpointId, Endpoint>;
  /** How fast each bucket of each variant of the table is here; kept when knowledge is refreshed. */
  readonly speeds: readonly (readonly SpeedBelief[])[];
  /** What its inputs usually turn out to be; kept like the speeds. */
  readonly usual: Usual;
  /** How the questions to the other endpoints stand: live, and read by explanations alone. */
  readonly asked?: ModelPoll | undefined;
  /** Endpoints that serve it. */
  readonly servedAt: readonly string[];
}

/** Figures that only requests tell. */
export interface Usual {
  /** Mean number of items found, over about the last ten requests. */
  usualItems: number | undefined;
}

/**
 * Puts together what the endpoints said. The endpoint here decides which version is meant, else the first that knows the model;
 * an endpoint with another body (digest) under the same name and version is left out. The frontier comes from the first
 * profile in the same order. Undefined when no endpoint knows the model.
 */
export function knowModel(
  local: Heard | undefined,
  others: readonly Heard[],
  before: KnownModel | undefined,
  device: DeviceSpeed,
  nowMs: number,
  asked?: ModelPoll,
): KnownModel | undefined {
  const all = local ? [local, ...others] : others;
  const meant = all.find((one) => one.knowledge)?.knowledge ?? before;
  if (!meant) return undefined;
  const { description, configuration } = meant;
  const same = (one: Heard): boolean => {
    const theirs = one.knowledge?.description;
    if (!theirs) return one.offers.some(({ segment }) => segment.digest === description.digest);
    return theirs.digest === description.digest || standsIn(one.endpoint, theirs, description);
  };
  const alike = all.filter(same);
  const profile = profileFor(description, alike, before);
  const kept = before?.profile === profile ? before : undefined;
  const table = kept?.table ?? modelTable(description, profile);
  const offersBy = new Map<EndpointId, readonly Offer[]>();
  const saidBy = new Map<EndpointId, Endpoint>();
  const blocks: RouteBlock[] = [];
  const blocksBy = new Map<EndpointId, readonly RouteBlock[]>();
  const infos = new Map(others.map(({ endpoint: { info } }) => [info.id, info]));
  const infoOf = (id: EndpointId): EndpointInfo | undefined => infos.get(id);
  const laidOut = kept?.laidOut ?? new WeakMap<Heard, readonly RouteBlock[]>();
  for (const one of alike) {
    if (one === local) continue;
    // What a server counted under another digest tells how long it takes, and not what it is.
    const own = one.offers.filter(({ segment }) => segment.digest === description.digest);
    const told =
      own.length > 0 || (one.offers.length > 0 && one.endpoint.info.offers)
        ? one.offers
        : inferredOffers(one.endpoint, { description, profile }, profile, nowMs, one.offers[0]);
    const offers = pricedOffers(told, one.endpoint.info, infoOf);
    offersBy.set(one.endpoint.info.id, offers);
    saidBy.set(one.endpoint.info.id, one.endpoint);
    const laid = laidOut.get(one) ?? routeBlocks(one.endpoint.info, offers, table);
    laidOut.set(one, laid);
    blocksBy.set(one.endpoint.info.id, laid);
    blocks.push(...laid);
  }
  const here = local?.knowledge !== undefined && same(local);
  const other = ({ knowledge }: Heard): boolean =>
    knowledge !== undefined &&
    knowledge.description.digest !== description.digest &&
    !isForeignDigest(knowledge.description.digest);
  return {
    description,
    configuration,
    profile,
    table,
    here,
    whole: here && !needsOthers(description),
    behind: here && others.some(other),
    blocks,
    blocksBy,
    laidOut,
    offersBy,
    saidBy,
    speeds: kept?.speeds ?? speedsHere(local, table, profile, device),
    usual: kept?.usual ?? { usualItems: undefined },
    asked,
    servedAt: alike.map((one) => one.endpoint.info.id),
  };
}

/** Whether an endpoint offers nothing of what it described. */
export function replaced({ description: { digest } }: ModelKnowledge, offers: readonly Offer[]): boolean {
  return offers.length > 0 && !offers.some(({ segment }) => segment.digest === digest);
}

/**
 * A foreign server tells no digest; what the operator listed for it is believed: a part of the model under a name of its
 * own, or the whole, as long as that takes and gives the same.
 */
function standsIn({ info }: Endpoint, theirs: ModelDescription, meant: ModelDescription): boolean {
  if (!isForeignDigest(theirs.digest)) return false;
  const listed = info.serves?.filter(({ segment }) => segment.model === meant.name) ?? [];
  const part = ({ from = startCut, to = endCut }: SegmentPattern): boolean =>
    from !== startCut || to !== endCut;
  return listed.some(({ segment }) => part(segment) || sameSignature(theirs, meant));
}

/**
 * A measured profile stays for as long as the body is the same: replacing it would forget how fast this endpoint is. A guess
 * makes way for the first measured one.
 */
function profileFor(
  description: ModelDescription,
  alike: readonly Heard[],
  before: KnownModel | undefined,
): Profile {
  const kept = before?.description.digest === description.digest ? before.profile : undefined;
  if (kept && kept.measuredOn.threads > 0) return kept;
  const measured = alike.find((one) => one.knowledge?.profile?.digest === description.digest);
  const offers = alike.flatMap((one) => one.offers);
  return measured?.knowledge?.profile ?? kept ?? guessedProfile(description, offers);
}

/**
 * Starts from what this device has shown elsewhere; before it has shown anything, from what the endpoint here promises for the
 * whole, when it does. A promise is no run: the first run says more.
 */
function speedsHere(
  local: Heard | undefined,
  table: ModelTable,
  { measuredOn, digest }: Profile,
  device: DeviceSpeed,
): readonly (readonly SpeedBelief[])[] {
  const reference = referenceOf(measuredOn);
  return table.variants.map((variant) => {
    const offer = local?.offers.find(
      ({ segment }) => segment.variant === variant.name && segment.from === startCut && segment.to === endCut,
    );
    const offered = offer && variant.buckets[bucketFor(variant, offer.upTo)];
    const measuredMs = offered ? segmentMeanMs(offered, 0, offered.cuts.length - 1) : 0;
    const promised = offer ? (meanOf(offer.completionMs) - offer.queueMs) / measuredMs : 1;
    const start = promised > 0 && promised < Infinity ? promised : 1;
    // A guess was measured nowhere: each model has its own.
    const of = measuredOn.threads > 0 ? reference : `${reference} ${digest}`;
    return variant.buckets.map(() => device.follow(of, `${digest} ${variant.name}`, start));
  });
}

/** How fast each bucket of each variant is here: time over the profile's, NaN where it cannot run. */
export function slownessHere(known: KnownModel): readonly (readonly number[])[] {
  return known.speeds.map((buckets) => buckets.map((speed) => (known.here ? speed.mean() : NaN)));
}

/** What the quickest way to run all of it is expected to take, in milliseconds, without the transfer; Infinity where there is none. */
export function quickestMs(known: KnownModel): number {
  const here = known.whole ? slownessHere(known) : [];
  const hereMs = known.table.variants.flatMap(({ buckets }, variant) =>
    buckets.map(
      (bucket, index) =>
        segmentMeanMs(bucket, 0, bucket.cuts.length - 1) * (here[variant]?.[index] ?? Infinity),
    ),
  );
  const offers = [...known.offersBy.values()].flat();
  const whole = offers.filter(({ segment: { from, to } }) => from === startCut && to === endCut);
  const all = [...hereMs, ...whole.map(({ completionMs }) => meanOf(completionMs))];
  return Math.min(Infinity, ...all.filter((ms) => ms >= 0));
}
