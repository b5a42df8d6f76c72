import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { meanReading, readBelief } from "../table/index.ts";
import { filterIndex } from "./filter/order.ts";
import { rightsRemove } from "./filter/rights.ts";
import { tierRemoves } from "./filter/tier.ts";
import { lose, lostColumn, type LostTally } from "./lost-tally.ts";
import type { Group, Options } from "./options.ts";
import { endpointRules, type EndpointRules } from "./endpoint-rules.ts";
import type { PlanInputs } from "./plan-inputs.ts";

const tier = filterIndex("tier");
const rightsFilter = filterIndex("rights");
const dataClass = filterIndex("data-class");

/** The filters that exclude groups from routes, whatever the promises. Computed once for groups with equal properties. */
export interface Verdict {
  /** The variant and classes of its groups; -1 if it covers one group only. */
  readonly alike: number;
  /** For each route: the filter that keeps it out, or -1. */
  readonly filters: Float64Array;
  /** Some route is kept out. */
  readonly keepsOut: boolean;
  /** The candidates of such groups that are lost at every excluded route (`filter` -1), or at the others. */
  losses: readonly Loss[];
}

interface Loss {
  readonly filter: number;
  count: number;
  /** One that was lost. */
  readonly group: number;
  readonly coding: number;
}

const none: readonly Loss[] = [];

/** The verdicts of one decision. */
export interface Verdicts {
  readonly classSetCount: number;
  readonly inputs: PlanInputs;
  readonly rules: EndpointRules;
  readonly lost: LostTally;
  /** For each route, the filter that excludes its endpoint or its path, or -1. */
  readonly out: Float64Array;
  readonly all: Verdict[];
}

/** Looks at every endpoint and way. */
export function verdictsOf(inputs: PlanInputs, options: Options, lost: LostTally): Verdicts {
  const { request, view, model, scratch } = inputs;
  const { count, endpoint } = model.routes;
  const rules = endpointRules(request, view, model, options);
  const out = scratch.columns.take(count);
  for (let route = 0; route < count; route++) out[route] = rules.removes(route, endpoint[route] ?? -1);
  return { inputs, rules, lost, out, classSetCount: options.classSets.length, all: [] };
}

/** The verdict on a group: the tiers of its variant, the rights to its segment, and where its crossing may be known. */
export function verdictOn(verdicts: Verdicts, group: Group): Verdict {
  const { inputs, rules, lost, out, all } = verdicts;
  const { rights } = inputs.request;
  // Rights are for segments, so with them no two groups are alike.
  const alike = rights ? -1 : group.choice.position * verdicts.classSetCount + group.classSet;
  if (!rights) for (const one of all) if (one.alike === alike) return one;
  const { tierBit, infos } = inputs.view.endpoints;
  const { count, endpoint } = inputs.model.routes;
  const filters = inputs.scratch.columns.take(count);
  let keepsOut = false;
  for (let route = 0; route < count; route++) {
    const endpointIndex = endpoint[route] ?? -1;
    let filter = out[route] ?? -1;
    if (filter < 0) {
      if (tierRemoves(group.choice.variant.tierMask, tierBit[endpointIndex] ?? 0)) filter = tier;
      else if (rights && lacksRight(rights, group, infos[endpointIndex])) filter = rightsFilter;
      else {
        const rule = rules.forbids(route, endpointIndex, group.classSet);
        if (rule !== "") {
          filter = dataClass;
          lost.rules[route] = rule;
        }
      }
    }
    filters[route] = filter;
    if (filter >= 0) keepsOut = true;
  }
  const verdict = { alike, filters, keepsOut, losses: none };
  all.push(verdict);
  return verdict;
}

function lacksRight(rights: readonly string[], group: Group, info: EndpointInfo | undefined): boolean {
  const { cuts } = group.choice.bucket;
  return rightsRemove(rights, cuts[group.from]?.id ?? "", cuts[group.to]?.id ?? "", info?.offers !== false);
}

/**
 * Counts what is lost of a group for any option: all of it where it is excluded, otherwise the codings that no endpoint could make
 * acceptable. Returns the number of routes that offer the group.
 */
export function loseOf(verdicts: Verdicts, verdict: Verdict, group: Group, index: number): number {
  const { cells, removed, size, firstCoding } = group;
  const { count } = verdicts.inputs.model.routes;
  if (!cells.complete) return loseWhereOffered(verdicts, verdict, group, index);
  // All that are alike lose the same endpoints: once for all of them, when all are known.
  if (verdict.keepsOut) gather(verdict, -1, size, index, firstCoding);
  for (const one of removed) gather(verdict, one.filter, one.count, index, one.coding);
  return count;
}

function gather(verdict: Verdict, filter: number, count: number, group: number, coding: number): void {
  for (const loss of verdict.losses) {
    if (loss.filter !== filter) continue;
    loss.count += count;
    return;
  }
  verdict.losses = [...verdict.losses, { filter, count, group, coding }];
}

function loseWhereOffered({ inputs, lost }: Verdicts, verdict: Verdict, group: Group, index: number): number {
  const { model } = inputs;
  const { cells, cell, removed, size, firstCoding } = group;
  const rows = model.routes.count * cells.count;
  let offers = 0;
  for (let route = 0; route < model.routes.count; route++) {
    if (Number.isNaN(readBelief(cells.service, rows, route * cells.count + cell, meanReading))) continue;
    offers++;
    const filter = verdict.filters[route] ?? -1;
    if (filter >= 0) {
      lose(lostColumn(lost, filter), route, size, index, firstCoding);
      continue;
    }
    for (const one of removed) lose(lostColumn(lost, one.filter), route, one.count, index, one.coding);
  }
  return offers;
}

/** Adds the collected losses, route by route. */
export function settleLosses({ inputs, lost, all }: Verdicts): void {
  const { count } = inputs.model.routes;
  for (const { filters, losses } of all) {
    for (const loss of losses) {
      for (let route = 0; route < count; route++) {
        const out = filters[route] ?? -1;
        if (out >= 0 !== loss.filter < 0) continue;
        lose(lostColumn(lost, Math.max(out, loss.filter)), route, loss.count, loss.group, loss.coding);
      }
    }
  }
}
