import {
  type CodingProfile,
  type Cut,
  type CutProfile,
  type EndpointInfo,
  type EndpointView,
  endpointTable,
  type Estimate,
  linkTableOf,
  type ModelDescription,
  type ModelTable,
  modelTable,
  type ModelView,
  type Offer,
  type PlanRequest,
  type Policy,
  type Profile,
  radios,
  type Random,
  type RouteBlock,
  routeBlocks,
  routeTable,
  type Step,
  type Tier,
  type TrustLevel,
  tablePolicy,
  type View,
} from "@longshore/core";

/** A seeded world for planners: an OCR-like pipeline, places that offer parts of it, and requests. Figures are made up. */
export interface PlanWorld {
  readonly description: ModelDescription;
  readonly profile: Profile;
  readonly table: ModelTable;
}

const digest = `sha256:${"a".repeat(64)}`;

/** What varies between worlds. */
export interface PlanWorldOptions {
  /** A step whose output the operator declassified to `public`. */
  readonly declassifies?: boolean;
  /** Also a carried state. */
  readonly sequence?: boolean;
  /** Every variant may run on every tier; else the better one is not for devices. Default false. */
  readonly anyTier?: boolean;
}

const steps: readonly Step[] = [
  { id: "decode", run: { transform: "decode-image", parameters: null }, inputs: { bytes: "image" } },
  {
    id: "normalise",
    run: { transform: "normalise-image", parameters: null },
    inputs: { image: "decode.image" },
  },
  { id: "detect", run: { model: "ocr-detect" }, inputs: { x: "normalise.tensor" } },
  {
    id: "lines",
    run: { transform: "crop-image", parameters: null },
    inputs: { image: "decode.image", boxes: "detect.map" },
  },
  {
    id: "recognise",
    run: { model: "ocr-recognise" },
    forEach: "lines.crops",
    inputs: { x: "lines.crops" },
  },
  { id: "read", run: { transform: "ctc-decode", parameters: null }, inputs: { logits: "recognise.logits" } },
];

