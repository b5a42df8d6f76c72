import { type EndpointInfo, startCut, type Tensor, type Tier } from "@longshore/core";
import { radios } from "@longshore/core/internal";
import {
  constantTrace,
  mean,
  plainModel,
  profiledModel,
  simulate,
  type SimulatedModel,
  simulatePlan,
  type SimulatedWay,
  type Simulation,
  type SimulationEndpoint,
  type Trace,
  typicalInputs,
  type WayFigures,
  wayFigures,
} from "@longshore/lab";
import type { ModelKnowledge } from "@longshore/core";
import { figuresOf, type FiguresOfModel, type ObservedModel, type ObservedRow } from "./observed.ts";

/** The supposed devices. Speeds are relative to the server that was observed. */
export interface Supposed {
  readonly deviceSpeed: number;
  /** Of an edge box beside the devices; 0 for none. */
  readonly edgeSpeed: number;
  readonly up: Trace;
  readonly down: Trace;
  readonly roundTripMs: number;
  readonly seed: number;
}

/** The result of a replay, for one model. */
export interface WhatIf {
  readonly figures: FiguresOfModel;
  /** Whether the package's profile was used, so that parts of the model could run apart. */
  readonly profiled: boolean;
  /** Requests of the busiest client, which were replayed, and the share of the server that the others kept busy. */
  readonly replayed: number;
  readonly crowdRatio: number;
  /** Every request to the server, with the bytes that were seen. */
  readonly asNow: WayFigures | undefined;
  /** Longshore, the device alone, the edge alone, the server alone in its best coding, and others of `simulate`. */
  readonly ways: readonly SimulatedWay[];
}

/** More are not replayed: the last ones no longer change the result. */
const mostReplayed = 300;
/** A replay assumes no server busier than that. */
const mostCrowdRatio = 0.9;
const watts = { device: 2, edge: 10, server: 20 } as const;
const edgeRoundTripMs = 2;
const edgeLink = 100e6;

/** Rows of the client with the most requests. */
function busiest(rows: readonly ObservedRow[]): readonly ObservedRow[] {
  const by = new Map<string, ObservedRow[]>();
  for (const row of rows) {
    const own = by.get(row.client);
    if (own) own.push(row);
    else by.set(row.client, [row]);
  }
  return [...by.values()].reduce<readonly ObservedRow[]>(
    (most, one) => (one.length > most.length ? one : most),
    [],
  );
}

function modelFor(
  figures: FiguresOfModel,
  knowledge: ModelKnowledge | undefined,
): { readonly model: SimulatedModel; readonly serverSpeed: number; readonly profiled: boolean } {
  const whole = knowledge?.profile?.variants[0]?.buckets[0]?.cuts.find(({ tailMs }) => tailMs.length > 0);
  if (knowledge?.profile && whole) {
    const model = profiledModel(knowledge.profile, knowledge.description);
    return { model, serverSpeed: mean(whole.tailMs) / figures.runMs, profiled: true };
  }
  return { model: modelAsSeen(figures), serverSpeed: 1, profiled: false };
}

/** Runs whole, in the time and with the bytes that were seen. */
function modelAsSeen(figures: FiguresOfModel): SimulatedModel {
  return plainModel({
    name: figures.model,
    bytes: Math.max(1, Math.round(figures.requestBytes)),
    replyBytes: Math.max(1, Math.round(figures.replyBytes)),
    localMs: figures.runMs,
    serverMs: figures.runMs,
  }).model;
}

function endpoint(id: string, tier: Tier, codecs: readonly string[], activeWatts: number): EndpointInfo {
  return {
    id,
    tier,
    zone: tier === "device" ? "device" : `remote/${id}`,
    trust: "operated",
    codecs,
    state: "movable",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts },
  };
}

/**
 * Replays the requests of the busiest client as those of one device, under the real offloader and under plans that never
 * change. Undefined where nothing was answered.
 */
export async function whatIf(
  seen: ObservedModel,
  knowledge: ModelKnowledge | undefined,
  supposed: Supposed,
  codecs: readonly string[],
  progress: (text: string) => void,
): Promise<WhatIf | undefined> {
  const figures = figuresOf(seen);
  if (!figures) return undefined;
  const { model, serverSpeed, profiled } = modelFor(figures, knowledge);
  const rows = busiest(seen.rows)
    .slice(-mostReplayed)
    .toSorted((a, b) => a.atMs - b.atMs);
  const firstMs = rows[0]?.atMs ?? 0;
  const othersPerMs = (figures.requestsPerSecond / 1000) * (1 - rows.length / seen.rows.length);
  const crowdRatio = Math.min(mostCrowdRatio, othersPerMs * figures.runMs);
  const { deviceSpeed, edgeSpeed, up, down, roundTripMs, seed } = supposed;
  const server: SimulationEndpoint = {
    info: endpoint("server", "cloud", codecs, watts.server),
    speed: serverSpeed,
    crowdRatio,
    up,
    down,
    delayMs: roundTripMs / 2,
    jitterMs: roundTripMs / 20,
  };
  const edge: SimulationEndpoint = {
    info: endpoint("edge", "edge", codecs, watts.edge),
    speed: serverSpeed * edgeSpeed,
    up: constantTrace(edgeLink),
    down: constantTrace(edgeLink),
    delayMs: edgeRoundTripMs / 2,
  };
  const simulation: Simulation = {
    model,
    inputs: Object.fromEntries(typicalInputs(model)) as Readonly<Record<string, Tensor>>,
    device: {
      speed: serverSpeed * deviceSpeed,
      info: endpoint("device", "device", codecs, watts.device),
      radio: radios["wifi"],
    },
    endpoints: edgeSpeed > 0 ? [server, edge] : [server],
    arrivalsMs: rows.map(({ atMs }) => atMs - firstMs),
    // The question is what is quickest, not what is allowed.
    limits: { dataClass: "public" },
    seed,
    notCounted: Math.min(5, rows.length - 1),
  };
  const told = (text: string): void => progress(`${figures.model}: ${text}`);
  const ways = await simulate(simulation, told);
  const found = { figures, profiled, replayed: rows.length, crowdRatio, ways };
  const toServer = ways.find(({ name }) => name === "always server")?.figures;
  if (!profiled) return { ...found, asNow: toServer };
  told("replaying the server as now");
  return { ...found, asNow: await asSeen(simulation, server, figures, ways) };
}

/** Every request whole to the server, in the bytes and the time that were seen rather than those of the profile. */
async function asSeen(
  simulation: Simulation,
  server: SimulationEndpoint,
  seen: FiguresOfModel,
  ways: readonly SimulatedWay[],
): Promise<WayFigures> {
  const model = modelAsSeen(seen);
  const inputs = Object.fromEntries(typicalInputs(model)) as Readonly<Record<string, Tensor>>;
  const rows = await simulatePlan(
    { ...simulation, model, inputs, endpoints: [{ ...server, speed: 1 }] },
    { variant: "default", cut: startCut, endpoint: server.info.id, codecs: {} },
  );
  const figures = wayFigures(rows.slice(simulation.notCounted), simulation.limits);
  const oracle = ways.find(({ kind }) => kind === "oracle")?.figures.objective ?? NaN;
  return { ...figures, vsOracle: figures.objective / oracle };
}
