import { LongshoreError } from "../../words/base/index.ts";
import type { Account, LoadReport } from "../../wire/endpoint/index.ts";
import { exchangeMillijoules, radios } from "../../decide/estimate/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { Features } from "../../words/model/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import { bucketFor, segmentMeanMs } from "../../decide/table/index.ts";
import { type Counting, countDeviceEnergy } from "./carbon.ts";
import { elsewhereMs } from "./guard-times.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState, RadioUse } from "../endpoints/index.ts";
import type { Loop, LoopBeliefs, LoopSetting } from "./loop.ts";
import type { Tally } from "../account/index.ts";

/** Time of some stages of an account, in milliseconds. */
export function stageMs(account: Account, ...stages: readonly string[]): number {
  let total = 0;
  for (const { stage, tookMs } of account.stages) if (stages.includes(stage)) total += tookMs;
  return total;
}

/** Learns the speed of this device from a run compared with its profile. */
export function learnLocal(
  known: KnownModel,
  leg: Leg,
  account: Account,
  features: Features,
  nowMs: number,
): void {
  const position = known.table.variants.findIndex((one) => one.name === leg.segment.variant);
  const variant = known.table.variants[position];
  const { itemsCut } = known.table;
  if (!variant) return;
  const bucketPosition = bucketFor(variant, features);
  const bucket = variant.buckets[bucketPosition];
  const speed = known.speeds[position]?.[bucketPosition];
  const from = bucket?.index.get(leg.segment.from);
  const to = bucket?.index.get(leg.segment.to);
  if (!bucket || !speed || from === undefined || to === undefined) return;
  const fanOut = itemsCut === undefined ? undefined : bucket.index.get(itemsCut);
  // The number of items decides the time after the fan-out. If it is unknown, the run says nothing about speed.
  if (fanOut !== undefined && features.items === undefined && to > fanOut) return;
  const profileMs = segmentMeanMs(bucket, from, to);
  const tookMs = stageMs(account, "run", "transform");
  speed.seen(tookMs, profileMs, nowMs);
}

/** The number of items that a crossing turned out to hold, for planning before it is known. */
export function learnItems(known: KnownModel, { items }: Features): void {
  if (items === undefined) return;
  const before = known.usual.usualItems;
  known.usual.usualItems = before === undefined ? items : before + 0.1 * (items - before);
}

/** Learns the load and the honesty of an endpoint from an answer. */
export function learnRemote(
  loop: LoopSetting & LoopBeliefs,
  endpoint: EndpointState,
  leg: Leg,
  account: Account,
  load: LoadReport | undefined,
  tookMs: number,
  nowMs: number,
): void {
  const own = stageMs(account, "run", "transform");
  const network = stageMs(account, "network", "send");
  if (load) endpoint.reports.load(load, nowMs, network);
  const others = network + stageMs(account, "load", "encode", "decode", "queue");
  const promisedMs = leg.travels?.promisedMs ?? 0;
  const servedMs =
    account.forwarded.length === 0 && own > 0
      ? own
      : network > 0
        ? tookMs - others
        : untoldMs(leg, promisedMs * endpoint.service.ratio(nowMs), tookMs);
  endpoint.service.seen(servedMs, promisedMs, nowMs, nowMs - tookMs, leg.segment.digest);
  loop.endpoints.tables.touched();
  const told = own > 0 || network > 0;
  loop.parts.observer.record({
    kind: "endpoint-ran",
    atMs: nowMs,
    model: leg.segment.model,
    endpoint: leg.endpoint,
    runMs: servedMs,
    aloneMs: told ? Math.max(servedMs, tookMs - stageMs(account, "queue")) : servedMs + movedMs(leg),
    occupiedMs: endpoint.queue.occupiedMs(servedMs),
  });
}

/** Expected time of the transfers of a leg. */
function movedMs({ travels }: Leg): number {
  return travels ? meanOf(travels.upMs) + meanOf(travels.downMs) : 0;
}

/**
 * Run time at an endpoint that reports none: the expected one, plus the whole difference between the measured and the expected time of
 * transfer, queue and run together.
 */
function untoldMs({ travels }: Leg, expectedMs: number, tookMs: number): number {
  if (!travels) return 0;
  const { upMs, thereMs, downMs } = travels;
  return Math.max(0, expectedMs + tookMs - meanOf(upMs) - meanOf(thereMs) - meanOf(downMs));
}

