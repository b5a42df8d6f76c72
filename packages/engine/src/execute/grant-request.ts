import { type Call, endCut, type InferenceRequest, LongshoreError, startCut } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { GraphBody, LoadedVersion, Program } from "../repository/index.ts";
import type { Admission, Demand, GraphLease, GraphPool, Scheduler } from "../schedule/index.ts";
import { checkInputs } from "./check-inputs.ts";
import {
  admitAt,
  type KnownSegment,
  type EarlyAdmissionParts,
  type EarlyAdmission,
  isShed,
  ownPass,
  type Pass,
} from "./early-admission.ts";
import { checkBounds, isForeign } from "./foreign.ts";
import type { ModelAction, PlanCache, SegmentPlan } from "../run/index.ts";
import { programOf, standIns } from "./variants.ts";

/** Everything that a plan runs, loaded. */
export interface Leases extends Disposable {
  readonly all: ReadonlyMap<ModelAction, GraphLease>;
  readonly schedulers: ReadonlySet<Scheduler>;
}

/** A request that may run: its variant, its graphs and its admission. Dispose it when the request is over. */
export interface Granted extends Disposable {
  readonly program: Program;
  readonly plan: SegmentPlan;
  readonly leases: Leases;
  readonly admission: Admission;
}

class AllLeases implements Leases {
  readonly all: ReadonlyMap<ModelAction, GraphLease>;
  readonly schedulers: ReadonlySet<Scheduler>;

  constructor(all: ReadonlyMap<ModelAction, GraphLease>) {
    const schedulers = new Set<Scheduler>();
    for (const { scheduler } of all.values()) schedulers.add(scheduler);
    this.all = all;
    this.schedulers = schedulers;
  }

  [Symbol.dispose](): void {
    for (const lease of this.all.values()) lease[Symbol.dispose]();
  }
}

class GrantedHere implements Granted {
  readonly program: Program;
  readonly plan: SegmentPlan;
  readonly leases: Leases;
  readonly admission: Admission;

  constructor(plan: SegmentPlan, leases: Leases, admission: Admission) {
    this.program = plan.program;
    this.plan = plan;
    this.leases = leases;
    this.admission = admission;
  }

  [Symbol.dispose](): void {
    this.admission[Symbol.dispose]();
    this.leases[Symbol.dispose]();
  }
}

export interface GrantParts extends EarlyAdmissionParts {
  readonly pool: GraphPool;
  readonly plans: PlanCache;
  readonly earlyAdmission: EarlyAdmission;
}

/**
 * Resolves a request and grants it: at once, where all that it needs is loaded. When the segment's variant cannot make the
 * deadline and the caller takes another, the most alike that can. Throws and rejects as `admit` throws.
 */
export function grantRequest(
  parts: GrantParts,
  loaded: LoadedVersion,
  owner: object,
  request: InferenceRequest,
  call: Call,
): Granted | Promise<Granted> {
  const pass = ownPass(request.pass);
  const variant = pass?.variant ?? request.segment.variant;
  const others = (thrown: unknown): Promise<Granted> =>
    grantOther(parts, loaded, owner, request, call, thrown);
  try {
    const granted = grantVariant(parts, loaded, owner, request, variant, pass, call);
    return granted instanceof Promise ? granted.catch(others) : granted;
  } catch (thrown) {
    return others(thrown);
  }
}

async function grantOther(
  parts: GrantParts,
  loaded: LoadedVersion,
  owner: object,
  request: InferenceRequest,
  call: Call,
  thrown: unknown,
): Promise<Granted> {
  if (!isShed(thrown)) throw thrown;
  const { variant } = programOf(loaded, request.segment.variant, parts.info);
  for (const { name } of standIns(loaded, variant, request.leastAgreementRatio, parts.info)) {
    const program = programOf(loaded, name, parts.info);
    if (!allLoaded(parts.pool, program)) {
      // It cannot help this request, but it should be there for the next one.
      warm(parts.pool, program, owner);
      continue;
    }
    try {
      return await grantVariant(parts, loaded, owner, request, name, undefined, call);
    } catch (again) {
      if (!isShed(again)) throw again;
    }
  }
  throw thrown;
}

