import { contradictionIn, type PlanWorld, planWorld, randomRequest, randomScene } from "@longshore/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom, type TrustLevel, trustRank, zoneWithin } from "../../words/base/index.ts";
import { estimateSize, meanOf, quantileOf } from "../../words/estimate/index.ts";
import { type Radio, radios } from "../estimate/index.ts";
import type { Objective } from "../goal/index.ts";
import { isInfeasible, type Plan } from "./plan.ts";
import { makePlan } from "./make-plan.ts";
import type { ModelView, View } from "./view.ts";
import type { PlanRequest } from "./request.ts";
import { type Policy, tablePolicy } from "../policy/index.ts";
import {
  type EndpointTable,
  endpointTable,
  type EndpointView,
  linkTableOf,
  routeBlocks,
  routeTable,
} from "../table/index.ts";

const seed = 77_001;

it("an endpoint without a local runtime says for each other endpoint why it may not be used", () => {
  for (let draw = 1; draw <= 20; draw++) {
    const random = seededRandom(draw);
    const { view, endpoints: endpointStates } = randomScene(random, planWorld(random), { endpoints: 3 });
    const exclude = new Set(endpointStates.map((one) => one.view.info.id));
    const gateway = { ...view, device: { ...view.device, info: undefined } };
    const plan = makePlan({ ...randomRequest(random), exclude }, gateway, 0, random);
    expect(isInfeasible(plan) && plan.because).toMatch(
      /^no (endpoint may or can run|known endpoint offers) .* \((?!self)[^:]+: .*\)$/,
    );
  }
});

describe("every leg of every plan", () => {
  it("keeps zones, trust, rights, data class, path, exclusions and codecs, back-ups included", () => {
    let legs = 0;
    let backUps = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.integer({ min: 1, max: 12 }),
        (draw, endpoints) => {
          const random = seededRandom(draw);
          const world = planWorld(random, { declassifies: random.next() < 0.5 });
          const { view, endpoints: endpointStates } = randomScene(random, world, { endpoints });
          const request = randomRequest(random);
          const plan = makePlan(request, view, 0, random);
          if (isInfeasible(plan)) return;
          const { rules } = request;
          for (const leg of plan.legs) {
            legs++;
            if (leg.starts.some((one) => one.on === "late" || one.on === "failed")) backUps++;
            expect(request.exclude.has(leg.endpoint)).toBe(false);
            const here = leg.endpoint === "self";
            const endpointState = endpointStates.find((one) => one.view.info.id === leg.endpoint);
            const declassified = leg.segment.from === "recognise" && declassifies(world);
            const dataClass = declassified ? "public" : rules.dataClass;
            if (here) {
              expect(zoneWithin("device", rules.zones ?? ["device"])).toBe(true);
              expect(allowed(view.policy, request, dataClass, "self", "device", "operated")).toBe(true);
              continue;
            }
            // One of the ways that the endpoint offers for this very segment keeps every rule.
            const ways = endpointState!.offers.filter(
              (offer) =>
                offer.segment.from === leg.segment.from &&
                offer.segment.to === leg.segment.to &&
                offer.segment.variant === leg.segment.variant,
            );
            const good = ways.filter((way) => {
              const trust =
                trustRank(way.trust) < trustRank(endpointState!.view.info.trust)
                  ? way.trust
                  : endpointState!.view.info.trust;
              return (
                (request.rights?.includes(
                  way.segment.from === "start" && way.segment.to === "end" ? "infer" : "segment:infer",
                ) ??
                  true) &&
                !way.path.some((one) => one === "self" || request.path.includes(one)) &&
                way.zones.every(
                  (zone) => zone !== "device" && (!rules.zones || zoneWithin(zone, rules.zones)),
                ) &&
                trustRank(trust) >= trustRank(rules.leastTrust) &&
                way.zones.every((zone) => allowed(view.policy, request, dataClass, leg.endpoint, zone, trust))
              );
            });
            expect(good.length).toBeGreaterThan(0);
            for (const codec of Object.values(leg.codecs))
              expect(endpointState!.view.info.codecs).toContain(codec);
            expect(endpointState!.view.unavailable).toBeUndefined();
          }
          // The legs together give the answer, and each takes what another really makes.
          expect(plan.legs.some((leg) => leg.segment.to === "end")).toBe(true);
          for (const leg of plan.legs) {
            const from =
              leg.takes === "request" ? "start" : plan.legs.find((one) => one.id === leg.takes)!.segment.to;
            expect(leg.segment.from).toBe(from);
          }
        },
      ),
      { numRuns: 400, seed },
    );
    expect(legs).toBeGreaterThan(200);
    expect(backUps).toBeGreaterThan(50);
  });

  it("accounts for every candidate: what was lost and the one that was chosen are all there were", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (draw) => {
        const random = seededRandom(draw);
        const { view } = randomScene(random, planWorld(random), { endpoints: 8 });
        const plan = makePlan(randomRequest(random), view, 0, random);
        const lost = plan.lost.reduce((total, line) => total + line.count, 0);
        if (!isInfeasible(plan)) expect(lost).toBe(plan.candidates - 1);
        for (const line of plan.lost) if (line.why.kind === "filter") expect(line.why.detail).not.toBe("");
      }),
      { numRuns: 200, seed },
    );
  });
});

