import { trustRank } from "../base/index.ts";
import type { FilterName } from "./plan.ts";
import type { PlanRequest } from "./request.ts";
import type { ModelView, View } from "./view.ts";
import type { Options } from "./options.ts";
import { codecRemoves } from "./filter/codec.ts";
import { costRemoves } from "./filter/cost.ts";
import { dataClassRule } from "./filter/data-class.ts";
import { deadlineRemoves } from "./filter/deadline.ts";
import { energyRemoves } from "./filter/energy.ts";
import { loopRemoves } from "./filter/loop.ts";
import { filterIndex, filterOrder } from "./filter/order.ts";
import { stateRemoves } from "./filter/state.ts";
import { tierRemoves } from "./filter/tier.ts";
import { trustRemoves } from "./filter/trust.ts";
import { unavailableRemoves } from "./filter/unavailable.ts";
import { zoneRemoves } from "./filter/zone.ts";
import { scoreOf } from "./score/score.ts";
import { sizeCount } from "./table/link-table.ts";
import { tierBit } from "./table/model-table.ts";
import { meanPlane, type Reading } from "./table/planes.ts";

/**
 * Prices every remote candidate: each route with each option that it offers.
 *
 * The obvious way builds an object with a distribution for each candidate and sorts them: tens of microseconds each,
 * seconds for a thousand places. Here a candidate is a handful of numbers read in order from flat tables: one number
 * stands for a distribution (the mean, or the quantile by which the request is judged), and because sums of beliefs are
 * comonotone (see `Estimate`) the sum of the quantiles is the quantile of the sum, so nothing is approximated. Whole
 * distributions are built only for the few finalists.
 *
 * A candidate's completion is: local head + encoding | link up | queue there, penalty, run (what the place promised times
 * what it was seen to take over what it promised), decoding there | link down | local tail. The crossing is paid once, as
 * one body.
 */
export interface Findings {
  /** For each route: the score of its best candidate (Infinity when none is left) and the option that it is. */
  readonly bestScore: readonly number[];
  readonly bestOption: readonly number[];
  readonly bestGroup: readonly number[];
  /** Candidates of each route that no filter removed. */
  readonly kept: readonly number[];
  /** What filters removed, route by route. */
  readonly removed: readonly Removed[];
  /** All candidates looked at. */
  readonly candidates: number;
}

/** Candidates of one route that one filter removed. */
export interface Removed {
  readonly route: number;
  readonly filter: FilterName;
  readonly count: number;
  /** One of them. */
  readonly group: number;
  readonly option: number;
  /** The rule, where the filter names one. */
  readonly rule?: string;
}

const tier = filterIndex("tier");
const codec = filterIndex("codec");
const agreement = filterIndex("agreement");
const dataClass = filterIndex("data-class");
const cost = filterIndex("cost");
const energy = filterIndex("energy");
const deadline = filterIndex("deadline");

