import type { EndpointId } from "../../words/base/index.ts";
import {
  type Endpoint,
  type EndpointInfo,
  type MissingEndpoint,
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
  isGuess,
  modelTable,
  type ModelTable,
  type RouteBlock,
  routeBlocks,
  segmentMeanMs,
} from "../../decide/table/index.ts";

/** One endpoint's report about a model. */
export interface ModelReport {
  readonly endpoint: Endpoint;
  readonly knowledge: ModelKnowledge | undefined;
  readonly offers: readonly Offer[];
  /** Endpoints behind it that its offers lack for now. Default: none. */
  readonly missing?: readonly MissingEndpoint[];
}

/** Everything known of one version of a model; replaced as a whole after each poll. */
export interface KnownModel {
  readonly description: ModelDescription;
  readonly profile: Profile;
  readonly table: ModelTable;
  /** As `ModelKnowledge` has it. */
  readonly configuration: ModelKnowledge["configuration"];
  /** Whether the endpoint here has it, and whether it can run all of it. */
  readonly here: boolean;
  readonly whole: boolean;
  /** Another endpoint has other content than the one here, which may be out of date. */
  readonly behind: boolean;
  /** The routes to run it elsewhere, for each endpoint. They are laid out again only after the endpoint changed its report. */
  readonly blocks: readonly RouteBlock[];
  readonly blocksBy: ReadonlyMap<EndpointId, readonly RouteBlock[]>;
  readonly laidOut: WeakMap<ModelReport, readonly RouteBlock[]>;
  /** Offers of each other endpoint, inferred if it makes none itself. */
  readonly offersBy: ReadonlyMap<EndpointId, readonly Offer[]>;
  /** The endpoint object behind each report. An endpoint listed later under the same ID may be in a zone that the rules exclude. */
  readonly saidBy: ReadonlyMap<EndpointId, Endpoint>;
  /** Speed of each bucket of each variant here; kept when knowledge is refreshed. */
  readonly speeds: readonly (readonly SpeedBelief[])[];
  /** NaN for each of them: the slowness of a model that cannot run here. */
  readonly noSpeeds: readonly (readonly number[])[];
  /** Usual properties of its inputs; kept like the speeds. */
  readonly usual: UsualInputs;
  /** State of the polls of other endpoints. It is live, and only explanations read it. */
  readonly poll?: ModelPoll | undefined;
  /** Endpoints that serve it. */
  readonly servedAt: readonly string[];
}

/** Figures known only from requests. */
export interface UsualInputs {
  /** Mean number of items found, over about the last ten requests. */
  usualItems: number | undefined;
}

/**
 * Joins the reports of the endpoints. The endpoint here decides which version is meant, otherwise the first that knows the model. An
 * endpoint with another body (digest) under the same name and version is left out. The frontier comes from the first profile in the same
 * order. Undefined when no endpoint knows the model.
 */
export function knowModel(
  local: ModelReport | undefined,
  others: readonly ModelReport[],
  before: KnownModel | undefined,
  device: DeviceSpeed,
  nowMs: number,
  poll?: ModelPoll,
): KnownModel | undefined {
  const all = local ? [local, ...others] : others;
  const meant = all.find((one) => one.knowledge)?.knowledge ?? before;
  if (!meant) return undefined;
  const { description, configuration } = meant;
  const same = (one: ModelReport): boolean => {
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
  const laidOut = kept?.laidOut ?? new WeakMap<ModelReport, readonly RouteBlock[]>();
  for (const one of alike) {
    if (one === local) continue;
    // Figures of a server under another digest say how long a run takes, but not that the content is the same.
    const own = one.offers.filter(({ segment }) => segment.digest === description.digest);
    const promises = own.length > 0 || (one.offers.length > 0 && one.endpoint.info.offers);
    const told =
      promises && !one.offers.every(isGuess)
        ? one.offers
        : inferredOffers(one.endpoint, { description, profile }, profile, nowMs, one.offers);
    const offers = pricedOffers(told, one.endpoint.info, infoOf);
    offersBy.set(one.endpoint.info.id, offers);
    saidBy.set(one.endpoint.info.id, one.endpoint);
    const laid = laidOut.get(one) ?? routeBlocks(one.endpoint.info, offers, table);
    laidOut.set(one, laid);
    blocksBy.set(one.endpoint.info.id, laid);
    blocks.push(...laid);
  }
  const here = local?.knowledge !== undefined && same(local);
  const other = ({ knowledge }: ModelReport): boolean =>
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
    noSpeeds: kept?.noSpeeds ?? table.variants.map(({ buckets }) => buckets.map(() => NaN)),
    usual: kept?.usual ?? { usualItems: undefined },
    poll: poll,
    servedAt: alike.map((one) => one.endpoint.info.id),
  };
}