function declassifies(world: PlanWorld): boolean {
  const [variant] = world.description.variants;
  return (
    variant?.body.kind === "pipeline" && variant.body.steps.some((step) => step.declassifiesTo !== undefined)
  );
}

function allowed(
  policy: Policy,
  request: PlanRequest,
  dataClass: string,
  endpoint: string,
  zone: string,
  trust: TrustLevel,
): boolean {
  return policy.decide({ dataClass, reveals: "input", endpoint, zone, trust, tenant: request.tenant }).allow;
}

const pricesOf = (secondRun: number): EndpointView["prices"] => ({ secondRun, missed: 0 });

/** One endpoint over a constant link, and what it offers; everything can be worked out by hand. */
function handView(change: {
  readonly upMs?: (bytes: number) => number | ArrayLike<number>;
  readonly sharedMs?: number;
  readonly radio?: Radio;
  readonly offers?: readonly (readonly [from: string, to: string, ms: number])[];
  readonly local?: number;
  readonly queueMs?: number;
  readonly policy?: Policy;
  readonly extraRunPrice?: number;
  readonly copies?: number;
  readonly world?: PlanWorld;
}): { readonly view: View; readonly world: PlanWorld } {
  const world = change.world ?? planWorld(seededRandom(5));
  const upTo = { bytes: Infinity };
  const endpointStates = Array.from({ length: change.copies ?? 1 }, (_, index): EndpointView => ({
    info: {
      id: `edge-${index}`,
      tier: "edge",
      zone: "eu",
      trust: "operated",
      codecs: ["uint8", "jpeg-85", "fp16", "int8"],
      state: "none",
      offers: true,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
    },
    link: linkTableOf((bytes, side) => (side === "up" ? (change.upMs ?? (() => 10))(bytes) : 5)),
    queueMs: 0,
    serviceRatio: 1,
    penaltyMs: 0,
    sharedMs: change.sharedMs ?? 0,
    prices: pricesOf(change.extraRunPrice ?? 0.1),
  }));
  const endpoints = endpointTable(endpointStates);
  const blocks = endpointStates.flatMap(({ info }) => [
    ...routeBlocks(
      info,
      (change.offers ?? [["start", "end", 20]]).map(([from, to, ms]) => ({
        segment: { model: "ocr", version: "1", digest: world.description.digest, variant: "640", from, to },
        path: [info.id],
        zones: ["eu"],
        trust: "operated",
        completionMs: { values: new Float64Array(estimateSize).fill(ms), observedAtMs: 0, origin: "told" },
        queueMs: 0,
        energyMillijoules: 0,
        costMicros: 0,
        agreementRatio: 1,
        upTo,
        codecs: ["uint8", "jpeg-85", "fp16", "int8"],
        expiresAtMs: Infinity,
        origin: "promised",
      })),
      world.table,
    ),
  ]);
  const model: ModelView = {
    table: world.table,
    routes: routeTable(blocks, world.table, endpoints.index),
    localSlowness: world.table.variants.map(({ buckets }) => buckets.map(() => change.local ?? 1)),
  };
  const view: View = {
    number: 1,
    atMs: 0,
    self: "device",
    device: {
      info: {
        id: "device",
        tier: "device",
        zone: "device",
        trust: "none",
        codecs: [],
        state: "movable",
        offers: true,
        rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
      },
      queueMs: change.queueMs ?? 0,
      memoryBytes: Infinity,
      activeWatts: 2,
      idleWatts: 0,
      radio: change.radio ?? radios.wired,
      radioWakeMillijoules: 0,
      radioGapMs: 0,
    },
    endpoints,
    models: new Map([["ocr", model]]),
    policy: change.policy ?? tablePolicy({ internal: { leastTrust: "listed" } }),
  };
  return { view, world };
}

