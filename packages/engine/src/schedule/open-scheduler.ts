import { type BatchIsolation, LongshoreError, type Random } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { Instance, type OpenSession } from "./instance.ts";
import { testInvariance } from "./invariance.ts";
import type { ResourceClaim } from "./rate-limiter.ts";
import { GraphScheduler } from "./scheduler.ts";
import type { Scheduler, SchedulerParts } from "./scheduler-interface.ts";

/** The parts of a scheduler. */
export interface OpenParts extends SchedulerParts {
  /** One for each instance. */
  readonly opens: readonly OpenSession[];
  /** The claim of each on shared resources for a run, in the same order. */
  readonly claims?: readonly (ResourceClaim | undefined)[];
  /** For the inputs of the test of batch invariance. */
  readonly random: Random;
}

/** Loads all instances; when one fails, those that were loaded are released and the failure is thrown. */
export async function openScheduler(parts: OpenParts): Promise<Scheduler> {
  const all = parts.opens.map((open, index) => new Instance(open, parts.clock, parts.claims?.[index]));
  const opened = await Promise.allSettled(all.map((one) => one.open()));
  const failure = opened.find((one) => one.status === "rejected");
  if (failure) {
    await Promise.all(all.map((one) => one.release()));
    throw LongshoreError.from(failure.reason, "execute", `loading ${parts.name}`);
  }
  return new GraphScheduler(parts, all, await isolationOf(parts, all[0]));
}

/** `shared` has to be earned: see `testInvariance`. */
async function isolationOf(
  { name, batching, clock, observer, random }: OpenParts,
  first: Instance | undefined,
): Promise<BatchIsolation> {
  const { isolation = "tenant", maxBatchSize } = batching;
  if (isolation !== "shared" || maxBatchSize <= 1 || !first) return isolation;
  const { result, ended } = first.run(0, (session) =>
    testInvariance(session, batching, random, housekeepingCall("test of batch invariance")),
  );
  const { passed, worstRatio, problem } = await result.catch((thrown: unknown) => ({
    passed: false,
    worstRatio: Infinity,
    problem: LongshoreError.from(thrown, "execute", "the test of batch invariance").message,
  }));
  await ended;
  observer.record({
    kind: "invariance-tested",
    atMs: clock.nowMs(),
    model: name,
    passed,
    worstRatio,
    ...(problem === undefined ? {} : { problem }),
  });
  return passed ? "shared" : "tenant";
}