/** Whether an endpoint offers nothing of what it described. */
export function replaced({ description: { digest } }: ModelKnowledge, offers: readonly Offer[]): boolean {
  return offers.length > 0 && !offers.some(({ segment }) => segment.digest === digest);
}

/**
 * A foreign server reports no digest, so the operator's listing is believed: a part of the model under a name of its own, or the whole, if
 * its inputs and outputs match.
 */
function standsIn({ info }: Endpoint, theirs: ModelDescription, meant: ModelDescription): boolean {
  if (!isForeignDigest(theirs.digest)) return false;
  const listed = info.serves?.filter(({ segment }) => segment.model === meant.name) ?? [];
  const part = ({ from = startCut, to = endCut }: SegmentPattern): boolean =>
    from !== startCut || to !== endCut;
  return listed.some(({ segment }) => part(segment) || sameSignature(theirs, meant));
}

/**
 * A measured profile stays for as long as the body is the same: replacing it would forget how fast this endpoint is. The first measured
 * profile replaces a guess.
 */
function profileFor(
  description: ModelDescription,
  alike: readonly ModelReport[],
  before: KnownModel | undefined,
): Profile {
  const kept = before?.description.digest === description.digest ? before.profile : undefined;
  if (kept && kept.measuredOn.threads > 0) return kept;
  const measured = alike.find((one) => one.knowledge?.profile?.digest === description.digest);
  const offers = alike.flatMap((one) => one.offers);
  return measured?.knowledge?.profile ?? kept ?? guessedProfile(description, offers);
}

/**
 * Starts from the speed this device has shown with other models. Before that, it starts from the local endpoint's prediction for the whole,
 * if there is one. A prediction is no run: the first run counts more.
 */
function speedsHere(
  local: ModelReport | undefined,
  table: ModelTable,
  { measuredOn, digest }: Profile,
  device: DeviceSpeed,
): readonly (readonly SpeedBelief[])[] {
  const reference = referenceOf(measuredOn);
  return table.variants.map((variant) => {
    const offer = local?.offers.find(
      (one) =>
        !isGuess(one) &&
        one.segment.variant === variant.name &&
        one.segment.from === startCut &&
        one.segment.to === endCut,
    );
    const offered = offer && variant.buckets[bucketFor(variant, offer.upTo)];
    const measuredMs = offered ? segmentMeanMs(offered, 0, offered.cuts.length - 1) : 0;
    const promised = offer ? (meanOf(offer.completionMs) - offer.queueMs) / measuredMs : 1;
    const start = promised > 0 && promised < Infinity ? promised : 1;
    // A guess has no measuring machine, so each model has its own reference.
    const of = measuredOn.threads > 0 ? reference : `${reference} ${digest}`;
    return variant.buckets.map(() => device.follow(of, `${digest} ${variant.name}`, start));
  });
}

/** Slowness of each bucket of each variant here: time over the profile's, NaN if it cannot run. */
export function slownessHere(known: KnownModel): readonly (readonly number[])[] {
  return known.here ? known.speeds.map((buckets) => buckets.map((speed) => speed.mean())) : known.noSpeeds;
}

/** Expected time of the fastest way to run all of it, in milliseconds, without the transfer; Infinity if there is none. */
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