const request: PlanRequest = {
  model: "ocr",
  from: "start",
  to: "end",
  features: { bytes: 90_000, items: 3 },
  inputBytes: 90_000,
  limits: { objective: "latency", minAgreementRatio: 0.995 },
  rules: { dataClass: "internal", leastTrust: "none" },
  tenant: "shop",
  deadlineMs: Infinity,
  path: [],
  exclude: new Set(),
};

function planned(view: View, change: Partial<PlanRequest> = {}): Plan {
  const plan = makePlan({ ...request, ...change }, view, 0, seededRandom(1));
  if (isInfeasible(plan)) throw new Error(plan.because);
  return plan;
}

/** Quantiles that rise by these steps, in milliseconds. */
const rising = (firstMs: number, steps: readonly number[]): readonly number[] => {
  let at = firstMs;
  return steps.map((step) => (at += step));
};
const steps = (most: number) =>
  fc.array(fc.double({ min: 0, max: most, noNaN: true }), {
    minLength: estimateSize,
    maxLength: estimateSize,
  });
/** Random links, devices and prices of a second run. */
const choices = fc.record({
  local: fc.double({ min: 0.1, max: 8, noNaN: true }),
  queueMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 500, noNaN: true })),
  extraRunPrice: fc.double({ min: 0, max: 3, noNaN: true }),
  upFirstMs: fc.double({ min: 0, max: 600, noNaN: true }),
  up: steps(120),
  more: steps(80),
});

describe("what may be sent away", () => {
  it("sends nothing where a run here is at least as good at every quantile and keeps nobody waiting", () => {
    fc.assert(
      fc.property(choices, ({ local, queueMs, extraRunPrice, more }) => {
        const staying = planned(handView({ local, queueMs, upMs: () => 1e6 }).view);
        expect(staying.legs[0]?.endpoint).toBe("device");
        const { values } = staying.predicted.completionMs;
        // The run there and the way back come on top.
        const up = rising(0, more).map((ms, index) => ms + (values[index] ?? 0));
        const plan = planned(handView({ local, queueMs, extraRunPrice, upMs: () => up }).view);
        expect(plan.legs[0]?.endpoint).toBe("device");
      }),
      { numRuns: 100, seed },
    );
  });

  it("does not send over a link that is slower at every quantile what stays here beside the faster one", () => {
    let sent = 0;
    fc.assert(
      fc.property(choices, ({ local, queueMs, extraRunPrice, upFirstMs, up, more }) => {
        const fast = rising(upFirstMs, up);
        const slower = rising(0, more).map((ms, index) => ms + (fast[index] ?? 0));
        const firstOf = (upMs: readonly number[]): string | undefined =>
          planned(handView({ local, queueMs, extraRunPrice, upMs: () => upMs }).view).legs[0]?.endpoint;
        if (firstOf(slower) !== "device") {
          sent++;
          expect(firstOf(fast)).not.toBe("device");
        }
      }),
      { numRuns: 100, seed },
    );
    expect(sent).toBeGreaterThan(20);
  });
});

