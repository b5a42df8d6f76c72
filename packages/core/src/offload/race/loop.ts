import {
  DeferredWork,
  type Clock,
  type EndpointId,
  failureEvent,
  LongshoreError,
  SpareControllers,
} from "../../words/base/index.ts";
import { releaser } from "../../words/tensor/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { type RetryBudget, retryBudget } from "../../decide/estimate/index.ts";
import { checkLimits, limitChecks } from "../../decide/goal/index.ts";
import { checkDataClass } from "../../decide/policy/index.ts";
import { type Checks, createChecks, reachability, readiness } from "../check/index.ts";
import { followEndpoints, type EndpointStates } from "../endpoints/index.ts";
import { type Backlog, backlogOf, type Payback, payback } from "../frames/index.ts";
import { type Knowledge, knowledgeOf } from "../knowledge/index.ts";
import { withStepModels } from "../steps/index.ts";
import { type DeviceState, followDevice } from "./device-state.ts";
import type { OffloadParts } from "./parts.ts";
import { createPlanner, type Planner } from "./planner.ts";
import { createProbing, type Probing } from "./probing.ts";
import { RetryQueue } from "./retries.ts";

/** The setting of an offloader, which stays the same while it is open. */
export interface LoopSetting {
  readonly parts: OffloadParts;
  readonly self: EndpointId;
  readonly clock: Clock;
  readonly local: Endpoint | undefined;
}

/** The beliefs about other endpoints, models and this device. */
export interface LoopBeliefs {
  readonly endpoints: EndpointStates;
  readonly knowledge: Knowledge;
  readonly device: DeviceState;
}

/** The work that serves all requests. */
interface LoopWork {
  readonly plan: Planner;
  readonly probing: Probing;
  /** Whether endpoints are there, ready, and right. */
  readonly health: {
    /** Checks of answers; undefined if they are not configured. */
    readonly checks: Checks | undefined;
    readonly ready: ReturnType<typeof readiness>;
    /** Whether any other endpoint answers now. */
    readonly reaches: ReturnType<typeof reachability>;
  };
  /** Budget of runs elsewhere beyond the first of each request, and the requests that wait to be retried. */
  readonly retrying: { readonly budget: RetryBudget; readonly waiting: RetryQueue };
  /** Of streams of frames. */
  readonly frames: {
    /** The load that plans for throughput have put on device, links and endpoints. */
    readonly backlog: Backlog;
    /** Which parts are worth loading for frames. */
    readonly payback: Payback;
  };
  /** Learning from answers, done after the reply and before the next decision. */
  readonly deferred: DeferredWork<() => void>;
}

/** The state that all requests of one offloader share. A function takes the part of it that it reads. */
export interface Loop extends LoopSetting, LoopBeliefs, LoopWork {
  readonly memory: {
    /** Frees memory that belongs to this loop and is no longer read. */
    readonly release: (bytes: Uint8Array) => void;
    /** Of the calls of legs. */
    readonly controllers: SpareControllers;
  };
  /** Ends asking and watching; does not close endpoints. */
  stop(): void;
}

/** Makes the loop of an offloader. */
export function createLoop(given: OffloadParts): Loop {
  const parts = withStepModels(given);
  const { clock, local, random, observer } = parts;
  if (parts.defaults) checkLimits(parts.defaults, limitChecks.ofDefaults, true);
  if (parts.defaults?.dataClass !== undefined)
    checkDataClass(parts.policy, parts.defaults.dataClass, "defaults.dataClass", "invalid-configuration");
  const self = parts.id ?? local?.info.id ?? "offloader";
  const endpoints = followEndpoints(parts, self);
  const checks =
    parts.checks &&
    createChecks({
      clock,
      random,
      observer,
      options: parts.checks,
      endpoints: endpoints.all,
      changed: () => endpoints.tables.touched(),
    });
  const knowledge = knowledgeOf(parts, endpoints, self, checks);
  const device = followDevice(parts, clock, endpoints, self);
  const probing = createProbing(parts, clock, endpoints, device);
  const deferred = new DeferredWork<() => void>(clock, (work) => {
    try {
      work();
    } catch (thrown) {
      // For example from an app's own link, when a probe is considered: no request waits for that.
      const error = LongshoreError.from(thrown, "plan", "learning from what was answered");
      observer.record(failureEvent(error, { id: "behind" }, clock.nowMs()));
    }
  });
  const settle = (nowMs: number): void => {
    deferred.settle();
    probing.settle(nowMs);
  };
  const crowded = (nowMs: number): boolean => probing.crowded(nowMs);
  return {
    parts,
    self,
    clock,
    local,
    endpoints,
    knowledge,
    device,
    plan: createPlanner({ parts, self, clock, endpoints, device, settle, crowded }),
    probing,
    health: {
      checks,
      ready: readiness(clock, endpoints.all),
      reaches: reachability(clock, endpoints.all),
    },
    retrying: { budget: retryBudget(), waiting: new RetryQueue(parts.retry) },
    frames: { backlog: backlogOf(parts.device?.slots ?? 1), payback: payback() },
    memory: { release: releaser(), controllers: new SpareControllers() },
    deferred,
    stop() {
      deferred.settle();
      probing[Symbol.dispose]();
      device.warmth[Symbol.dispose]();
      endpoints[Symbol.dispose]();
      knowledge[Symbol.dispose]();
      checks?.[Symbol.dispose]();
    },
  };
}