function grantVariant(
  parts: GrantParts,
  loaded: LoadedVersion,
  owner: object,
  request: InferenceRequest,
  variant: string,
  pass: Pass | undefined,
  call: Call,
): Granted | Promise<Granted> {
  const { from, to } = request.segment;
  const program = programOf(loaded, variant, parts.info);
  const plan = parts.plans.get(program, from, to, request.outputs, call);
  const grant = (plan: SegmentPlan): Granted | Promise<Granted> => {
    checkInputs(plan, request.inputs);
    checkBounds(loaded, plan, request.inputs, call);
    const leases = leaseAll(parts.pool, plan, owner, call);
    const onto = (leases: Leases): Granted =>
      grantOn(parts, { loaded, plan, leases }, request, variant, pass, call);
    return leases instanceof Promise ? leases.then(onto) : onto(leases);
  };
  return plan instanceof Promise ? plan.then(grant) : grant(plan);
}

/** Grants on what is leased, which is given back when that fails. */
function grantOn(
  parts: GrantParts,
  { loaded, plan, leases }: { loaded: LoadedVersion; plan: SegmentPlan; leases: Leases },
  request: InferenceRequest,
  variant: string,
  pass: Pass | undefined,
  call: Call,
): Granted {
  try {
    const demands = demandsOn(leases.all, parts);
    const entry: KnownSegment = { loaded, plan, demands };
    parts.earlyAdmission.remember(request.segment, variant, entry);
    const kept = pass?.take();
    const fits = kept && demands().every(({ scheduler }) => kept.ticket(scheduler));
    if (!fits) kept?.[Symbol.dispose]();
    const admission = fits ? kept : admitAt(entry, parts, call);
    return new GrantedHere(plan, leases, admission);
  } catch (thrown) {
    leases[Symbol.dispose]();
    throw thrown;
  }
}

/** The demands of a request on schedulers. Its number of elements is estimated each time. */
function demandsOn(
  leases: ReadonlyMap<ModelAction, GraphLease>,
  { expectations }: GrantParts,
): () => readonly Demand[] {
  const all: Demand[] = [];
  let varies = false;
  for (const [{ step }, { scheduler }] of leases) {
    varies ||= step.forEach !== undefined;
    all.push({ scheduler, runs: 1 });
  }
  if (!varies) return () => all;
  return () =>
    [...leases].map(([{ step }, { scheduler }]) => ({
      scheduler,
      runs: step.forEach === undefined ? 1 : expectations.elements(step),
    }));
}

/** Leases all that a plan runs, at once where it is loaded; given back when one of them cannot be loaded. */
export function leaseAll(
  pool: GraphPool,
  plan: SegmentPlan,
  owner: object,
  call: Call,
): Leases | Promise<Leases> {
  const all = new Map<ModelAction, GraphLease>();
  const failed = (thrown: unknown): LongshoreError => {
    new AllLeases(all)[Symbol.dispose]();
    return LongshoreError.from(thrown, "execute", "loading a model");
  };
  const foreign = isForeign(plan, call);
  const loading: Promise<unknown>[] = [];
  try {
    for (const action of plan.models) {
      const lease = pool.lease(action.step.graph, action.from, action.to, owner, call, foreign);
      if (lease instanceof Promise) loading.push(lease.then((one) => all.set(action, one)));
      else all.set(action, lease);
    }
  } catch (thrown) {
    loading.push(Promise.reject(thrown));
  }
  if (loading.length === 0) return new AllLeases(all);
  return Promise.allSettled(loading).then((leased) => {
    for (const one of leased) if (one.status === "rejected") throw failed(one.reason);
    return new AllLeases(all);
  });
}

function allLoaded(pool: GraphPool, { steps }: Program): boolean {
  return steps.every(
    (step) => step.kind !== "model" || pool.loaded(step.graph, startCut, endCut) !== undefined,
  );
}

function warm(pool: GraphPool, { steps }: Program, owner: object): void {
  for (const step of steps) {
    if (step.kind !== "model") continue;
    // A request for the variant itself gets the error of a failed load.
    warmGraph(pool, step.graph, owner).catch(() => undefined);
  }
}

async function warmGraph(pool: GraphPool, graph: GraphBody, owner: object): Promise<void> {
  const lease = await pool.lease(graph, startCut, endCut, owner, housekeepingCall("load"));
  lease[Symbol.dispose]();
}