/** An OCR-like model of two variants, seven cuts and about three codings a cut, with seeded times and sizes. */
export function planWorld(random: Random, options: PlanWorldOptions = {}): PlanWorld {
  const around = (value: number): number => value * (0.5 + random.next());
  const body = {
    kind: "pipeline",
    steps: options.declassifies
      ? steps.map((step) => (step.id === "recognise" ? { ...step, declassifiesTo: "public" } : step))
      : steps,
    outputs: { text: "read.text" },
  } as const;
  const description: ModelDescription = {
    name: "ocr",
    version: "1",
    digest,
    inputs: [{ name: "image", datatype: "BYTES", shape: [1], media: "image" }],
    outputs: [{ name: "text", datatype: "BYTES", shape: [-1] }],
    variants: [
      { name: "640", body, agreementRatio: 1, accuracyRatio: 0.9, memoryBytes: 60e6 },
      {
        name: "960",
        body,
        agreementRatio: 0.93,
        accuracyRatio: 0.95,
        ...(options.anyTier ? {} : { tiers: ["edge", "cloud"] as const }),
      },
    ],
    batching: { maxBatchSize: 0 },
    instances: [{ count: 1 }],
    labels: {},
    trusted: true,
    dataClass: "internal",
    ...(options.sequence
      ? {
          sequence: {
            maxIdleMs: 1000,
            states: [{ input: "s", output: "sN", datatype: "FP32" as const, shape: [2, 1, 128] }],
          },
        }
      : {}),
  };
  const spread = (mean: number): number[] =>
    Array.from({ length: 16 }, (_, index) => mean * (0.8 + 0.4 * ((index + 0.5) / 16) ** 2));
  const cutsOf = (pixels: number, items: number): CutProfile[] => {
    const total = around(pixels / 4000) + items * around(18);
    const ids = ["start", "normalise", "detect.c10", "detect", "lines", "recognise", "end"];
    const shares = [0, 0.03, 0.3, 0.45, 0.47, 0.98, 1];
    const sizes = [
      around(90e3),
      pixels * 12,
      around(pixels),
      around(pixels * 4),
      items * around(14e3),
      items * 60e3,
      300,
    ];
    return ids.map((id, position) => {
      const cut: Cut = {
        id,
        reveals: id === "start" ? "input" : id === "end" ? "answer" : "features",
        crossing: [
          id === "lines"
            ? { name: "lines.crops", datatype: "UINT8", shape: [-1, -1, -1, 3], ragged: true }
            : id === "start"
              ? { name: "image", datatype: "BYTES", shape: [1] }
              : id === "end"
                ? { name: "text", datatype: "BYTES", shape: [-1] }
                : id === "detect.c10"
                  ? { name: "detect:conv_10", datatype: "FP32", shape: [-1, -1, -1, -1] }
                  : {
                      name: `${id}.${id === "recognise" ? "logits" : id === "detect" ? "map" : "tensor"}`,
                      datatype: "FP32",
                      shape: [-1, -1, -1, -1],
                    },
        ],
      };
      const bytes = sizes[position] ?? 0;
      const name = cut.crossing[0]?.name ?? "";
      const coding = (codec: string, ratio: number, agreement: number): CodingProfile => ({
        codecs: codec === "raw" ? {} : { [name]: codec },
        bytes: bytes * ratio,
        encodeMs: codec === "raw" ? 0 : around(bytes / 4e5),
        decodeMs: codec === "raw" ? 0 : around(bytes / 8e5),
        agreementRatio: agreement,
        lossless: agreement === 1,
      });
      const codings = [coding("raw", 1, 1)];
      if (id === "normalise" || id === "lines") {
        codings.push(coding("uint8", 0.25, 0.999), coding("jpeg-85", 0.03, 0.997));
      } else if (id !== "start" && id !== "end") {
        codings.push(coding("fp16", 0.5, 0.9995), coding("int8", 0.25, 0.99));
      }
      const share = shares[position] ?? 0;
      return {
        cut,
        headMs: id === "start" ? [0] : spread(total * share),
        tailMs: id === "end" ? [0] : spread(total * (1 - share)),
        headMemoryBytes: 30e6 + 100e6 * share,
        codings,
      };
    });
  };
  const profile: Profile = {
    schemaVersion: 1,
    model: "ocr",
    version: "1",
    digest,
    measuredOn: { runtime: "made up", threads: 1, description: "seeded" },
    variants: [
      { name: "640", pixels: 640 * 640 },
      { name: "960", pixels: 960 * 960 },
    ].map(({ name, pixels }) => ({
      variant: name,
      agreementRatio: 1,
      buckets: [4, 20, 80].map((items) => ({
        upTo: { bytes: 5e6, items },
        typical: { bytes: 90e3, items: items / 2 },
        runs: 7,
        cuts: cutsOf(pixels, items / 2),
        legalCuts: 300,
      })),
    })),
  };
  return { description, profile, table: modelTable(description, profile) };
}

/** What varies between views. */
export interface RandomViewOptions {
  readonly endpoints: number;
  readonly local?: boolean;
  readonly policy?: Policy;
  /** Some places forward, are down, or stand in other zones. Default true. */
  readonly variety?: boolean;
}

const zones = ["eu/de/store", "eu/de", "eu/fr", "us/east", "device"];
const trusts: readonly TrustLevel[] = ["none", "listed", "operated", "attested"];
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

/** One other place with a link, a load and offers for parts of the model. */
export function randomPlace(
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
    trust: variety ? pick(random, trusts) : "attested",
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
    extraRunPrice: random.next() < 0.2 ? Infinity : random.next(),
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
  readonly places: readonly { readonly view: EndpointView; readonly offers: readonly Offer[] }[];
}

/** A view of some random places. */
export function randomScene(random: Random, world: PlanWorld, options: RandomViewOptions): RandomScene {
  const variety = options.variety ?? true;
  const places = Array.from({ length: options.endpoints }, (_, index) =>
    randomPlace(random, world, `place-${index}`, variety),
  );
  const endpoints = endpointTable(places.map((one) => one.view));
  const blocks: RouteBlock[] = places.flatMap((one) => [
    ...routeBlocks(one.view.info, one.offers, world.table),
  ]);
  const slow = 0.5 + random.next() * 5;
  const model: ModelView = {
    table: world.table,
    routes: routeTable(blocks, world.table, endpoints.index),
    localSlowness: options.local === false ? [NaN, NaN] : [slow, random.next() < 0.3 ? NaN : slow],
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
    },
    endpoints,
    models: new Map([["ocr", model]]),
    policy: options.policy ?? worldPolicy(),
  };
  return { view, places };
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
      ...(chance(0.3) ? { latencyQuantile: random.next() } : {}),
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
    exclude: chance(0.2) ? new Set(["place-0"]) : new Set(),
    tieRatio: 0,
  };
}
