import {
  Behind,
  type Clock,
  type EndpointId,
  failureEvent,
  LongshoreError,
  SpareControllers,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { type Checks, createChecks, reachability, readiness } from "../check/index.ts";
import {
  type DeviceDemand,
  deviceDemand,
  type ProbeDue,
  radios,
  type RetryBudget,
  retryBudget,
  idleDevice,
  strained,
} from "../../decide/estimate/index.ts";
import { checkLimits, demands } from "../../decide/goal/index.ts";
import {
  type DeviceView,
  type Infeasible,
  isInfeasible,
  makePlan,
  type ModelView,
  type Plan,
  type PlanRequest,
  type View,
  planScratch,
} from "../../decide/plan/index.ts";
import { type EndpointTable, routeTable, withAvailable } from "../../decide/table/index.ts";
import { releaser } from "../../words/tensor/index.ts";
import { followEndpoints, type EndpointStates, radioState, type RadioState } from "../endpoints/index.ts";
import { linkProbes, linkUpkeep, loadProbes } from "../probe/index.ts";
import { type Held, withStepModels } from "../steps/index.ts";
import { type Backlog, backlogOf, type Payback, payback } from "../frames/index.ts";
import type { Tally } from "../account/index.ts";
import { type Job, nobody } from "./job.ts";
import { type Knowledge, knowledgeOf } from "../knowledge/index.ts";
import { type KnownModel, slownessHere } from "../models/index.ts";
import { type LocalWork, localWork, type PartFilter, type Warmth, warmth } from "../endpoints/index.ts";
import type { OffloadParts } from "./parts.ts";
import { Waiting } from "./retries.ts";

/** The state that all requests of one offloader share: beliefs about endpoints, models and this device. */
export interface Loop {
  readonly parts: OffloadParts;
  readonly self: EndpointId;
  readonly clock: Clock;
  readonly local: Endpoint | undefined;
  readonly endpoints: EndpointStates;
  readonly knowledge: Knowledge;
  /** Checks of answers; undefined if they are not configured. */
  readonly checks: Checks | undefined;
  readonly ready: ReturnType<typeof readiness>;
  /** Whether any other endpoint answers now. */
  readonly reaches: ReturnType<typeof reachability>;
  readonly work: LocalWork;
  /** What plans for throughput have put on device, links and endpoints. */
  readonly backlog: Backlog;
  /** Which parts are worth loading for frames. */
  readonly payback: Payback;
  /** Which parts are present, and loaded where. A request that can avoid a load does not wait for it. */
  readonly warmth: Warmth;
  /** When requests come to this offloader, and which of them run here. */
  readonly arrivals: DeviceDemand;
  readonly radio: RadioState;
  /** Budget of runs elsewhere beyond the first of each request. */
  readonly retries: RetryBudget;
  /** Requests that wait to be retried. */
  readonly waiting: Waiting;
  readonly activeWatts: number;
  /** Frees memory that belongs to this loop and is no longer read. */
  readonly release: (bytes: Uint8Array) => void;
  /** Of the calls of legs. */
  readonly controllers: SpareControllers;
  /** Learning from answers, done after the reply and before the next decision. */
  readonly behind: Behind<() => void>;
  /** Decides where `job` goes on from `held`; with `only` among those parts. */
  plan(
    job: Job,
    held: Held,
    exclude: ReadonlySet<EndpointId>,
    nowMs: number,
    only?: PartFilter,
  ): Plan | Infeasible;
  /** Updates the beliefs from recent observations, soon and not while a request waits. */
  upkeep(): void;
  /** Probes links that were not used for a while and could pay, after a request that was answered or cannot be answered in time. */
  tryLinks(job: Job, plan: Plan, tally: Tally): void;
  /** Whether links are tried after a request that is refused now, which takes a plan: see `LinkProbes`. */
  triesRefused(nowMs: number): boolean;
  /** Polls the load of the endpoints that were next best in a decision. */
  askLoads(plan: Plan): void;
  /** Before a decision: waits for load reports that are worth it, of endpoints that other clients use, too. */
  news(job: Job): Promise<void> | undefined;
  /** Ends asking and watching; does not close endpoints. */
  stop(): void;
}

/**
 * If other clients send at the same moment, endpoints with scores within this share of the best count as equal, so that not all clients
 * choose the same.
 */
const crowdedTieRatio = 0.05;

/** Makes the loop of an offloader. */
export function createLoop(given: OffloadParts): Loop {
  const parts = withStepModels(given);
  const { clock, local, random } = parts;
  if (parts.defaults) checkLimits(parts.defaults, demands.ofDefaults, true);
  const self = parts.id ?? local?.info.id ?? "offloader";
  const endpointStates = followEndpoints(parts, self);
  const checks =
    parts.checks &&
    createChecks({
      clock,
      random,
      observer: parts.observer,
      options: parts.checks,
      endpoints: endpointStates.all,
      changed: () => endpointStates.touched(),
    });
  const knowledge = knowledgeOf(parts, endpointStates, self, checks);
  const { device = {} } = parts;
  const work = localWork(device.slots ?? 1, clock);
  const backlog = backlogOf(device.slots ?? 1);
  const warm = warmth(local, endpointStates, self, parts);
  const radio = device.radio ?? radios.wired;
  const radioNow = radioState(radio);
  const demand = deviceDemand();
  const rated = local?.info.rates.activeWatts ?? 0;
  const activeWatts = device.activeWatts ?? (rated > 0 ? rated : 2);
  const upkeep = linkUpkeep(clock, endpointStates);
  const probes = linkProbes(parts, endpointStates, upkeep.news);
  const loads = loadProbes(parts, endpointStates, parts.upkeep?.loadProbesPerRequest ?? 3);
  const behind = new Behind<() => void>(clock, (work) => {
    try {
      work();
    } catch (thrown) {
      // For example from an app's own link, when a probe is considered: no request waits for that.
      const error = LongshoreError.from(thrown, "plan", "learning from what was answered");
      parts.observer.record(failureEvent(error, { id: "behind" }, clock.nowMs()));
    }
  });
  let views = 0;
  /** Loads are polled once for a request, however often it is planned. */
  let lastCallId: string | undefined;
  const scratch = planScratch();
  let stopped = false;
  /** Route tables by endpoint table, valid while the endpoints have the same positions. */
  const routes = new WeakMap<
    KnownModel,
    { readonly index: EndpointTable["index"]; readonly view: ModelView }
  >();

  /** The part of a model's view that changes with each run and answer. */
  function beliefsOf(
    known: KnownModel,
  ): Required<Pick<ModelView, "localSlowness" | "asked" | "assumed" | "assumedHere">> {
    const assumed = known.profile.measuredOn.threads === 0;
    const unrun = (speeds: KnownModel["speeds"]): boolean =>
      speeds.every((buckets) => buckets.every(({ runs }) => runs === 0));
    return {
      localSlowness: slownessHere(known),
      asked: known.asked,
      assumed,
      assumedHere: assumed && unrun(known.speeds),
    };
  }

  function modelView(known: KnownModel, endpoints: EndpointTable): ModelView {
    const { index, ids } = endpoints;
    const kept = routes.get(known);
    if (kept?.index === index) {
      const { table, routes: kinds } = kept.view;
      return { table, routes: kinds, ...beliefsOf(known) };
    }
    const view: ModelView = {
      table: known.table,
      routes: routeTable(
        ids.length < endpointStates.all.size
          ? ids.flatMap((id) => known.blocksBy.get(id) ?? [])
          : known.blocks,
        known.table,
        index,
      ),
      ...beliefsOf(known),
    };
    routes.set(known, { index, view });
    return view;
  }

  function deviceView(nowMs: number): DeviceView {
    const { wakeMillijoules, gapMs } = radioNow.price(nowMs);
    const { strainRatio = 0, why } = device.health?.() ?? {};
    const fills = work.fills(nowMs);
    return {
      info: local?.info,
      queueMs: work.queueMs(nowMs),
      price:
        fills || strainRatio > 0
          ? (runMs) => strained(fills ? demand.price(nowMs, runMs) : idleDevice, strainRatio)
          : undefined,
      strain: why,
      loss: parts.hedges,
      memoryBytes: device.memoryBytes?.() ?? Infinity,
      activeWatts: device.millijoulesPerMs?.() ?? activeWatts,
      idleWatts: device.idleWatts ?? 0,
      radio,
      radioWakeMillijoules: wakeMillijoules,
      radioGapMs: gapMs,
      battery: device.battery?.(),
    };
  }

  return {
    parts,
    self,
    clock,
    local,
    endpoints: endpointStates,
    knowledge,
    checks,
    ready: readiness(clock, endpointStates.all),
    reaches: reachability(clock, endpointStates.all),
    work,
    backlog,
    payback: payback(),
    warmth: warm,
    arrivals: demand,
    radio: radioNow,
    retries: retryBudget(),
    waiting: new Waiting(),
    activeWatts,
    release: releaser(),
    controllers: new SpareControllers(),
    behind,
    plan(job, held, exclude, nowMs, only) {
      behind.settle();
      if (job.call.id !== lastCallId) radioNow.asked(nowMs);
      lastCallId = job.call.id;
      const { known, call, sequence } = job;
      const { name, version, digest, dataClass } = known.description;
      const viewOf = (endpoints: EndpointTable): View => ({
        number: ++views,
        atMs: nowMs,
        self,
        device: deviceView(nowMs),
        endpoints,
        models: new Map([[name, modelView(known, endpoints)]]),
        policy: parts.policy,
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
        unexplained: job.unexplained,
        whole: job.whole,
        sequence: sequence && {
          step: sequence.step,
          resident: sequence.resident,
          carried: sequence.state !== undefined,
        },
        tieRatio: loads.useful(nowMs) ? crowdedTieRatio : undefined,
        evenLate: job.evenLate,
        ready:
          only &&
          ((id = local?.info.id ?? self, part) => only(id, { model: name, version, digest, ...part })),
      };
      // A probe train for this request may still be on its way. Its results so far count.
      for (const endpoint of probes.news(nowMs)) endpoint.refreshLink(nowMs);
      const also = job.proving ?? sequence?.resident;
      const { features, bytes } = held;
      const table = endpointStates.tableFor(
        known,
        call.tenant,
        { rules: call.rules, features, bytes, also },
        nowMs,
      );
      const endpoints = job.proving === undefined ? table : withAvailable(table, job.proving);
      let made = makePlan(request, viewOf(endpoints), nowMs, random, scratch);
      if (isInfeasible(made) && job.proving === undefined && endpoints.count < endpointStates.all.size) {
        // Nothing on the shortlist will do: something else might.
        made = makePlan(
          request,
          viewOf(endpointStates.table(known, call.tenant, nowMs)),
          nowMs,
          random,
          scratch,
        );
      }
      if (!parts.directory || request.unexplained === true) return made;
      const { entries: _endpoints, ...directory } = parts.directory.snapshot();
      return Object.assign(made, { directory });
    },
    upkeep: upkeep.news,
    tryLinks(job, plan, { lostLegs: lost }) {
      if (stopped || endpointStates.all.size === 0 || plan.objective === "energy") return;
      const nowMs = clock.nowMs();
      const due = (atMs: number): ProbeDue => demand.probeDueMs(atMs);
      const dueAtMs = nowMs + demand.soonestMs(nowMs);
      probes.consider({ known: job.known, features: job.held.features, plan, lost, dueAtMs, due }, nowMs);
    },
    triesRefused: (nowMs) => probes.refused(nowMs),
    askLoads(plan) {
      if (!stopped && plan.objective !== "energy") loads.consider(plan, clock.nowMs());
    },
    news(job) {
      const nowMs = clock.nowMs();
      if (stopped || job.frame || !loads.useful(nowMs) || job.limits.objective === "energy") return undefined;
      if (job.sequence?.resident !== undefined) return undefined;
      const plan = this.plan(job, job.held, nobody, nowMs);
      return isInfeasible(plan) ? undefined : loads.before(plan, nowMs);
    },
    stop() {
      behind.settle();
      stopped = true;
      probes[Symbol.dispose]();
      loads[Symbol.dispose]();
      warm[Symbol.dispose]();
      upkeep[Symbol.dispose]();
      endpointStates[Symbol.dispose]();
      knowledge[Symbol.dispose]();
      checks?.[Symbol.dispose]();
    },
  };
}
