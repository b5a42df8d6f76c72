import { LongshoreError } from "@longshore/core";
import {
  meanBitsPerSecond,
  type ScenarioFile,
  type SimulatedRun,
  simulate,
  simulationOf,
  type Trace,
  usualEndpoint,
} from "@longshore/lab";
import { arrivalsFrom, linkFrom, linksFrom, type LinkTraces } from "./open-traces.ts";
import { openSimulatedModel } from "./open-simulated-model.ts";

/** Where words go while it runs. */
export interface RunNotes {
  note(text: string): void;
  progress(text: string): void;
}

/** Runs that a scenario makes, with the scenario's own words. */
export interface ScenarioResult {
  readonly scenario: ScenarioFile;
  readonly model: string;
  readonly runs: readonly SimulatedRun[];
}

const defaults = { requests: 300, arrivals: "every:500" } as const;

/**
 * Replays a scenario once for each of its traces and arrivals. Throws `invalid-input` for traces, arrivals or a model that
 * cannot be read.
 */
export async function runScenarioFile(scenario: ScenarioFile, notes: RunNotes): Promise<ScenarioResult> {
  const {
    endpoints = [usualEndpoint],
    arrivals = [defaults.arrivals],
    requests = defaults.requests,
  } = scenario;
  const { model, deviceSpeed } = await openSimulatedModel(scenario.model);
  const replayed = await linksFrom(scenario.traces ?? [], notes.note);
  const own = await Promise.all(
    endpoints.map(async ({ up, down }) => (up === undefined ? undefined : linkFrom(up, down))),
  );
  const lacking = endpoints.find((_, index) => !own[index]);
  if (lacking && replayed.length === 0) {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `the endpoint ${lacking.id} has no uplink: name traces to replay (--trace FILE, a folder or a rate such as 5mbit), or give it one (--endpoint ${lacking.id},up=FILE)`,
    );
  }
  const traces: readonly (LinkTraces | undefined)[] = lacking ? replayed : [undefined];
  const runs: SimulatedRun[] = [];
  for (const trace of traces) {
    for (const source of arrivals) {
      const { seed = 1, stretch = 1 } = scenario;
      const { name, arrivalsMs } = await arrivalsFrom(source, requests, seed, stretch);
      if (scenario.requests !== undefined && arrivalsMs.length < requests)
        notes.note(
          `${name} holds ${arrivalsMs.length} arrivals, so no more than these of ${requests} requests are made`,
        );
      const links = (endpoint: number): LinkTraces => {
        const found = own[endpoint] ?? trace;
        if (!found) throw new LongshoreError("internal", "resolve", "an endpoint without a link");
        return found;
      };
      const simulation = simulationOf(scenario, { model, deviceSpeed, links, arrivalsMs });
      const title = [trace?.up.name, name].filter((part) => part !== undefined).join(", ");
      const at = `replay ${runs.length + 1} of ${traces.length * arrivals.length}`;
      notes.progress(`${at}: ${title}`);
      const ways = await simulate(simulation, (text) => notes.progress(`${at}: ${title}: ${text}`));
      runs.push({
        name: title,
        ways,
        limits: simulation.limits,
        notCounted: simulation.notCounted,
        links: simulation.endpoints.map(({ info, up }) => ({ endpoint: info.id, up })),
      });
    }
  }
  return { scenario, model: model.description.name, runs };
}

/** The capacity of a link, in words. */
export function linkText(trace: Trace): string {
  return `${trace.name} (${trace.origin}, ${(meanBitsPerSecond(trace) / 1e6).toPrecision(3)} Mbit/s)`;
}