describe("makePlan", () => {
  it("adds up link, run and reply once", () => {
    const { view } = handView({ local: 100, extraRunPrice: Infinity });
    const plan = planned(view);
    expect(plan.legs.map((leg) => leg.id)).toEqual(["remote", "local"]);
    expect(meanOf(plan.predicted.completionMs)).toBeCloseTo(10 + 20 + 5, 6);
    expect(plan.predicted.sentBytes).toBe(90_000 + 900);
    expect(plan.because).toMatch(
      /^edge-0 finishes in about 35 ms \(10 ms sending 91 kB of input, 20 ms there, 5\.0 ms back\); here it would take/,
    );
  });

  it("says what the time is without the back-up where that shortens it", () => {
    const upMs = rising(
      0,
      Array.from({ length: estimateSize }, (_, at) => (at > estimateSize / 2 ? 200 : 1)),
    );
    const { view } = handView({ local: 1, extraRunPrice: 0.01, upMs: () => upMs });
    expect(planned(view, { limits: { ...request.limits, prefer: { endpoint: "edge-0" } } }).because).toMatch(
      /^edge-0 finishes in about \d+ ms with its back-up, 3\d\d ms without \(\d+ ms sending/,
    );
  });

  it("states what it compared wherever the stated times would lead to the other choice", () => {
    let counted = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (draw) => {
        const random = seededRandom(draw);
        const { view } = randomScene(random, planWorld(random), { endpoints: 3, variety: draw % 2 === 0 });
        const asked = randomRequest(random, draw % 4 === 0);
        const objective = (["latency", "mean", "p95", "p5"] as const)[draw % 5] ?? asked.limits.objective;
        const rest = draw % 7 === 0 ? { tieRatio: 0.05 } : {};
        const plan = makePlan({ ...asked, ...rest, limits: { ...asked.limits, objective } }, view, 0, random);
        if (isInfeasible(plan)) return;
        if (plan.because.includes("counts as")) counted++;
        expect(contradictionIn(plan)).toBeUndefined();
      }),
      { numRuns: 600, seed },
    );
    expect(counted).toBeGreaterThan(10);
  });

  it("states the risk of lateness where it keeps a request here", () => {
    const upMs = Array.from({ length: estimateSize }, (_, at) => (at > 12 ? 200 : 1));
    const { view } = handView({ local: 0.25, extraRunPrice: 3, upMs: () => upMs });
    expect(planned(view).because).toBe(
      "this device finishes in about 39 ms and counts as 39 ms; edge-0 would take 35 ms with its back-up, 63 ms without (38 ms sending 91 kB of input) and counts as 76 ms, 41 ms of it for the risk that it is late",
    );
  });

  it("gives no alternative a score below the chosen one", () => {
    const { view } = handView({ local: 100, extraRunPrice: 0.1, sharedMs: 5 });
    for (const { why } of planned(view).lost)
      if (why.kind === "score") expect(why.score).toBeGreaterThanOrEqual(why.bestScore);
  });

  it("says that an endpoint must load the model first, also where a filter removed other variants of it", () => {
    const { view } = handView({ local: 1 });
    const plan = planned(view, { ready: (endpoint) => endpoint === undefined });
    expect(plan.lost.map(({ why }) => why.kind === "filter" && why.filter)).toContain("tier");
    expect(plan.because).toContain("no other endpoint takes it (edge-0: it has not loaded the model yet");
  });

  it.each([
    ["p95", "back), 95 % of the time within 35 ms; here"],
    [" p5 = 1", "back), 5 % of the time within 35 ms; here"],
    ["mean=1", "back); here"],
    ["p95=2", "back) (least of p95=2); here"],
  ])("says of %s what is made small", (objective, words) => {
    const { view } = handView({ local: 100, extraRunPrice: Infinity });
    const limits = { ...request.limits, objective: objective as Objective };
    expect(planned(view, { limits }).because).toContain(words);
  });

  it("decides the same where nobody reads why", () => {
    const { view } = handView({ local: 100, extraRunPrice: Infinity });
    const { because, ...told } = planned(view);
    const untold = planned(view, { unexplained: true });
    expect(because).not.toBe("");
    // The alternatives elsewhere remain: loads are polled by them.
    const lost = told.lost.filter(({ endpoint, why }) => endpoint !== "device" && why.kind === "score");
    expect(untold).toEqual({ ...told, because: "", lost });
  });

  it("starts a back-up in time by its slowest runs, by usual ones where those are too long, and never at once in vain", () => {
    const { view } = handView({ local: 100, extraRunPrice: Infinity });
    const backUp = (deadlineMs: number) =>
      planned(view, { deadlineMs }).legs.find(({ id }) => id === "local")!;
    const latestMs = (deadlineMs: number) =>
      backUp(deadlineMs).starts.flatMap((one) => (one.on === "late" ? [one.latestMs] : []));
    const { completionMs } = backUp(1e6).predicted;
    const slowestMs = quantileOf(completionMs, 1);
    const usualMs = quantileOf(completionMs, 0.8);
    expect(usualMs).toBeLessThan(0.95 * slowestMs);
    // A timer may be a millisecond late, and what comes as the deadline passes is late.
    expect(latestMs(2 * slowestMs)).toEqual([expect.closeTo(slowestMs - 1, 6)]);
    expect(latestMs(slowestMs + 1)).toEqual([expect.closeTo(slowestMs - usualMs, 6)]);
    expect(latestMs(slowestMs - 1)).toEqual([expect.closeTo(slowestMs - 2 - usualMs, 6)]);
    expect(latestMs(usualMs - 1)).toEqual([Infinity]);
  });

  it("waits in the queue of the device too, and leaves it when that is long", () => {
    const quick = { local: 0.05, upMs: () => 60 };
    expect(planned(handView(quick).view).legs[0]?.endpoint).toBe("device");
    expect(planned(handView({ ...quick, queueMs: 500 }).view).legs[0]?.endpoint).toBe("edge-0");
  });

  it("comes back between steps, never inside a graph", () => {
    const { view } = handView({
      local: 20,
      offers: [
        ["normalise", "detect", 1],
        ["start", "detect.c10", 0.1],
      ],
      upMs: () => 1,
    });
    const plan = planned(view);
    expect(
      plan.legs.slice(0, 3).map((leg) => `${leg.id} ${leg.segment.from}..${leg.segment.to} ${leg.takes}`),
    ).toEqual(["head start..normalise request", "remote normalise..detect head", "tail detect..end remote"]);
    expect(plan.lost.some((line) => line.cut === "start" && line.endpoint === "edge-0")).toBe(false);
  });

  it("guards what is sent away with the rest here, from the crossing that is here", () => {
    const { view } = handView({ local: 3, offers: [["lines", "end", 5]], upMs: (bytes) => bytes / 1e4 });
    const plan = planned(view);
    const backUp = plan.legs.find((leg) => leg.id === "local")!;
    expect(backUp.segment.from).toBe("lines");
    expect(backUp.takes).toBe("head");
    expect(backUp.starts).toContainEqual({ on: "failed", leg: "remote" });
    expect(backUp.starts.some((one) => one.on === "late")).toBe(true);
    expect(backUp.spends).toBe("hedge token");
  });

  it("prices a stalled link by the rest of the stall after the guard", () => {
    const stalls = handView({ local: 2 });
    const values = Float64Array.from({ length: estimateSize }, (_, index) => (index < 14 ? 10 : 5000));
    const link = linkTableOf((_, side) => (side === "up" ? values : 5));
    const [info] = stalls.view.endpoints.infos;
    const priced = (extraRun: number): EndpointTable =>
      endpointTable([
        {
          info: the(info),
          link,
          queueMs: 0,
          serviceRatio: 1,
          penaltyMs: 0,
          sharedMs: 0,
          prices: pricesOf(extraRun),
        },
      ]);
    const plan = planned({ ...stalls.view, endpoints: priced(0.1) });
    expect(plan.legs[0]?.endpoint).toBe("edge-0");
    expect(meanOf(plan.predicted.completionMs)).toBeLessThan(150);
    expect(planned({ ...stalls.view, endpoints: priced(Infinity) }).legs[0]?.endpoint).toBe("device");
  });

  it("sends nothing that the sender may not have other endpoints do, but to those that know no rights", () => {
    const offers = [
      ["start", "end", 2000],
      ["lines", "end", 5],
    ] as const;
    const { view } = handView({ local: 3, offers, upMs: (bytes) => bytes / 1e4 });
    const remote = (at: View, ...rights: readonly string[]): string | undefined =>
      planned(at, { rights }).legs.find((leg) => leg.id === "remote")?.segment.from;
    expect(remote(view, "infer", "segment:infer")).toBe("lines");
    const plan = planned(view, { rights: ["infer"] });
    expect(plan.legs.map((leg) => leg.segment.from)).not.toContain("lines");
    expect(plan.lost).toContainEqual(
      expect.objectContaining({
        cut: "lines",
        why: {
          kind: "filter",
          filter: "rights",
          detail: "the sender may not run lines..end elsewhere: that takes the right segment:infer",
        },
      }),
    );
    const triton = endpointTable(
      view.endpoints.infos.map((info) => ({
        info: { ...info, offers: false },
        link: linkTableOf((bytes, side) => (side === "up" ? bytes / 1e4 : 5)),
        queueMs: 0,
        serviceRatio: 1,
        penaltyMs: 0,
        sharedMs: 0,
        prices: pricesOf(0.1),
      })),
    );
    expect(remote({ ...view, endpoints: triton }, "infer")).toBe("lines");
  });

  it("draws among endpoints that are alike, and always finds one of the best", () => {
    const { view } = handView({ local: 100, copies: 20 });
    const random = seededRandom(9);
    const chosen = new Set<string>();
    for (let draw = 0; draw < 400; draw++) {
      const plan = makePlan(request, view, 0, random);
      if (!isInfeasible(plan)) chosen.add(plan.legs[0]?.endpoint ?? "");
    }
    expect(chosen.size).toBe(20);
  });

  it("tries for a deadline that is unlikely but possible, and names it when it is impossible", () => {
    const slow = handView({ local: 100 });
    expect(isInfeasible(makePlan({ ...request, deadlineMs: 1 }, slow.view, 0, seededRandom(1)))).toBe(true);
    const outcome = makePlan({ ...request, deadlineMs: 1 }, slow.view, 0, seededRandom(1));
    if (!isInfeasible(outcome)) throw new Error("no plan was expected");
    expect(outcome.filter).toBe("deadline");
    expect(outcome.because).toContain("1 ms");
  });

  it("lets declassified crossings go where the input may not", () => {
    const policy = tablePolicy({
      restricted: { zones: ["device"], leastTrust: "none" },
      public: { leastTrust: "none" },
    });
    const rules = { dataClass: "restricted", leastTrust: "none" } as const;
    const offers = [
      ["start", "end", 1],
      ["recognise", "end", 0.001],
    ] as const;
    const upMs = (): number => 0.001;
    const open = handView({
      policy,
      local: 1000,
      offers,
      upMs,
      world: planWorld(seededRandom(5), { declassifies: true }),
    });
    const plan = planned(open.view, { rules });
    expect(plan.legs.find((leg) => leg.id === "remote")?.segment.from).toBe("recognise");
    const clinging = handView({ policy, local: 1000, offers, upMs });
    const kept = planned(clinging.view, { rules });
    expect(kept.legs.every((leg) => leg.endpoint === "device")).toBe(true);
  });

  it("asks both classes when the caller names another than the model's", () => {
    const policy = tablePolicy({
      public: { leastTrust: "none" },
      personal: { leastTrust: "vouched" },
    });
    const { view } = handView({ policy, local: 100 });
    const rules = { dataClass: "public", leastTrust: "none" } as const;
    expect(planned(view, { rules }).legs[0]?.endpoint).toBe("edge-0");
    expect(planned(view, { rules, modelClass: "personal" }).legs[0]?.endpoint).toBe("device");
  });

  it("never believes another endpoint that it is this device", () => {
    const { view } = handView({
      local: 100,
      policy: tablePolicy({ internal: { zones: ["device"], leastTrust: "none" } }),
    });
    const [info] = view.endpoints.infos;
    const model = view.models.get("ocr")!;
    const claimed: View = {
      ...view,
      endpoints: { ...view.endpoints, infos: [{ ...the(info), zone: "device" }] },
      models: new Map([
        ["ocr", { ...model, routes: { ...model.routes, zones: [["device"]], zoneSets: [["device"]] } }],
      ]),
    };
    const plan = planned(claimed);
    expect(plan.legs.every((leg) => leg.endpoint === "device")).toBe(true);
    expect(plan.lost.some((line) => line.why.kind === "filter" && line.why.filter === "zone")).toBe(true);
  });

  it("takes another processor of this device for this device, whatever its zone and trust", () => {
    const { view } = handView({
      local: 100,
      policy: tablePolicy({ internal: { zones: ["device"], leastTrust: "none" } }),
    });
    const [info] = view.endpoints.infos;
    const model = view.models.get("ocr")!;
    const own: View = {
      ...view,
      endpoints: { ...view.endpoints, infos: [{ ...the(info), zone: "device", sameDevice: true }] },
      models: new Map([
        ["ocr", { ...model, routes: { ...model.routes, zones: [["device"]], zoneSets: [["device"]] } }],
      ]),
    };
    const rules = { dataClass: "internal", leastTrust: "attested", zones: ["eu"] } as const;
    expect(planned(own, { rules }).legs[0]?.endpoint).toBe("edge-0");
  });

  it("charges an exchange for the radio's time beyond what those before it take, where energy is made small", () => {
    const limits = { ...request.limits, objective: "energy" } as const;
    const millijoules = (sharedMs: number): number => {
      const { view } = handView({ upMs: () => 5000, radio: radios.lte, sharedMs });
      return planned(view, { limits, exclude: new Set(["device"]) }).predicted.deviceMillijoules;
    };
    expect(millijoules(0) - millijoules(4000)).toBeCloseTo(4000 * radios.lte.baseWatts, 6);
    expect(millijoules(0) - millijoules(9000)).toBeCloseTo(5005 * radios.lte.baseWatts, 6);
    const first = (sharedMs: number, local: number): string | undefined => {
      const { view } = handView({ upMs: () => 5000, radio: radios.lte, local, sharedMs });
      return planned(view, { limits }).legs[0]?.endpoint;
    };
    const { view } = handView({ upMs: () => 5000, local: 1 });
    const hereOnce = planned(view, { limits: { ...limits, variant: "640" }, exclude: new Set(["edge-0"]) });
    // Two thirds of what the whole exchange would take.
    const local = (0.67 * millijoules(0)) / hereOnce.predicted.deviceMillijoules;
    expect([first(0, local), first(4900, local)]).toEqual(["device", "edge-0"]);
  });

  it("tries what may take longer than the deadline where a run here keeps it, and energy is made small", () => {
    const upMs = (): ArrayLike<number> =>
      new Float64Array(estimateSize).fill(100).fill(1e6, estimateSize - 1);
    const { view } = handView({ upMs, local: 20 });
    const here = meanOf(planned(view, { exclude: new Set(["edge-0"]) }).predicted.completionMs);
    const deadlineMs = 4 * here;
    const limits = { ...request.limits, objective: "energy" } as const;
    const plan = planned(view, { limits, deadlineMs });
    expect(plan.legs.map(({ id }) => id)).toEqual(["remote", "local"]);
    expect(meanOf(plan.predicted.completionMs)).toBeLessThan(deadlineMs);
    // Limits that leave no room for it, too little time, or a share of cases in which the deadline is to be kept without it.
    for (const more of [{ maxDeviceMillijoules: 1e9 }, { minInTimeRatio: 0.99 }]) {
      const careful = planned(view, { limits: { ...limits, ...more }, deadlineMs });
      expect(careful.legs[0]?.id).toBe("local");
    }
    const late = makePlan({ ...request, limits, deadlineMs: 0.5 * here }, view, 0, seededRandom(1));
    expect("legs" in late && meanOf(late.predicted.completionMs)).toBeGreaterThan(here);
  });

  it("pauses at the fan-out when the number of items decides and is unknown", () => {
    const { view } = handView({ local: 0.3, offers: [["lines", "end", 300]], upMs: () => 200 });
    const plan = planned(view, { features: { bytes: 90_000 } });
    expect(
      plan.legs.map((leg) => `${leg.endpoint} ${leg.segment.from}..${leg.segment.to}`).slice(0, 2),
    ).toEqual(["device start..lines", "device lines..end"]);
    expect(planned(view).legs[0]?.segment.to).toBe("end");
  });
});

/** The value, which the test knows to be there. */
function the<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a value was expected");
  return value;
}
