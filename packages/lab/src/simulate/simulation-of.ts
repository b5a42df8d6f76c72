import type { EndpointInfo, Tensor, Tier } from "@longshore/core";
import { radios } from "@longshore/core/internal";
import type { Trace } from "../trace/index.ts";
import type { SimulatedModel } from "../world/index.ts";
import { typicalInputs } from "./profiled-model.ts";
import type { ScenarioFile, WrittenEndpoint } from "./scenario-file.ts";
import type { Simulation, SimulationEndpoint } from "./simulation.ts";

/** The parts that a scenario names, opened. */
export interface ScenarioParts {
  readonly model: SimulatedModel;
  /** Of the device, where the scenario states it as times of the model. */
  readonly deviceSpeed: number;
  /** The links of an endpoint, by its position. */
  readonly links: (endpoint: number) => { readonly up: Trace; readonly down: Trace };
  /** As many as the scenario wants, or fewer. */
  readonly arrivalsMs: readonly number[];
}

/** The one endpoint of a scenario that names none. */
export const usualEndpoint: WrittenEndpoint = { id: "cloud", tier: "cloud" };

const defaults = { speed: 1, instances: 4, queue: 1000, crowd: 0, rtt: 50, jitter: 0, overhead: 3 } as const;
/** Estimated draw of a phone's core and of a server while they run, in watts. */
const watts = { device: 2, endpoint: 20 } as const;

/** The replay that a scenario describes. */
export function simulationOf(scenario: ScenarioFile, parts: ScenarioParts): Simulation {
  const { model, deviceSpeed, links, arrivalsMs } = parts;
  const { device = {}, endpoints = [usualEndpoint], notCounted = 5 } = scenario;
  const codecs = codecsOf(model);
  const info = (id: string, tier: Tier, zone: string, activeWatts: number): EndpointInfo => ({
    id,
    tier,
    zone,
    trust: "operated",
    codecs,
    state: "movable",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts },
  });
  const simulated = endpoints.map((written, index): SimulationEndpoint => {
    const { id, tier = "edge", zone = `remote/${id}` } = written;
    const about = info(id, tier, zone, written.watts ?? watts.endpoint);
    const { microsPerSecond = 0, microsPerMegabyte = 0 } = written;
    return {
      ...links(index),
      info: { ...about, rates: { ...about.rates, microsPerSecond, microsPerMegabyte } },
      speed: written.speed ?? defaults.speed,
      instances: written.instances ?? defaults.instances,
      maxQueue: written.queue ?? defaults.queue,
      crowdRatio: written.crowd ?? defaults.crowd,
      delayMs: (written.rtt ?? defaults.rtt) / 2,
      jitterMs: written.jitter ?? defaults.jitter,
      handlingMs: written.overhead ?? defaults.overhead,
    };
  });
  return {
    model,
    inputs: Object.fromEntries(typicalInputs(model)) as Readonly<Record<string, Tensor>>,
    device: {
      speed: deviceSpeed * (device.speed ?? 1),
      info: info("device", "device", "device", device.watts ?? watts.device),
      radio: radios[device.radio ?? "wifi"],
    },
    endpoints: simulated,
    arrivalsMs,
    limits: {
      // Rules play no part unless a class is named: the fastest way counts, not the permitted one.
      dataClass: scenario.dataClass ?? "public",
      ...(scenario.deadlineMs === undefined ? {} : { deadlineMs: scenario.deadlineMs }),
      ...(scenario.objective === undefined ? {} : { objective: scenario.objective }),
      ...(scenario.minInTimeRatio === undefined ? {} : { minInTimeRatio: scenario.minInTimeRatio }),
      ...(scenario.zones === undefined ? {} : { zones: scenario.zones }),
      ...(scenario.minAgreementRatio === undefined ? {} : { minAgreementRatio: scenario.minAgreementRatio }),
    },
    seed: scenario.seed ?? 1,
    notCounted: Math.min(notCounted, Math.max(0, arrivalsMs.length - 1)),
  };
}

/** Every codec that the profile knows: endpoints and device understand them all. */
function codecsOf({ profile }: SimulatedModel): readonly string[] {
  const found = new Set<string>();
  for (const { buckets } of profile.variants)
    for (const { cuts } of buckets)
      for (const { codings } of cuts)
        for (const { codecs } of codings) for (const id of Object.values(codecs)) found.add(id);
  return [...found];
}