/**
 * Learns from a leg that was cancelled because another answered first: it took at least this long. If the whole body had arrived, the
 * endpoint was slow. Far beyond its promise it counts as silent, so that the next request avoids it. The exception is a part that may have
 * had to be loaded first: the next request waits until it is.
 */
export function learnLost(
  loop: LoopSetting & LoopBeliefs,
  endpoint: EndpointState,
  { leg, startedMs, aloneMs }: { readonly leg: Leg; readonly startedMs: number; readonly aloneMs: number },
  tookMs: number,
  servedMs: number | undefined,
  nowMs: number,
): void {
  const expected = leg.predicted.completionMs;
  const promisedMs = leg.travels?.promisedMs ?? 0;
  // An unproven endpoint may have been tried as if it were faster than it promises. It counts as silent by its promise only.
  const leastMs = endpoint.record.proven ? 0 : promisedMs;
  const slowest = Math.max(leastMs, expected.values[expected.values.length - 1] ?? Infinity);
  const muted = endpoint.record.mute && tookMs >= aloneMs;
  const slow = servedMs !== undefined && servedMs > promisedMs * endpoint.service.ratio(nowMs);
  const beyond = tookMs > 2 * slowest;
  const { lostMs, overdueMs } = elsewhereMs(expected);
  // An endpoint that answered nothing else meanwhile counts as silent sooner. If it lost one request, it has lost those behind it.
  const heard = endpoint.record.answeredAtMs > nowMs - tookMs;
  const givenUp = tookMs >= Math.max(leastMs, heard ? lostMs : overdueMs);
  // A run given up as lost counts, too: the slowest believed time may be seconds. Of all requests that one silence delays, the first ones
  // count.
  const abandoned = startedMs > endpoint.health.downAtMs && (beyond || muted || givenUp);
  loop.endpoints.tables.touched();
  if (!slow && !abandoned) return;
  if (loop.device.warmth.cold(endpoint, leg.segment, startedMs)) {
    // Loading is requested so that the endpoint returns: among equal endpoints no plan would be the first to wait for this one.
    loop.device.warmth.prepare(leg.endpoint, leg.segment, loop.parts.defaults?.tenant ?? "local");
    return;
  }
  // It took at least this long, and its end is unknown. On average, half of a duration has passed at a random moment.
  if (slow) endpoint.service.seen(2 * servedMs, promisedMs, nowMs, nowMs - tookMs, leg.segment.digest);
  if (!abandoned) return;
  const message = `${leg.endpoint} did not answer in ${Math.round(tookMs)} ms`;
  const error = new LongshoreError("no-answer", "execute", message);
  endpoint.outcomes.abandoned(error, nowMs, beyond && tookMs > 4 * Math.max(leastMs, meanOf(expected)));
}

/** Adds what a run here used. */
export function tallyLocal(loop: Loop, job: Counting, tally: Tally, account: Account): void {
  const { energy } = account;
  const busyMs = stageMs(account, "run", "transform");
  const isMeasured = energy.label === "measured";
  if (!isMeasured) tally.measured = false;
  countDeviceEnergy(
    loop,
    job,
    isMeasured ? energy.millijoules : busyMs * loop.device.activeWatts,
    true,
    tally,
  );
}

/** Adds what an answered exchange used. */
export function tallyRemote(
  loop: Loop,
  job: Counting,
  tally: Tally,
  account: Account,
  exchange: RadioUse | undefined,
  tookMs: number,
  nowMs: number,
): void {
  tally.sentBytes += account.sentBytes;
  tally.receivedBytes += account.receivedBytes;
  const { radio = radios.wired, idleWatts = 0 } = loop.parts.device ?? {};
  const encodeMs = stageMs(account, "encode", "decode");
  let millijoules = encodeMs * loop.device.activeWatts + tookMs * idleWatts;
  if (exchange) {
    const onAirMs = Math.min(tookMs, stageMs(account, "network", "send"));
    // Exchanges at the same time pay for the radio once, each for a part of that.
    const upMs = exchange.ended(nowMs);
    const movedMs = tookMs > 0 ? (upMs * onAirMs) / tookMs : upMs;
    const { sentBytes, receivedBytes } = account;
    millijoules +=
      exchange.wakeMillijoules +
      exchangeMillijoules(radio, sentBytes, receivedBytes, movedMs, upMs - movedMs);
  }
  countDeviceEnergy(loop, job, millijoules, false, tally);
  tally.measured = false;
}
