import {
  type Call,
  endCut,
  housekeepingCall,
  type InferenceRequest,
  LongshoreError,
  startCut,
} from "@longshore/core";
import type { LoadedVersion, Program } from "../repository/index.ts";
import type { Admission, Demand, GraphLease, GraphPool, Scheduler } from "../schedule/index.ts";
import { checkInputs } from "./check-inputs.ts";
import { admitAt, type Door, type DoorParts, type Doors, isShed, type Pass } from "./doors.ts";
import { checkBounds, isForeign } from "./foreign.ts";
import type { ModelAction, PlanCache, SegmentPlan } from "../run/index.ts";
import { programOf, standIns } from "./variants.ts";

/** Everything that a plan runs, loaded. */
export interface Leases extends Disposable {
  readonly all: ReadonlyMap<ModelAction, GraphLease>;
  readonly schedulers: ReadonlySet<Scheduler>;
}

/** A request that may run: how, on what, in which places. Dispose it when the request is over. */
export interface Granted extends Disposable {
  readonly program: Program;
  readonly plan: SegmentPlan;
  readonly leases: Leases;
  readonly admission: Admission;
}

export interface GrantParts extends DoorParts {
  readonly pool: GraphPool;
  readonly plans: PlanCache;
  readonly doors: Doors;
}

/**
 * Resolves a request and grants it. When the segment's variant cannot make the deadline and the caller takes another, the
 * most alike that can. Throws as `admit` does.
 */
export async function grantRequest(
  parts: GrantParts,
  loaded: LoadedVersion,
  owner: object,
  request: InferenceRequest,
  call: Call,
): Promise<Granted> {
  const pass = passOf(request);
  const asked = request.segment.variant;
  try {
    return await grantVariant(parts, loaded, owner, request, pass?.variant ?? asked, pass, call);
  } catch (thrown) {
    if (!isShed(thrown)) throw thrown;
    const { variant } = programOf(loaded, asked, parts.info);
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
}

/** Passes are this engine's own: what another place granted counts for nothing here. */
const passes = new WeakSet<Disposable>();

/** Marks a pass as ours. */
export function ownPass(pass: Pass): Pass {
  passes.add(pass);
  return pass;
}

function passOf({ pass }: InferenceRequest): Pass | undefined {
  // Only passes of `ownPass` are in the set.
  return pass && passes.has(pass) ? (pass as Pass) : undefined;
}

async function grantVariant(
  parts: GrantParts,
  loaded: LoadedVersion,
  owner: object,
  request: InferenceRequest,
  variant: string,
  pass: Pass | undefined,
  call: Call,
): Promise<Granted> {
  const { segment } = request;
  const program = programOf(loaded, variant, parts.info);
  const plan = await parts.plans.get(program, segment.from, segment.to, request.outputs, call);
  checkInputs(plan, request.inputs);
  checkBounds(loaded, plan, request.inputs, call);
  const leases = await leaseAll(parts.pool, plan, owner, call);
  try {
    const demands = (): readonly Demand[] =>
      [...leases.all].map(([action, { scheduler }]) => ({
        scheduler,
        runs: action.step.forEach === undefined ? 1 : parts.expectations.elements(action.step),
      }));
    const door: Door = { loaded, plan, demands };
    parts.doors.remember({ ...segment, variant }, door);
    const kept = pass?.take();
    const fits = kept && demands().every(({ scheduler }) => kept.ticket(scheduler));
    if (!fits) kept?.[Symbol.dispose]();
    const admission = fits ? kept : admitAt(door, parts, call);
    return {
      program,
      plan,
      leases,
      admission,
      [Symbol.dispose]: () => {
        admission[Symbol.dispose]();
        leases[Symbol.dispose]();
      },
    };
  } catch (thrown) {
    leases[Symbol.dispose]();
    throw thrown;
  }
}

/** Leases all that a plan runs; given back when one of them cannot be loaded. */
async function leaseAll(pool: GraphPool, plan: SegmentPlan, owner: object, call: Call): Promise<Leases> {
  const all = new Map<ModelAction, GraphLease>();
  const giveBack = (): void => {
    for (const lease of all.values()) lease[Symbol.dispose]();
  };
  const foreign = isForeign(plan, call);
  const leased = await Promise.allSettled(
    plan.models.map(async (action) => {
      all.set(action, await pool.lease(action.step.graph, action.from, action.to, owner, call, foreign));
    }),
  );
  for (const one of leased) {
    if (one.status === "fulfilled") continue;
    giveBack();
    throw LongshoreError.from(one.reason, "execute", "loading a model");
  }
  const schedulers = new Set([...all.values()].map(({ scheduler }) => scheduler));
  return { all, schedulers, [Symbol.dispose]: giveBack };
}

function allLoaded(pool: GraphPool, { steps }: Program): boolean {
  return steps.every(
    (step) => step.kind !== "model" || pool.loaded(step.graph, startCut, endCut) !== undefined,
  );
}

function warm(pool: GraphPool, { steps }: Program, owner: object): void {
  for (const step of steps) {
    if (step.kind !== "model") continue;
    pool.lease(step.graph, startCut, endCut, owner, housekeepingCall("load")).then(
      (lease) => lease[Symbol.dispose](),
      // Whoever asks for the variant itself is told why it cannot be loaded.
      () => undefined,
    );
  }
}
