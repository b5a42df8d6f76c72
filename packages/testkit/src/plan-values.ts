import { endCut, type Leg, type Plan, startCut, type Travels } from "@longshore/core";
import { certain } from "@longshore/core/internal";

/** The prediction of a leg or a plan that takes no time, costs nothing and sends nothing. */
export const testPredicted: Plan["predicted"] = {
  completionMs: certain(0),
  deviceMillijoules: 0,
  costMicros: 0,
  mostMicros: 0,
  agreementRatio: 1,
  accuracyRatio: undefined,
  sentBytes: 0,
};

/** A way to another endpoint and back that takes no time. */
export const testTravels: Travels = {
  upMs: certain(0),
  thereMs: certain(0),
  downMs: certain(0),
  promisedMs: 0,
};

/** A leg that runs all of model `m` from the beginning. Its ID is its endpoint's by default. */
export function testLeg(change: Partial<Leg> & Pick<Leg, "endpoint">): Leg {
  return {
    id: change.endpoint,
    segment: { model: "m", version: "1", digest: "", variant: "default", from: startCut, to: endCut },
    takes: "request",
    codecs: {},
    state: "none",
    starts: [{ on: "begin" }],
    spends: "nothing",
    predicted: testPredicted,
    ...change,
  };
}

/** A plan of these legs for model `m`, with latency as its objective. */
export function testPlan(legs: readonly Leg[], change: Partial<Plan> = {}): Plan {
  return {
    schemaVersion: 1,
    view: 1,
    model: "m",
    variant: "default",
    from: startCut,
    objective: "latency",
    legs,
    predicted: testPredicted,
    because: "the test says so",
    candidates: legs.length,
    lost: [],
    ...change,
  };
}