/** Runs over all routes and options once. */
export function scan(
  request: PlanRequest,
  view: View,
  model: ModelView,
  options: Options,
  reading: Reading,
  remainingMs: number,
): Findings {
  const { routes } = model;
  const { endpoints, device } = view;
  const { limits } = request;
  const { objective } = limits;
  const needsEnergy = objective === "energy" || limits.maxDeviceMillijoules !== undefined;
  const needsCost = objective === "cost" || limits.maxCostMicros !== undefined;
  const { radio } = device;
  const { low, high, weight } = reading;
  const linkRows = endpoints.count * sizeCount;
  const leastRank = trustRank(request.rules.leastTrust);
  const bestScore: number[] = [];
  const bestOption: number[] = [];
  const bestGroup: number[] = [];
  const keptCounts: number[] = [];
  const removed: Removed[] = [];
  let candidates = 0;
  const counts: number[] = filterOrder.map(() => 0);
  const sampleGroup: number[] = filterOrder.map(() => 0);
  const sampleOption: number[] = filterOrder.map(() => 0);
  const { up, down } = endpoints;
  const groupCount = options.groups.length;
  for (let route = 0; route < routes.count; route++) {
    const place = routes.endpoint[route] ?? 0;
    const placeFilter = removesPlace(request, view, model, route, place, leastRank);
    const rules: (string | undefined)[] = [];
    const mask = routes.codecMask[route] ?? 0;
    const slowness = routes.slowness[route] ?? 1;
    const ratio = endpoints.serviceRatio[place] ?? 1;
    const waitMs = (endpoints.queueMs[place] ?? 0) + (endpoints.penaltyMs[place] ?? 0);
    const microsPerByte = (endpoints.microsPerMegabyte[place] ?? 0) / 1e6;
    const bit = tierBit(endpoints.infos[place]?.tier ?? "cloud");
    const linkRow = place * sizeCount;
    let best = Infinity;
    let bestAt = -1;
    let bestIn = -1;
    let kept = 0;
    let lost = 0;
    for (let g = 0; g < groupCount; g++) {
      const group = options.groups[g];
      if (!group) continue;
      const { cells } = group;
      const rows = routes.count * cells.count;
      const row = route * cells.count + group.cell;
      const serviceLow = cells.service[low * rows + row] ?? NaN;
      if (Number.isNaN(serviceLow)) continue;
      const size = group.end - group.first;
      candidates += size;
      let whole = placeFilter;
      if (whole < 0 && tierRemoves(group.choice.variant.tierMask, bit)) whole = tier;
      if (whole < 0) {
        const { classSet } = group;
        const set = options.classSets[classSet];
        if (rules.length <= classSet || rules[classSet] === undefined) {
          rules[classSet] =
            dataClassRule(
              view.policy,
              request,
              {
                id: endpoints.infos[place]?.id ?? "",
                zones: routes.zones[route] ?? [],
                trust: routes.trust[route] ?? "none",
              },
              set?.classes ?? [undefined],
              set?.reveals ?? "input",
            ) ?? "";
        }
        if (rules[classSet] !== "") whole = dataClass;
      }
      if (whole >= 0) {
        if (counts[whole] === 0) {
          sampleGroup[whole] = g;
          sampleOption[whole] = group.first;
        }
        counts[whole] = (counts[whole] ?? 0) + size;
        lost += size;
        continue;
      }
      const service =
        weight === 0
          ? serviceLow
          : serviceLow + weight * ((cells.service[high * rows + row] ?? NaN) - serviceLow);
      const backAt = linkRow + group.reply.index;
      const backMs = between(down, linkRows, backAt, group.reply.fraction, low, high, weight);
      const thereMs = waitMs + service * ratio + backMs;
      const offered = cells.agreementRatio[row] ?? 0;
      const offeredCost = cells.costMicros[row] ?? 0;
      for (let option = group.first; option < group.end; option++) {
        const latencyMs =
          (options.fixedMs[option] ?? NaN) +
          between(
            up,
            linkRows,
            linkRow + (options.upIndex[option] ?? 0),
            options.upFraction[option] ?? 0,
            low,
            high,
            weight,
          ) +
          thereMs +
          (options.decodeMs[option] ?? 0) * slowness;
        let filter = options.removed[option] ?? -1;
        let millijoules = 0;
        let micros = 0;
        if (filter < 0) {
          if (codecRemoves(options.codecMask[option] ?? 0, mask)) filter = codec;
          else if (
            limits.minAgreementRatio !== undefined &&
            offered < group.choice.variant.agreementRatio &&
            !(offered * (options.agreementRatio[option] ?? 0) >= limits.minAgreementRatio)
          ) {
            filter = agreement;
          } else {
            if (needsCost) {
              micros =
                offeredCost +
                (options.costMicros[option] ?? 0) +
                microsPerByte * ((options.sentBytes[option] ?? 0) + group.replyBytes);
            }
            if (needsEnergy) {
              const upMs = between(
                up,
                linkRows,
                linkRow + (options.upIndex[option] ?? 0),
                options.upFraction[option] ?? 0,
                meanPlane,
                meanPlane,
                0,
              );
              const downMs = between(down, linkRows, backAt, group.reply.fraction, meanPlane, meanPlane, 0);
              const awaitedMs =
                waitMs +
                (cells.service[meanPlane * rows + row] ?? NaN) * ratio +
                (options.decodeMs[option] ?? 0) * slowness;
              millijoules =
                (options.deviceMillijoules[option] ?? 0) +
                (upMs + downMs) * radio.baseWatts +
                awaitedMs * radio.tailWatts +
                (upMs + downMs + awaitedMs + (options.fixedMeanMs[option] ?? 0)) * device.idleWatts;
            }
            if (costRemoves(micros, limits.maxCostMicros)) filter = cost;
            else if (energyRemoves(millijoules, limits.maxDeviceMillijoules)) filter = energy;
            else if (deadlineRemoves(latencyMs, remainingMs)) filter = deadline;
          }
        }
        if (filter >= 0) {
          if (counts[filter] === 0) {
            sampleGroup[filter] = g;
            sampleOption[filter] = option;
          }
          counts[filter] = (counts[filter] ?? 0) + 1;
          lost++;
          continue;
        }
        kept++;
        const score = scoreOf(
          objective,
          latencyMs,
          millijoules,
          micros,
          options.accuracyRatio[option] ?? NaN,
          options.agreementRatio[option] ?? 0,
        );
        if (score < best) {
          best = score;
          bestAt = option;
          bestIn = g;
        }
      }
    }
    bestScore.push(best);
    bestOption.push(bestAt);
    bestGroup.push(bestIn);
    keptCounts.push(kept);
    if (lost === 0) continue;
    for (let filter = 0; filter < counts.length; filter++) {
      const count = counts[filter] ?? 0;
      if (count === 0) continue;
      counts[filter] = 0;
      const rule = filter === dataClass ? rules.find((one) => one !== undefined && one !== "") : undefined;
      const line = {
        route,
        filter: filterOrder[filter] ?? "unavailable",
        count,
        group: sampleGroup[filter] ?? 0,
        option: sampleOption[filter] ?? 0,
      };
      removed.push(rule === undefined ? line : { ...line, rule });
    }
  }
  return { bestScore, bestOption, bestGroup, kept: keptCounts, removed, candidates };
}

