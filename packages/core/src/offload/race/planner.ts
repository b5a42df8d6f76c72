import type { Clock, EndpointId } from "../../words/base/index.ts";
import {
  type FirstWaits,
  type Infeasible,
  isInfeasible,
  makePlan,
  mayExplore,
  type ModelView,
  type Plan,
  type PlanRequest,
  planScratch,
  type View,
} from "../../decide/plan/index.ts";
import {
  type EndpointTable,
  routeTable,
  type RouteTable,
  withAvailable,
  withoutExploration,
} from "../../decide/table/index.ts";
import type { EndpointStates, PartFilter } from "../endpoints/index.ts";
import { type KnownModel, slownessHere } from "../models/index.ts";
import type { HeldCrossing } from "../steps/index.ts";
import { gramsNow } from "./grams-now.ts";
import type { DeviceState } from "./device-state.ts";
import type { Plannable } from "./job.ts";
import type { OffloadParts } from "./parts.ts";

/** How one plan of a request differs from the others. */
export interface PlanOptions {
  /** The parts that may run. Default: all. */
  readonly only?: PartFilter | undefined;
  /** The waits for loads and connections, to be charged. Default: none is charged. */
  readonly first?: FirstWaits | undefined;
  /** Retry mode: ignore predicted lateness. */
  readonly evenLate?: boolean | undefined;
  /** An endpoint that the plan may use although it is paused: its answer is only compared, or no other endpoint is left. */
  readonly proving?: EndpointId | undefined;
}

/** Decides where `job` goes on from `held`. */
export type Planner = (
  job: Plannable,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
  options?: PlanOptions,
) => Plan | Infeasible;

const usual: PlanOptions = {};

/** Inputs of plans, besides the request. */
export interface PlannerParts {
  readonly parts: OffloadParts;
  readonly self: EndpointId;
  readonly clock: Clock;
  readonly endpoints: Pick<EndpointStates, "all" | "tables">;
  readonly device: DeviceState;
  /** Before a plan: takes in what is left to learn, and what probes have told since. */
  readonly settle: (nowMs: number) => void;
  /** Whether others send to the same endpoints at this moment. */
  readonly crowded: (nowMs: number) => boolean;
}

/**
 * If other clients send at the same moment, endpoints with scores within this share of the best count as equal, so that not all clients
 * choose the same.
 */
const crowdedTieRatio = 0.05;

/** Lays out what is believed now, once for each plan, and plans by it. */
export function createPlanner({
  parts,
  self,
  clock,
  endpoints: endpointStates,
  device,
  settle,
  crowded,
}: PlannerParts): Planner {
  const { local, random } = parts;
  let views = 0;
  /** Loads are polled once for a request, however often it is planned. */
  let lastCallId: string | undefined;
  const scratch = planScratch();
  /** Route tables by endpoint table, valid while the endpoints have the same positions. */
  const routes = new WeakMap<
    KnownModel,
    { readonly index: EndpointTable["index"]; readonly table: RouteTable }
  >();

  function routesOf(known: KnownModel, { index, ids }: EndpointTable): RouteTable {
    const kept = routes.get(known);
    if (kept?.index === index) return kept.table;
    const blocks =
      ids.length < endpointStates.all.size ? ids.flatMap((id) => known.blocksBy.get(id) ?? []) : known.blocks;
    const table = routeTable(blocks, known.table, index);
    routes.set(known, { index, table });
    return table;
  }

  function modelView(known: KnownModel, endpoints: EndpointTable): ModelView {
    const assumed = known.profile.measuredOn.threads === 0;
    return {
      table: known.table,
      routes: routesOf(known, endpoints),
      localSlowness: slownessHere(known),
      poll: known.poll,
      assumed,
      assumedHere: assumed && known.speeds.every((buckets) => buckets.every(({ runs }) => runs === 0)),
    };
  }

  return (job, held, exclude, nowMs, { only, first, evenLate, proving } = usual) => {
    settle(nowMs);
    if (job.call.id !== lastCallId) device.radio?.requested(nowMs);
    lastCallId = job.call.id;
    const { known, call, sequence } = job;
    const { name, version, digest, dataClass } = known.description;
    const viewOf = (endpoints: EndpointTable): View => ({
      number: ++views,
      atMs: nowMs,
      self,
      device: device.view(nowMs),
      endpoints,
      models: new Map([[name, modelView(known, endpoints)]]),
      policy: parts.policy,
      carbon: gramsNow(parts, clock),
    });
    const { usualItems } = known.usual;
    const { traffic } = job;
    // Written out so that the object always has the same shape: compiled code is discarded when an unusual shape appears.
    const request: PlanRequest = {
      model: name,
      from: held.cut,
      to: job.to,
      variant: held.variant,
      features: held.features,
      usual: usualItems === undefined ? undefined : { items: usualItems },
      inputBytes: held.bytes,
      limits: job.purse ? { ...job.limits, maxCostMicros: job.purse.leftMicros } : job.limits,
      rules: call.rules,
      modelClass: dataClass === call.rules.dataClass ? undefined : dataClass,
      tenant: call.tenant,
      rights: call.rights,
      deadlineMs: call.deadlineMs,
      path: call.path,
      traffic: traffic?.at(nowMs),
      exclude,
      unexplained: job.tells !== undefined,
      listed: job.tells === "alternatives",
      whole: job.whole,
      sequence: sequence && {
        step: sequence.step,
        resident: sequence.resident,
        carried: sequence.state !== undefined,
      },
      tieRatio: crowded(nowMs) ? crowdedTieRatio : undefined,
      evenLate,
      first,
      ready:
        only &&
        ((id = local?.info.id ?? self, { variant, from, to }) =>
          only(id, { model: name, version, digest, variant, from, to })),
    };
    const also = proving ?? sequence?.resident;
    const { features, bytes } = held;
    const table = endpointStates.tables.considered(
      known,
      call.tenant,
      { rules: call.rules, features, bytes, also },
      nowMs,
    );
    const endpoints = proving === undefined ? table : withAvailable(table, proving);
    let made = makePlan(request, viewOf(endpoints), nowMs, random, scratch);
    if (!isInfeasible(made) && !mayExplore(made, request, endpoints, nowMs))
      made = makePlan(request, viewOf(withoutExploration(endpoints)), nowMs, random, scratch);
    if (isInfeasible(made) && proving === undefined && endpoints.count < endpointStates.all.size) {
      // Nothing on the shortlist will do: something else might.
      made = makePlan(
        request,
        viewOf(endpointStates.tables.all(known, call.tenant, nowMs)),
        nowMs,
        random,
        scratch,
      );
    }
    if (!parts.directory || request.unexplained === true) return made;
    const { entries: _endpoints, ...directory } = parts.directory.snapshot();
    return Object.assign(made, { directory });
  };
}
