import {
  type EndpointInfo,
  type Estimate,
  type Offer,
  type Policy,
  type Random,
  type Tier,
  type TrustLevel,
  tablePolicy,
} from "@longshore/core";
import {
  type EndpointView,
  endpointTable,
  linkTableOf,
  type ModelView,
  type PlanRequest,
  radios,
  type RouteBlock,
  routeBlocks,
  routeTable,
  type View,
} from "@longshore/core/internal";
import type { PlanWorld } from "./plan-world.ts";

/** The differences between views. */
export interface RandomViewOptions {
  readonly endpoints: number;
  readonly local?: boolean;
  readonly policy?: Policy;
  /** Some endpoints forward, are down, or stand in other zones. Default true. */
  readonly variety?: boolean;
}

const zones = ["eu/de/store", "eu/de", "eu/fr", "us/east", "device"];
const trusts: readonly TrustLevel[] = ["none", "listed", "operated", "vouched"];
const tiers: readonly Tier[] = ["edge", "cloud"];
const codecs = ["raw", "uint8", "fp16", "int8", "jpeg-85"];

/** The table that the random worlds use. */
export function worldPolicy(): Policy {
  return tablePolicy({
    public: { leastTrust: "none" },
    internal: { leastTrust: "listed", zones: ["eu", "us"] },
    personal: { leastTrust: "operated", zones: ["eu"] },
    restricted: { leastTrust: "none", zones: ["device"] },
  });
}

function pick<T>(random: Random, from: readonly T[]): T {
  const one = from[Math.floor(random.next() * from.length)];
  if (one === undefined) throw new Error("nothing to pick from");
  return one;
}

/** One other endpoint with a link, a load and offers for parts of the model. */
export function randomEndpoint(
  random: Random,
  world: PlanWorld,
  id: string,
  variety: boolean,
): { readonly view: EndpointView; readonly offers: readonly Offer[] } {
  const mbit = 10 ** (random.next() * 2.5);
  const delayMs = 1 + random.next() * 40;
  const jitter = random.next();
  const stalls = random.next() < 0.3 ? random.next() * 900 : 0;
  const tier = pick(random, tiers);
  const info: EndpointInfo = {
    id,
    tier,
    zone: variety ? pick(random, zones) : "eu/de",
    trust: variety ? pick(random, trusts) : "vouched",
    codecs: variety ? codecs.filter(() => random.next() < 0.85) : codecs,
    state: variety ? pick(random, ["none", "resident", "movable"] as const) : "movable",
    offers: true,
    rates: {
      microsPerSecond: random.next() * 100,
      microsPerMegabyte: random.next() * 50,
      activeWatts: 8,
    },
  };
  const link = linkTableOf((bytes) =>
    Float64Array.from({ length: 16 }, (_, index) => {
      const slow = 1 + jitter * (index / 15) ** 2;
      return delayMs * slow + ((bytes * 8) / (mbit * 1e3)) * slow + (index >= 14 ? stalls : 0);
    }),
  );
  const view: EndpointView = {
    info,
    link,
    queueMs: random.next() < 0.5 ? 0 : random.next() * 200,
    serviceRatio: 0.7 + random.next() * 0.8,
    penaltyMs: random.next() < 0.9 ? 0 : random.next() * 100,
    prices: { secondRun: random.next(), missed: 0 },
    sharedMs: random.next() < 0.5 ? 0 : random.next() * 200,
    ...(variety && random.next() < 0.1 ? { unavailable: "it does not answer" } : {}),
  };
  const speed = 0.1 + random.next() * 0.6;
  const offers: Offer[] = [];
  const wholeOnly = variety && random.next() < 0.15;
  const forwards = variety && random.next() < 0.25;
  for (const path of forwards ? [[id], [id, variety && random.next() < 0.3 ? "self" : "far"]] : [[id]]) {
    const faster = path.length > 1 ? 0.4 : 1;
    const trust = path.length > 1 ? pick(random, trusts) : info.trust;
    for (const variant of world.profile.variants) {
      for (const bucket of variant.buckets) {
        const end = bucket.cuts.length - 1;
        const offer = (from: number, to: number): void => {
          const head = bucket.cuts[from];
          const tail = bucket.cuts[to];
          if (!head || !tail) return;
          const ms = (head.tailMs[8] ?? head.tailMs[0] ?? 0) - (tail.tailMs[8] ?? tail.tailMs[0] ?? 0);
          const queueMs = 5;
          const values = Float64Array.from(
            { length: 16 },
            (_, index) => queueMs + Math.max(0.1, ms) * speed * faster * (0.9 + index * 0.02),
          );
          const completionMs: Estimate = { values, observedAtMs: 0, origin: "told" };
          offers.push({
            segment: {
              model: "ocr",
              version: "1",
              digest: world.description.digest,
              variant: variant.variant,
              from: head.cut.id,
              to: tail.cut.id,
            },
            path,
            zones: path.length > 1 ? [info.zone, "us/east"] : [info.zone],
            trust,
            completionMs,
            queueMs,
            energyMillijoules: 0,
            costMicros: ms * 0.01 * random.next(),
            agreementRatio: variant.variant === "960" ? 0.93 : 1,
            upTo: bucket.upTo,
            codecs,
            expiresAtMs: Infinity,
            origin: "promised",
          });
        };
        if (wholeOnly) offer(1, 3);
        else for (let from = 0; from < end; from++) offer(from, end);
      }
    }
  }
  return { view, offers };
}