/** A number of a table of links between two sizes, at the reading. */
function between(
  planes: Float64Array,
  rows: number,
  row: number,
  fraction: number,
  low: number,
  high: number,
  weight: number,
): number {
  const at = low * rows + row;
  const below = planes[at] ?? NaN;
  const value = below + fraction * ((planes[at + 1] ?? NaN) - below);
  if (weight === 0) return value;
  const other = high * rows + row;
  const above = planes[other] ?? NaN;
  return value + weight * (above + fraction * ((planes[other + 1] ?? NaN) - above) - value);
}

/** The filter that keeps a whole route out, or -1. */
function removesPlace(
  request: PlanRequest,
  view: View,
  model: ModelView,
  route: number,
  place: number,
  leastRank: number,
): number {
  const info = view.endpoints.infos[place];
  if (!info) return filterIndex("unavailable");
  if (unavailableRemoves(view.endpoints.unavailable[place], info.id, request.exclude)) {
    return filterIndex("unavailable");
  }
  if (loopRemoves(model.routes.paths[route] ?? [], request.path, view.self)) return filterIndex("loop");
  if (stateRemoves(request.sequence, info.id, info.state)) return filterIndex("state");
  if (zoneRemoves(model.routes.zones[route] ?? [], request.rules.zones, false)) return filterIndex("zone");
  if (trustRemoves(model.routes.trustRank[route] ?? 0, leastRank)) return filterIndex("trust");
  return -1;
}
