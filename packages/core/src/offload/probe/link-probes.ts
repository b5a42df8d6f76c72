/**
 * Probes links that are not in use. A decision by belief never learns about options that it does not try: a first belief that is too low,
 * or a stall long past, would keep every request here for good. So an endpoint whose link could make it the faster one at some rate gets a
 * short train of meaningless bytes, timed to return just before the next request where requests have a rhythm, and only where the decision
 * is in doubt. Endpoint and link set the size and interval (`probeBytes`): a small share of the link, none while it is in use.
 */
import { type Clock, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { doubtOf, packetBytes, type ProbeDue } from "../../decide/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { meanOf, shift } from "../../words/estimate/index.ts";
import { endCut, type Features } from "../../words/model/index.ts";
import type { Plan } from "../../decide/plan/index.ts";
import {
  bucketFor,
  type LinkTable,
  readBetween,
  readingOf,
  segmentMeanMs,
  sizeCount,
  sizePosition,
} from "../../decide/table/index.ts";
import { type KnownModel, slownessHere } from "../models/index.ts";
import type { EndpointState, EndpointTables } from "../endpoints/index.ts";
import { askProbe } from "./ask-probe.ts";

/** Sends probes off the path of requests. Disposing gives up those under way. */
export interface LinkProbes extends Disposable {
  consider(request: ExpectedRequest, nowMs: number): void;
  /** Whether a request that is refused is worth a plan to consider links by: no more often than a link is considered. */
  refused(nowMs: number): boolean;
  /**
   * Endpoints whose links are changing now, each reported once to the next decision: a probe train is on its way, or the remains of an
   * abandoned request still pass. Of many only the first, since computing the belief of a link takes one or two milliseconds; upkeep
   * handles the others.
   */
  news(nowMs: number): readonly EndpointState[];
}

/** A request, as the next one is expected to be. */
export interface ExpectedRequest {
  readonly known: KnownModel;
  readonly features: Features;
  /** The plan of this request. */
  readonly plan: Plan;
  /** Legs of it that were given up, or failed. */
  readonly lost: readonly { readonly endpoint: EndpointId }[];
  /** When the next one is expected; Infinity where nothing is known of their rhythm. */
  readonly dueAtMs: number;
  /** When the next request is due, at an instant; see `Arrivals`. Default: requests have a rhythm. */
  readonly due?: (nowMs: number) => ProbeDue;
}

/** A leg elsewhere beside a run here. */
interface Hope {
  readonly endpoint: EndpointId;
  readonly sentBytes: number;
  /** Mean time of run and way back. A train says nothing of it. */
  readonly restMs: number;
  readonly hereMs: number;
}

/** Compares the remote leg of a plan with a run at `here`; undefined if the plan lacks either. */
function hopeOf({ legs }: Plan, here: EndpointId | undefined): Hope | undefined {
  const away = legs.find(({ travels }) => travels);
  if (!away?.travels) return undefined;
  let hereMs = 0;
  let tailMs = 0;
  for (const leg of legs) {
    if (leg.endpoint !== here || leg.id === away.takes) continue;
    if (leg.takes === away.id) tailMs += leg.holdsMs ?? 0;
    else hereMs += leg.holdsMs ?? 0;
  }
  if (hereMs === 0) return undefined;
  const { thereMs, downMs } = away.travels;
  const { sentBytes } = away.predicted;
  return { endpoint: away.endpoint, sentBytes, restMs: meanOf(thereMs) + meanOf(downMs) + tailMs, hereMs };
}

/** A train on its way. */
interface Train {
  readonly control: AbortController;
  readonly sentMs: number;
  /** Something sent after it was answered: that it is stuck says nothing of the link as it is now. */
  overtaken: boolean;
}

/** An endpoint must be quicker by this much at the best to be worth trying. */
const worthRatio = 0.95;
/** How long the bytes of a request rarely take on a link longer than, as in `hardlyMore`. */
const seldomMore = readingOf(0.8);
/** A link that cannot pass a train in this time will not return soon, in milliseconds. A shorter limit would miss the end of an outage. */
const probeDeadlineMs = 20_000;
/**
 * A train that took longer than this was too long for the current link, unless there was an outage, and few last so long. In milliseconds.
 */
const longProbeMs = 1000;
/** For one request and the next, a link is not considered more often than this, in milliseconds. */
const restMs = 200;
/** The same after a link that is worth a train had none to spare. */
const refusedMs = 40;
/** Links that a decision waits for to be written down. */
const mostNews = 4;
const none: readonly EndpointState[] = [];
/** A link is considered a round trip and this long before a coming request, in milliseconds. */
const aheadMs = 60;
/** Interval at which it is considered again until the request is due, in milliseconds. */
const againMs = 10;
/** Where requests have no rhythm, a link is considered from this long before the earliest next one, in milliseconds. */
const roamAheadMs = 300;
/** Interval at which it is considered again, in milliseconds. */
const roamAgainMs = 200;
/**
 * Where a link has been silent for so long, a single packet asks again and again whether it is back, until no request is expected any more. A
 * train that is stuck does not tell: its connection tries again ever more rarely.
 */
const silentMs = 500;
const askBackMs = 400;
const askBackDeadlineMs = 2000;
/** Doubt below which a probe is not worth its bytes: the next request is decided already. */
const worthDoubt = 0.01;

/** Starts without probes. `news` is called after each probe, whatever it showed. */
export function linkProbes(
  parts: {
    readonly clock: Clock;
    readonly links: (endpoint: EndpointId) => Link | undefined;
    readonly local?: Endpoint;
  },
  tables: Pick<EndpointTables, "looked" | "touched">,
  news: () => void,
): LinkProbes {
  const { clock } = parts;
  const here = parts.local?.info.id;
  const underWay = new Map<EndpointState, Train>();
  /** Single packets that ask silent links whether they are back. */
  const asking = new Map<AbortController, EndpointState>();
  const revivedMs = new WeakMap<EndpointState, number>();
  /** Silent links that are probed this way, with the latest request that waits for them. */
  const listening = new Map<EndpointState, { timer: Disposable; request: ExpectedRequest }>();
  /** The state kept for an endpoint goes with it. */
  const consideredMs = new WeakMap<EndpointState, number>();
  /** Endpoints whose links changed since the last decision, and when. */
  const changing = new Map<EndpointState, number>();
  /**
   * Longest train for each endpoint; Infinity unless one was slow or lost recently. A collapsed link first looks like an outage, after
   * which it would be as fast as before; the belief alone would clog it with train after train.
   */
  const limits = new WeakMap<EndpointState, number>();
  /** Links that will be considered before the next request. */
  const waiting = new Map<EndpointState, Disposable>();

  /** No train is shorter than a packet. */
  function limit(endpointState: EndpointState, bytes: number): void {
    limits.set(endpointState, Math.max(packetBytes, Math.round(bytes)));
  }

  /**
   * Whether only a train can show the state of the link. If something else was answered long after it was sent, the link's belief already
   * covers it.
   */
  function awaited(endpointState: EndpointState): boolean {
    const train = underWay.get(endpointState);
    return train !== undefined && endpointState.record.answeredAtMs <= train.sentMs + longProbeMs;
  }

  async function send(
    endpointState: EndpointState,
    bytes: number,
    request: ExpectedRequest,
    revives: boolean,
  ): Promise<void> {
    const { id } = endpointState.endpoint.info;
    const control = new AbortController();
    const sentMs = clock.nowMs();
    const train: Train = { control, sentMs, overtaken: false };
    underWay
      .get(endpointState)
      ?.control.abort(new LongshoreError("no-answer", "transport", `${id} answers other things`));
    underWay.set(endpointState, train);
    changing.set(endpointState, sentMs);
    let revived = false;
    try {
      const late = `${id} did not take a probe in time`;
      await askProbe(clock, endpointState, bytes, control.signal, {
        callId: `probe-${id}`,
        mostMs: probeDeadlineMs,
        late,
      });
      const quick = clock.nowMs() - sentMs <= longProbeMs;
      limit(endpointState, quick ? 4 * Math.max(bytes, limits.get(endpointState) ?? Infinity) : bytes / 4);
      endpointState.health.reached();
      revived = !quick && revives;
    } catch {
      if (!train.overtaken) limit(endpointState, bytes / 8);
      // The link has learned from a failed probe. Requests and offers show whether the endpoint is healthy.
    } finally {
      if (underWay.get(endpointState) === train) underWay.delete(endpointState);
      endpointState.link.touched(true);
      tables.touched();
      news();
    }
    if (revived) revive(endpointState, request);
  }

  /** Measures the rate of a link that answers again after a silence, for the next request. */
  function revive(endpointState: EndpointState, request: ExpectedRequest): void {
    const link = parts.links(endpointState.endpoint.info.id);
    const train = underWay.get(endpointState);
    const nowMs = clock.nowMs();
    // Exchanges under way are all answered at once. Only bytes sent since then show the rate.
    if (nowMs - (revivedMs.get(endpointState) ?? -Infinity) < silentMs) return;
    revivedMs.set(endpointState, nowMs);
    if (train) {
      train.overtaken = true;
      train.control.abort(
        new LongshoreError("no-answer", "transport", "its link answers what was sent after it"),
      );
      underWay.delete(endpointState);
    }
    changing.set(endpointState, nowMs);
    if (!link || request.due?.(nowMs).expected !== true) return;
    probed(endpointState, link, { ...request, dueAtMs: Infinity }, nowMs, true);
  }

  /** Asks a silent link again and again whether it is back, as long as requests are expected. */
  function listen(endpointState: EndpointState, link: Link, request: ExpectedRequest): void {
    const already = listening.get(endpointState);
    if (already) {
      already.request = request;
      return;
    }
    const pays = (): boolean =>
      couldPay(
        request.known,
        endpointState.endpoint.info.id,
        request.features,
        meanOf(link.roundTripMs(clock.nowMs())),
      );
    if (request.plan.objective !== "throughput" && !pays()) return;
    const state = { timer: clock.timer(0, () => ask()), request };
    listening.set(endpointState, state);
    const ask = (): void => {
      const nowMs = clock.nowMs();
      if (!silent(endpointState, nowMs) || state.request.due?.(nowMs).expected !== true) {
        listening.delete(endpointState);
        return;
      }
      void askBack(endpointState, state.request);
      state.timer = clock.timer(askBackMs, ask);
    };
  }

  /** Asks a silent link with a single packet whether it is back. */
  async function askBack(endpointState: EndpointState, request: ExpectedRequest): Promise<void> {
    const { id } = endpointState.endpoint.info;
    const control = new AbortController();
    asking.set(control, endpointState);
    try {
      const late = `${id} is still silent`;
      await askProbe(clock, endpointState, 1, control.signal, {
        callId: `probe-${id}`,
        mostMs: askBackDeadlineMs,
        late,
      });
    } catch {
      // The link has learned that, and the next packet asks again.
      return;
    } finally {
      asking.delete(control);
    }
    for (const [other, of] of asking)
      if (of === endpointState) other.abort(new LongshoreError("cancelled", "transport", `${id} is back`));
    endpointState.health.reached();
    endpointState.link.touched(true);
    tables.touched();
    news();
    revive(endpointState, request);
  }

  /** Whether nothing arrives over a link that something was sent over, or from an endpoint that accepts connections. */
  function silent(endpointState: EndpointState, nowMs: number): boolean {
    const { health } = endpointState;
    if (health.distrusted !== undefined || health.absent) return false;
    const train = underWay.get(endpointState);
    return health.failing || (train !== undefined && nowMs - train.sentMs >= silentMs);
  }

  /** Sends a probe where it is worth its bytes; false where it is not worth asking again for this request. */
  function probed(
    endpointState: EndpointState,
    link: Link,
    request: ExpectedRequest,
    nowMs: number,
    revived = false,
  ): boolean {
    const { id } = endpointState.endpoint.info;
    const { known, features, plan, dueAtMs } = request;
    if (awaited(endpointState) || endpointState.health.unavailable(nowMs) !== undefined) return false;
    // Consecutive frames use endpoints side by side: an endpoint that is not faster pays all the same.
    const sideBySide = plan.objective === "throughput";
    if (!couldPay(known, id, features, sideBySide ? undefined : meanOf(link.roundTripMs(nowMs))))
      return false;
    const hope = sideBySide ? undefined : hopeOf(plan, here);
    if (hope?.endpoint === id) {
      const remoteMs = shift(link.transferMs(hope.sentBytes, "up", nowMs), hope.restMs);
      if (doubtOf(remoteMs, hope.hereMs) < worthDoubt) return false;
    }
    const wanted = link.probeBytes?.("up", nowMs, dueAtMs - nowMs, revived) ?? 0;
    const bytes = Math.min(wanted, limits.get(endpointState) ?? Infinity);
    if (bytes <= 0) return true;
    // Where that is slow, too, the link is slow and was not silent.
    void send(endpointState, bytes, request, !revived);
    return false;
  }

  /** Considers a link shortly before the next request, and again until then. */
  function wait(endpointState: EndpointState, link: Link, request: ExpectedRequest, delayMs: number): void {
    waiting.get(endpointState)?.[Symbol.dispose]();
    const timer = clock.timer(delayMs, () => {
      waiting.delete(endpointState);
      const nowMs = clock.nowMs();
      consideredMs.set(endpointState, nowMs);
      const more = probed(endpointState, link, request, nowMs);
      if (more && nowMs + againMs < request.dueAtMs) wait(endpointState, link, request, againMs);
    });
    waiting.set(endpointState, timer);
  }

  /**
   * Considers a link repeatedly until the next request, which may come at any time, so that the belief is fresh. Ends when requests stop.
   */
  function roam(endpointState: EndpointState, link: Link, request: ExpectedRequest, delayMs: number): void {
    waiting.get(endpointState)?.[Symbol.dispose]();
    const timer = clock.timer(delayMs, () => {
      waiting.delete(endpointState);
      const nowMs = clock.nowMs();
      if (request.due?.(nowMs).expected !== true) return;
      consideredMs.set(endpointState, nowMs);
      probed(endpointState, link, { ...request, dueAtMs: Infinity }, nowMs);
      roam(endpointState, link, request, roamAgainMs);
    });
    waiting.set(endpointState, timer);
  }

  let refusedAtMs = -Infinity;

  return {
    refused(nowMs) {
      if (nowMs - refusedAtMs < restMs) return false;
      refusedAtMs = nowMs;
      return true;
    },
    news(nowMs) {
      if (changing.size === 0) return none;
      const fresh = [...changing]
        .filter(([, atMs]) => nowMs - atMs < restMs)
        .map(([endpointState]) => endpointState);
      changing.clear();
      return fresh.slice(0, mostNews);
    },
    consider(request, nowMs) {
      // Where all endpoints are elsewhere, and not side by side, only what the bytes of a request take there tells them apart.
      const apart = !request.known.here && request.plan.objective !== "throughput";
      const sent = apart ? sentIn(request.plan) : undefined;
      for (const endpointState of tables.looked) {
        const { id } = endpointState.endpoint.info;
        const link = parts.links(id);
        if (!link?.probeBytes || !endpointState.endpoint.capabilities.probe) continue;
        if (silent(endpointState, nowMs)) listen(endpointState, link, request);
        if (awaited(endpointState)) continue;
        if (sent && !rateMatters(endpointState.link.table, sent)) continue;
        const next = here === undefined ? undefined : request.due?.(nowMs);
        if (
          next &&
          next.soonestMs < Infinity &&
          !next.rhythm &&
          hopeOf(request.plan, here)?.endpoint === id
        ) {
          if (request.lost.some(({ endpoint }) => endpoint === id)) changing.set(endpointState, nowMs);
          const untilMs = next.soonestMs - meanOf(link.roundTripMs(nowMs)) - roamAheadMs;
          roam(endpointState, link, request, Math.max(roamAgainMs, untilMs));
          continue;
        }
        const rhythm = request.dueAtMs < Infinity;
        // Before the round trip is worked out: it will be no later than this.
        const latestMs = rhythm ? Math.max(nowMs, request.dueAtMs) : nowMs;
        if (latestMs - (consideredMs.get(endpointState) ?? -Infinity) < restMs) continue;
        const roundTripMs = rhythm ? meanOf(link.roundTripMs(nowMs)) : 0;
        // If the next request comes sooner than a train returns, the train serves the requests after it.
        const due = rhythm && (here === undefined || request.dueAtMs - nowMs > roundTripMs);
        const atMs = due ? Math.max(nowMs, request.dueAtMs - roundTripMs - aheadMs) : nowMs;
        if (atMs - (consideredMs.get(endpointState) ?? -Infinity) < restMs) continue;
        if (request.lost.some(({ endpoint }) => endpoint === id)) changing.set(endpointState, nowMs);
        if (due) wait(endpointState, link, request, atMs - nowMs);
        else {
          const more = probed(endpointState, link, { ...request, dueAtMs: Infinity }, nowMs);
          consideredMs.set(endpointState, more && here !== undefined ? nowMs - restMs + refusedMs : nowMs);
        }
      }
    },
    [Symbol.dispose]() {
      const closed = new LongshoreError("shutting-down", "transport", "the offloader was closed");
      for (const { control } of underWay.values()) control.abort(closed);
      for (const control of asking.keys()) control.abort(closed);
      for (const { timer } of listening.values()) timer[Symbol.dispose]();
      for (const timer of waiting.values()) timer[Symbol.dispose]();
    },
  };
}

/** The bytes that a request sends and its expected time; undefined if it sends none. */
interface Sent {
  readonly bytes: number;
  readonly completionMs: number;
}

function sentIn({ legs, predicted }: Plan): Sent | undefined {
  const away = legs.find(({ travels }) => travels);
  return away && { bytes: away.predicted.sentBytes, completionMs: meanOf(predicted.completionMs) };
}

/**
 * Whether the rate of a link matters, which is all that a train measures: the longest likely transfer time must be more than a small part
 * of the expected time of the request. A request that fits into a packet travels like a poll, whose round trip is known.
 */
function rateMatters({ up }: LinkTable, { bytes, completionMs }: Sent): boolean {
  if (bytes <= packetBytes) return false;
  const { index, fraction } = sizePosition(bytes);
  const emptyMs = readBetween(up, sizeCount, 0, 0, seldomMore);
  const carryMs = readBetween(up, sizeCount, index, fraction, seldomMore) - emptyMs;
  return carryMs > (1 - worthRatio) * completionMs;
}

/**
 * Whether some segment there, on a link that takes no time but its round trip, is quicker than all of it here; without a round
 * trip, whether it takes a part of the work off this device that is worth it.
 */
function couldPay(
  known: KnownModel,
  endpointState: string,
  features: Features,
  roundTripMs: number | undefined,
): boolean {
  if (!known.here) return true;
  const slowness = slownessHere(known);
  for (const offer of known.offersBy.get(endpointState) ?? []) {
    if (offer.segment.to !== endCut) continue;
    const at = known.table.variants.findIndex(({ name }) => name === offer.segment.variant);
    const variant = known.table.variants[at];
    const position = variant ? bucketFor(variant, features) : -1;
    const bucket = variant?.buckets[position];
    const from = bucket?.index.get(offer.segment.from);
    if (!bucket || from === undefined) continue;
    const slow = slowness[at]?.[position] ?? NaN;
    // A variant that cannot run here has nothing here to be compared with.
    if (Number.isNaN(slow)) return true;
    const hereMs = segmentMeanMs(bucket, 0, bucket.cuts.length - 1) * slow;
    const headMs = segmentMeanMs(bucket, 0, from) * slow;
    const thereMs = meanOf(offer.completionMs);
    // Of whole requests some go there and some stay, however slow the endpoint is.
    const paceMs = headMs === 0 ? 1 / (1 / hereMs + 1 / thereMs) : Math.max(headMs, thereMs);
    const bestMs = roundTripMs === undefined ? paceMs : headMs + thereMs + roundTripMs;
    if (bestMs < worthRatio * hereMs) return true;
  }
  return false;
}
