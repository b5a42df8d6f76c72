/**
 * Runs requests through an offloader on any clock and writes down what became of each: the rows that a demo prints and a
 * bench computes its figures from.
 */
import {
  type Account,
  type Clock,
  type Inputs,
  type Limits,
  LongshoreError,
  type Offloader,
  type Reason,
  type Result,
  type StageTime,
} from "@longshore/core";
import type { VirtualClock } from "./virtual-clock.ts";

/** One request of a scenario. */
export interface ScenarioRequest {
  readonly atMs: number;
  readonly model: string;
  readonly inputs: Inputs;
  readonly limits?: Limits;
  /** Judges the answer; undefined when there is no known truth. */
  readonly check?: (result: Result) => boolean;
}

/** Something that happens to the world: a link is cut, an endpoint goes down, a limit changes. */
export interface ScenarioEvent {
  readonly atMs: number;
  readonly what: string;
  readonly happen: () => void;
}

/** A scenario: the model, the requests, the events. */
export interface Scenario {
  readonly offloader: Pick<Offloader, "infer">;
  readonly clock: Clock;
  readonly requests: readonly ScenarioRequest[];
  readonly events?: readonly ScenarioEvent[];
  /** Told of each row as it is written. */
  readonly wrote?: (row: ScenarioRow) => void;
}

/** Milliseconds by stage. */
export type StageSums = Readonly<Partial<Record<StageTime["stage"], number>>>;

/** The outcome of a request. Times in milliseconds since the scenario began. */
export interface ScenarioRow {
  readonly index: number;
  readonly atMs: number;
  readonly model: string;
  readonly outcome: "answered" | Reason;
  /** Endpoint whose leg gave the answer; empty when none did. */
  readonly where: string;
  /** Segments of the plan that was followed last, as `segment@endpoint`, in order. */
  readonly legs: readonly string[];
  readonly because: string;
  readonly tookMs: number;
  /**
   * The accounts of the endpoints that had a part in the answer, by stages: sums, which may overlap in time. Legs that a
   * gateway forwarded are left out.
   */
  readonly stagesMs: StageSums;
  readonly predictedMs: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly energyMillijoules: number;
  readonly energyLabel: "measured" | "estimated" | "";
  readonly costMicros: number;
  /** Legs that ran in vain. */
  readonly lostLegs: number;
  /** Undefined when there was no truth to compare with. */
  readonly right: boolean | undefined;
}

/**
 * Starts each request at its instant, whether earlier ones are done or not, and resolves with all rows, in order of the
 * requests, when the last has ended. Never rejects for a request that fails: its reason is the outcome.
 */
export async function runScenario(scenario: Scenario): Promise<readonly ScenarioRow[]> {
  const { clock, offloader, requests, events = [], wrote } = scenario;
  const beganMs = clock.nowMs();
  const at = (atMs: number): Promise<void> =>
    new Promise((resolve) => clock.timer(beganMs + atMs - clock.nowMs(), resolve));

  async function one(request: ScenarioRequest, index: number): Promise<ScenarioRow> {
    await at(request.atMs);
    const startedMs = clock.nowMs();
    let row: ScenarioRow;
    try {
      const result = await offloader.infer(request.model, request.inputs, request.limits ?? {});
      row = answered(request, index, result);
    } catch (thrown) {
      const { reason, message } = LongshoreError.from(thrown, "execute", "a scenario's request");
      row = { ...failed(request, index, reason, message), tookMs: clock.nowMs() - startedMs };
    }
    wrote?.(row);
    return row;
  }

  const happenings = events.map(async (event) => {
    await at(event.atMs);
    event.happen();
  });
  const rows = await Promise.all(requests.map(one));
  await Promise.all(happenings);
  return rows;
}

/** Runs a scenario to its end on a virtual clock. */
export function runScenarioOn(
  clock: VirtualClock,
  scenario: Omit<Scenario, "clock">,
): Promise<readonly ScenarioRow[]> {
  return clock.runUntil(runScenario({ ...scenario, clock }));
}

function stageSums(accounts: readonly Account[]): StageSums {
  const sums: Partial<Record<StageTime["stage"], number>> = {};
  for (const { stages } of accounts) {
    for (const { stage, tookMs } of stages) sums[stage] = (sums[stage] ?? 0) + tookMs;
  }
  return sums;
}

function answered(request: ScenarioRequest, index: number, result: Result): ScenarioRow {
  const plan = result.plans[result.plans.length - 1];
  return {
    index,
    atMs: request.atMs,
    model: request.model,
    outcome: "answered",
    where: result.where,
    legs: (plan?.legs ?? []).map(({ segment, endpoint }) => `${segment.from}..${segment.to}@${endpoint}`),
    because: result.because,
    tookMs: result.tookMs,
    stagesMs: stageSums(result.accounts),
    predictedMs: result.predictedMs,
    sentBytes: result.sentBytes,
    receivedBytes: result.receivedBytes,
    energyMillijoules: result.energy.millijoules,
    energyLabel: result.energy.label,
    costMicros: result.costMicros,
    lostLegs: result.lostLegs.length,
    right: request.check?.(result),
  };
}

function failed(request: ScenarioRequest, index: number, reason: Reason, message: string): ScenarioRow {
  return {
    index,
    atMs: request.atMs,
    model: request.model,
    outcome: reason,
    where: "",
    legs: [],
    because: message,
    tookMs: 0,
    stagesMs: {},
    predictedMs: NaN,
    sentBytes: 0,
    receivedBytes: 0,
    energyMillijoules: 0,
    energyLabel: "",
    costMicros: 0,
    lostLegs: 0,
    right: undefined,
  };
}
