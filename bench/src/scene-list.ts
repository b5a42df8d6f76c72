import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type EndpointInfo, type Limits, radios, seededRandom, type Tier } from "@longshore/core";
import {
  constantTrace,
  crowd,
  linkShapes,
  type OffloadWorld,
  type OffloadWorldParts,
  readMahimahi,
  type ScenarioEvent,
  type SimulatedModel,
  syntheticTrace,
  type Trace,
  type WorldEndpoint,
} from "@longshore/lab";
import { platformCodecs } from "longshore/measure";

/** What a scene makes small, for one answered request. */
export type SceneObjective = "latency" | "energy" | "accuracy";

/** One scene: a world, who asks how often, what happens, and which fixed plans would have been allowed. */
export interface Scene {
  readonly name: string;
  readonly model: string;
  readonly objective: SceneObjective;
  /** Mean time between requests, unless the device needs more. */
  readonly everyMs: number;
  /** Time of the whole on the device, which sets its speed; default: the speed that the world says. */
  readonly hereMs?: number;
  readonly limits: Limits & { readonly deadlineMs: number };
  readonly world: Omit<OffloadWorldParts, "models" | "seed">;
  /** Endpoints that a fixed plan may use. */
  readonly allowed: readonly string[];
  /** `spanMs` is the time of all requests. */
  events?(world: OffloadWorld, spanMs: number): readonly ScenarioEvent[];
  /** What else goes on, such as the requests of other cameras. */
  others?(world: OffloadWorld, model: SimulatedModel, seed: number, spanMs: number): void;
}

const info = (id: string, tier: Tier, zone: string, watts: number): EndpointInfo => ({
  id,
  tier,
  zone,
  trust: "operated",
  codecs: [...platformCodecs().keys()],
  state: "movable",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: watts },
});

/** Relative to this machine. */
const deviceSpeed = 0.2;
const edgeSpeed = 2;
const device = { speed: deviceSpeed, info: info("camera", "device", "device", 2) };

function edge(up: Trace, more: Partial<WorldEndpoint> = {}): WorldEndpoint {
  return {
    info: info("edge", "edge", "eu/de/store-7", 15),
    speed: edgeSpeed,
    up,
    down: up,
    delayMs: 2,
    jitterMs: 1,
    ...more,
  };
}

function cloud(up: Trace, more: Partial<WorldEndpoint> = {}): WorldEndpoint {
  const endpointState = { info: info("cloud", "cloud", "us/east", 40), speed: 2, instances: 8 };
  return { ...endpointState, up, down: up, delayMs: 25, jitterMs: 4, ...more };
}