/** A view and the plain facts that it was laid out from. */
export interface RandomScene {
  readonly view: View;
  readonly endpoints: readonly { readonly view: EndpointView; readonly offers: readonly Offer[] }[];
}

/** A view of some random endpoints. */
export function randomScene(random: Random, world: PlanWorld, options: RandomViewOptions): RandomScene {
  const variety = options.variety ?? true;
  const endpointStates = Array.from({ length: options.endpoints }, (_, index) =>
    randomEndpoint(random, world, `endpoint-${index}`, variety),
  );
  const endpoints = endpointTable(endpointStates.map((one) => one.view));
  const blocks: RouteBlock[] = endpointStates.flatMap((one) => [
    ...routeBlocks(one.view.info, one.offers, world.table),
  ]);
  const slow = 0.5 + random.next() * 5;
  const slowness = options.local === false ? [NaN, NaN] : [slow, random.next() < 0.3 ? NaN : slow];
  const model: ModelView = {
    table: world.table,
    routes: routeTable(blocks, world.table, endpoints.index),
    localSlowness: slowness.map(
      (one, position) => world.table.variants[position]?.buckets.map(() => one) ?? [],
    ),
  };
  const here: EndpointInfo = {
    id: "self",
    tier: "device",
    zone: "device",
    trust: "operated",
    codecs,
    state: "movable",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
  };
  const view: View = {
    number: Math.floor(random.next() * 1e9),
    atMs: 0,
    self: "self",
    device: {
      ...(options.local === false ? {} : { info: here }),
      queueMs: random.next() < 0.5 ? 0 : random.next() * 300,
      memoryBytes: variety && random.next() < 0.2 ? 80e6 : Infinity,
      activeWatts: 2,
      idleWatts: 0.1,
      radio: pick(random, [radios.wifi, radios.lte, radios.wired]),
      radioWakeMillijoules: random.next() * 20,
      radioGapMs: slow < 3 ? 0 : 200 * slow,
    },
    endpoints,
    models: new Map([["ocr", model]]),
    policy: options.policy ?? worldPolicy(),
  };
  return { view, endpoints: endpointStates };
}

/** A random request to such a view. */
export function randomRequest(random: Random, variety = true): PlanRequest {
  const chance = (ratio: number): boolean => variety && random.next() < ratio;
  const objective = variety ? pick(random, ["latency", "energy", "cost", "accuracy"] as const) : "latency";
  return {
    model: "ocr",
    from: "start",
    to: "end",
    features: { bytes: 90e3, ...(random.next() < 0.5 ? { items: Math.floor(random.next() * 60) } : {}) },
    inputBytes: 20e3 + random.next() * 300e3,
    limits: {
      objective,
      minAgreementRatio: 0.995,
      ...(chance(0.3) ? { minInTimeRatio: random.next() } : {}),
      ...(chance(0.2) ? { maxDeviceMillijoules: random.next() * 2000 } : {}),
      ...(chance(0.2) ? { maxCostMicros: random.next() * 10 } : {}),
      ...(chance(0.2) ? { minAccuracyRatio: 0.88 + random.next() * 0.1 } : {}),
      ...(chance(0.1) ? { variant: "960" } : {}),
    },
    rules: {
      dataClass: variety
        ? pick(random, ["public", "internal", "personal", "restricted", "secret"])
        : "internal",
      leastTrust: variety ? pick(random, trusts) : "none",
      ...(chance(0.3) ? { zones: pick(random, [["eu"], ["eu/de"], ["device"], ["us"]]) } : {}),
    },
    tenant: "shop",
    deadlineMs: chance(0.5) ? 20 + random.next() * 900 : Infinity,
    path: chance(0.2) ? ["far"] : [],
    exclude: chance(0.2) ? new Set(["endpoint-0"]) : new Set(),
    ...(chance(0.2) ? { rights: pick(random, [["infer"], ["segment:infer", "observe"], []]) } : {}),
    tieRatio: 0,
  };
}