/** All scenes with fresh links. `notRun` names what needs data that is not there. */
export function sceneList(
  seed: number,
  data: string | undefined,
): { readonly scenes: readonly Scene[]; readonly notRun: readonly string[] } {
  const random = seededRandom(seed);
  const link = (shape: keyof typeof linkShapes): Trace =>
    syntheticTrace(linkShapes[shape], Math.floor(random.next() * 2 ** 31), 300_000, `${shape} link`);
  const wan = (): Trace =>
    syntheticTrace(
      { ...linkShapes.steady, meanBitsPerSecond: 20e6, logSpread: 0.2 },
      Math.floor(random.next() * 2 ** 31),
      300_000,
      "uplink",
    );
  const limits = { deadlineMs: 15_000 };
  const usual = { objective: "latency", everyMs: 4000, limits, allowed: ["edge", "cloud"] } as const;
  const scenes: Scene[] = [
    {
      ...usual,
      name: "offline",
      model: "ocr",
      world: { device, endpoints: [edge(link("wifi")), cloud(wan())] },
      events: ({ endpoints }) => [
        {
          atMs: 0,
          what: "no network",
          happen: () => endpoints.forEach(({ endpoint }) => (endpoint.faults.down = true)),
        },
      ],
    },
    {
      ...usual,
      name: "thin uplink, raw frames",
      model: "ocr-frame",
      world: { device, endpoints: [edge(link("thin"), { delayMs: 15 })] },
      allowed: ["edge"],
    },
    {
      ...usual,
      name: "uplink with stalls",
      model: "ocr",
      world: { device, endpoints: [cloud(link("stalling"))] },
      allowed: ["cloud"],
    },
    {
      ...usual,
      name: "good Wi-Fi",
      model: "ocr",
      world: { device, endpoints: [edge(link("wifi")), cloud(wan())] },
    },
    {
      ...usual,
      name: "edge busy with forty cameras",
      model: "ocr",
      world: { device, endpoints: [edge(link("wifi"), { instances: 4 }), cloud(wan())] },
      others: fortyCameras,
    },
    {
      ...usual,
      name: "edge killed",
      model: "ocr",
      world: { device, endpoints: [edge(link("wifi")), cloud(wan())] },
      events: ({ endpoints }, spanMs) => [
        { atMs: 0.4 * spanMs + 150, what: "edge killed", happen: () => down(endpoints, "edge", true) },
        { atMs: 0.7 * spanMs, what: "edge back", happen: () => down(endpoints, "edge", false) },
      ],
    },
    {
      ...usual,
      name: "cloud link cut",
      model: "ocr",
      world: { device, endpoints: [cloud(wan())] },
      allowed: ["cloud"],
      events: ({ endpoints }, spanMs) => [
        { atMs: 0.4 * spanMs, what: "link cut", happen: () => endpoints.get("cloud")?.link.cut() },
        { atMs: 0.6 * spanMs, what: "link back", happen: () => endpoints.get("cloud")?.link.restore() },
      ],
    },
    {
      ...usual,
      name: "private camera",
      model: "ocr",
      limits: { ...limits, dataClass: "restricted" },
      world: { device, endpoints: [edge(link("wifi")), cloud(wan())] },
      allowed: [],
    },
    {
      ...usual,
      name: "best accuracy",
      model: "ocr",
      objective: "accuracy",
      limits: { ...limits, objective: "accuracy", minAgreementRatio: 0.9 },
      world: { device, endpoints: [edge(link("wifi")), cloud(wan())] },
    },
    {
      ...usual,
      name: "least energy",
      model: "ocr",
      objective: "energy",
      limits: { ...limits, objective: "energy" },
      world: {
        device: { ...device, ...(radios["wifi"] ? { radio: radios["wifi"] } : {}) },
        endpoints: [edge(link("wifi")), cloud(wan())],
      },
    },
    {
      ...usual,
      name: "sensor, inner cut",
      model: "anomaly",
      everyMs: 1000,
      hereMs: 500,
      world: {
        device,
        endpoints: [edge(constantTrace(1e6), { delayMs: 10, speed: 2 })],
      },
      allowed: ["edge"],
    },
  ];
  const recorded = data && join(data, "traces/lte-mahimahi/Verizon-LTE-short");
  if (!recorded || !existsSync(`${recorded}.up`)) {
    return { scenes, notRun: ["the scene on a recorded uplink: no data folder (--data DIR)"] };
  }
  const read = (side: "up" | "down"): Trace =>
    readMahimahi(`Verizon-LTE-short.${side}`, readFileSync(`${recorded}.${side}`, "utf8"));
  const real = cloud(read("up"), { down: read("down"), traceOffsetMs: Math.floor(random.next() * 100_000) });
  const scene = {
    ...usual,
    name: "recorded LTE uplink",
    model: "ocr",
    world: { device, endpoints: [real] },
    allowed: ["cloud"],
  };
  return { scenes: [...scenes, scene], notRun: [] };
}

function down(endpoints: OffloadWorld["endpoints"], id: string, value: boolean): void {
  const endpointState = endpoints.get(id);
  if (endpointState) endpointState.endpoint.faults.down = value;
}

/** Forty cameras that come over links of their own and keep the edge box's instances at 95 %, as a Poisson process. */
function fortyCameras(world: OffloadWorld, model: SimulatedModel, seed: number, untilMs: number): void {
  const random = seededRandom(seed + 40);
  crowd(world, model, { endpoint: "edge", speed: edgeSpeed, instances: 4, busyRatio: 0.95, untilMs, random });
}
