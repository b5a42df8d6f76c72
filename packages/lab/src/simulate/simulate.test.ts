import { exchangeMillijoules, radios } from "@longshore/core/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace, linkShapes, steadyArrivals, syntheticTrace } from "../trace/index.ts";
import {
  allowedPlans,
  checkScenario,
  plainModel,
  profiledModel,
  type SimulatedRun,
  type SimulatedWay,
  simulate,
  simulationOf,
  simulationReport,
  type ScenarioFile,
  scenarioYaml,
  type Simulation,
  typicalInputs,
  waysTable,
} from "./index.ts";

const { model, deviceSpeed } = plainModel({ bytes: 20_000, localMs: 400, serverMs: 15 });

function simulationWith(more: Partial<ScenarioFile> = {}, count = 60): Simulation {
  const up = syntheticTrace(linkShapes.stalling, 4, 60_000);
  return simulationOf(
    { model: "m", seed: 3, ...more },
    {
      model,
      deviceSpeed,
      links: () => ({ up, down: constantTrace(20e6) }),
      arrivalsMs: steadyArrivals(500, count),
    },
  );
}

const wayOf = (ways: readonly SimulatedWay[], kind: SimulatedWay["kind"]): SimulatedWay =>
  ways.find((way) => way.kind === kind)!;

describe("simulate", () => {
  it("replays to the byte, beside the oracle and plans that never change", async () => {
    const ways = await simulate(simulationWith());
    expect(ways.map(({ kind }) => kind)).toEqual(["longshore", "oracle", "device", "endpoint", "fixed"]);
    expect(JSON.stringify(await simulate(simulationWith()))).toBe(JSON.stringify(ways));
    const [ours, oracle] = ways;
    expect(ours?.rows.every(({ outcome }) => outcome === "answered")).toBe(true);
    expect(oracle?.figures.vsOracle).toBe(1);
    // The oracle knows the link: it is never worse than what never changes, but for the spread of services.
    for (const way of ways) expect(way.figures.vsOracle).toBeGreaterThan(0.98);
    expect(ours?.figures.meanMs).toBeLessThan(wayOf(ways, "device").figures.meanMs);
    expect(ours?.figures.awayRatio).toBeGreaterThan(0.5);
    const run = { name: "stalling", ways, limits: { deadlineMs: 600 }, notCounted: 5, links: [] };
    const page = simulationReport([run], "seed 3");
    for (const words of ["Regret", "oracle", "always cloud", "seed 3"]) expect(page).toContain(words);
    expect(page.match(/<svg/g)?.length).toBeGreaterThanOrEqual(10);
  });

  it("charges a missed deadline, and lets a crowd make an endpoint slow", async () => {
    const late = await simulate(simulationWith({ deadlineMs: 300 }, 20));
    const here = wayOf(late, "device");
    expect(here.figures.missed).toBe(here.figures.counted);
    expect(here.figures.meanMs).toBeCloseTo(300, 0);
    const endpoints = [{ id: "edge", rtt: 4, instances: 1, crowd: 0.95 }];
    const crowded = wayOf(await simulate(simulationWith({ endpoints })), "endpoint");
    const alone = wayOf(await simulate(simulationWith({ endpoints: [{ id: "edge", rtt: 4 }] })), "endpoint");
    expect(crowded.figures.meanMs).toBeGreaterThan(alone.figures.meanMs + 5);
  });

  it("counts energy where that is made small", async () => {
    const ways = await simulate(simulationWith({ device: { watts: 2, radio: "wifi" }, objective: "energy" }));
    const fixed = wayOf(ways, "fixed");
    expect(fixed.figures.objective).toBe(fixed.figures.meanMillijoules);
    expect(fixed.figures.meanMillijoules).toBeLessThan(0.5 * wayOf(ways, "device").figures.meanMillijoules);
    expect(wayOf(ways, "longshore").figures.objective).toBeLessThan(1.5 * fixed.figures.objective);
  });

  it("charges no radio for more time than passed, however many exchanges go on at once", async () => {
    const slow = constantTrace(160e3);
    const ways = await simulate(
      simulationOf(
        {
          model: "m",
          device: { watts: 2, radio: "3g" },
          objective: "energy",
          endpoints: [{ id: "cloud", rtt: 600 }],
        },
        {
          model,
          deviceSpeed: deviceSpeed / 100,
          links: () => ({ up: slow, down: slow }),
          arrivalsMs: steadyArrivals(1050, 30),
        },
      ),
    );
    const radio = radios["3g"];
    for (const { name, rows } of [wayOf(ways, "longshore"), wayOf(ways, "endpoint")]) {
      const sent = rows.filter(({ where, lostLegs }) => where === "cloud" && lostLegs === 0);
      expect(sent.length, name).toBeGreaterThan(25);
      const upMs = Math.max(...sent.map(({ atMs, tookMs }) => atMs + tookMs)) - sent[0]!.atMs;
      const total = sent.reduce(
        (sum, { millijoules, sentBytes, receivedBytes }) =>
          sum + millijoules - exchangeMillijoules(radio, sentBytes, receivedBytes, 0, 0),
        0,
      );
      const tail = radio.promotionMillijoules + radio.tailMs * radio.tailWatts;
      expect(total, name).toBeGreaterThan(0.8 * upMs * radio.tailWatts);
      expect(total, name).toBeLessThan(tail + upMs * radio.baseWatts);
    }
  });
});

describe("the words of objectives", () => {
  const objectiveOf = async (
    more: Partial<ScenarioFile>,
  ): Promise<Record<string, SimulatedWay["figures"]>> => {
    const ways = await simulate(
      simulationWith({ endpoints: [{ id: "cloud", microsPerSecond: 100 }], ...more }),
    );
    return Object.fromEntries(ways.map(({ name, figures }) => [name, figures]));
  };

  it("count a percentile, a sum and the probability of being late over all requests", async () => {
    const p95 = await objectiveOf({ objective: "p95" });
    for (const figures of Object.values(p95)) expect(figures.objective).toBe(figures.p95Ms);
    const sum = await objectiveOf({ objective: "mean=2,p99=1,energy=0.5,cost=10" });
    for (const { objective, meanMs, p99Ms, meanMillijoules, meanCostMicros } of Object.values(sum)) {
      expect(objective).toBeCloseTo(2 * meanMs + p99Ms + 0.5 * meanMillijoules + 10 * meanCostMicros, 6);
    }
    const chance = await objectiveOf({ objective: "chance", deadlineMs: 300 });
    for (const { objective, missed, counted } of Object.values(chance))
      expect(objective).toBe(missed / counted);
    expect(chance["always the device"]?.objective).toBe(1);
    expect(chance["longshore"]?.objective).toBeLessThan(0.5);
    expect(chance["oracle"]?.vsOracle).toBe(1);
  });

  it("are reported as they are if the oracle's value is 0", async () => {
    const constant = simulationOf(
      { model: "m", seed: 1, objective: "chance", deadlineMs: 300 },
      {
        model,
        deviceSpeed,
        links: () => ({ up: constantTrace(5e6), down: constantTrace(20e6) }),
        arrivalsMs: steadyArrivals(1000, 20),
      },
    );
    const ways = await simulate(constant);
    expect(wayOf(ways, "oracle").figures).toMatchObject({ objective: 0, vsOracle: 1 });
    expect(wayOf(ways, "device").figures).toMatchObject({ objective: 1, vsOracle: null });
    const run: SimulatedRun = {
      name: "constant",
      ways,
      limits: { objective: "chance", deadlineMs: 300 },
      notCounted: 0,
      links: [],
    };
    expect(waysTable(run).rows.map(([name, , over]) => [name, over])).toEqual(
      expect.arrayContaining([
        ["oracle", "1.000"],
        ["always the device", "1.000 / 0"],
      ]),
    );
    expect(simulationReport([run], "")).not.toMatch(/Infinity|NaN/);
  });

  it("decide: money that counts keeps requests here, and a deadline that is to be kept surely sends them away", async () => {
    const cost = await objectiveOf({ objective: "cost" });
    expect([cost["longshore"]?.awayRatio, cost["oracle"]?.awayRatio]).toEqual([0, 0]);
    // Nothing was paid, which no way could improve.
    expect(cost["longshore"]?.vsOracle).toBe(1);
    const dear = await objectiveOf({ objective: "mean=1,cost=0.001" });
    expect(dear["longshore"]?.awayRatio).toBeGreaterThan(0.5);
    const hurried = await objectiveOf({ objective: "cost", deadlineMs: 300, minInTimeRatio: 0.5 });
    expect(hurried["longshore"]?.awayRatio).toBeGreaterThan(0.5);
  });

  it.each<[Partial<Record<keyof ScenarioFile, unknown>>, string]>([
    [
      { objective: "speed" },
      "objective must name an objective, such as latency, p95 or mean=1,energy=0.2, not \"speed\": 'speed' is none of",
    ],
    [{ objective: 3 }, "not 3: it is no text"],
    [{ objective: "chance" }, "objective chance needs a deadline: deadlineMs"],
    [{ minInTimeRatio: 0.9 }, "minInTimeRatio needs a deadline: deadlineMs"],
    [{ deadlineMs: 5, minInTimeRatio: 95 }, "minInTimeRatio must be a number from 0.001 to 1, not 95"],
  ])("are refused where they say nothing: %o", (written, why) => {
    expect(() => checkScenario({ model: "m", ...written }, "x.yaml")).toThrow(why);
  });
});

it("keeps plans to endpoints that the rules allow", () => {
  const toy = toyModel();
  const simulation = {
    ...simulationWith(),
    model: toy,
    inputs: {},
    endpoints: [endpointInfo("edge", "edge"), endpointInfo("cloud", "cloud")].map((info) => ({
      info,
      up: constantTrace(1e6),
      down: constantTrace(1e6),
      delayMs: 5,
    })),
  };
  const endpointsOf = (limits: Simulation["limits"]): readonly string[] => [
    ...new Set(allowedPlans({ ...simulation, limits }).map(({ plan }) => plan.endpoint ?? "here")),
  ];
  expect(endpointsOf({ dataClass: "public" })).toEqual(["edge", "cloud", "here"]);
  expect(endpointsOf({ dataClass: "public", zones: ["eu/edge"] })).toEqual(["edge", "here"]);
  expect(endpointsOf({ dataClass: "restricted" })).toEqual(["here"]);
  // The larger variant agrees less, and may be held by the cloud alone.
  const lax = allowedPlans({ ...simulation, limits: { dataClass: "public", minAgreementRatio: 0.98 } });
  expect(
    lax.filter(({ plan }) => plan.variant === "large").every(({ plan }) => plan.endpoint === "cloud"),
  ).toBe(true);
});

it("makes blank inputs of the profiled sizes where shapes vary", () => {
  const { profile } = toyModel();
  const [variant] = profile.variants;
  const [bucket] = variant!.buckets;
  for (const bytes of [1, 5_000, 123_456]) {
    const cuts = bucket!.cuts.map((one) => ({
      ...one,
      cut: { ...one.cut, crossing: [{ name: "x", datatype: "UINT8" as const, shape: [-1, -1, 1] }] },
      codings: one.codings.map((coding) => ({ ...coding, bytes })),
    }));
    const made = profiledModel({ ...profile, variants: [{ ...variant!, buckets: [{ ...bucket!, cuts }] }] });
    expect(typicalInputs(made).get("x")?.bytes.byteLength).toBe(bytes);
    expect(made.description.inputs[0]?.name).toBe("x");
  }
});

describe("scenarios", () => {
  it("reads YAML and reports path, value and permitted range of a problem", () => {
    const text = "model: { bytes: 1, localMs: 2, serverMs: 3 }\nendpoints:\n  - { id: edge, speed: 2 }\n";
    expect(checkScenario(scenarioYaml(text, "s"), "s").endpoints?.[0]?.speed).toBe(2);
    const wrong: readonly (readonly [string, RegExp])[] = [
      ["model: [", /^s: not valid YAML/],
      ["*-", /^s: not valid YAML/],
      ["- a", /^s: must be a mapping/],
      ["seed: 1", /^s: model is missing/],
      [
        "model: m\nendpoints: [{ id: e, speed: 0 }]",
        /endpoints\.0\.speed must be a number from 0\.001 to 1000, not 0/,
      ],
      [
        "model: m\nendpoints: [{ id: e, tier: moon }]",
        /endpoints\.0\.tier must be one of edge, cloud, not "moon"/,
      ],
      ["model: m\nendpoints: [{ id: e }, { id: e }]", /two endpoints are called e/],
      ["model: m\nendpoints: []", /endpoints must name an endpoint/],
      ["model: m\nendpoints: [{ id: e, zone: device }]", /endpoints: e cannot be in zone device/],
      ["model: m\nsed: 1", /sed is an unknown key; known here: model, device/],
      ["model: m\nrequests: 1.5", /requests must be a whole number from 1 to 100000, not 1\.5/],
      ["model: { bytes: 1 }", /must be a model that has a profile, or a mapping with bytes/],
    ];
    for (const [yaml, message] of wrong) {
      expect(() => checkScenario(scenarioYaml(yaml, "s"), "s")).toThrow(
        expect.objectContaining({
          reason: "invalid-configuration",
          message: expect.stringMatching(message) as string,
        }),
      );
    }
  });

  it("refuses any other text with a reason", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          checkScenario(scenarioYaml(text, "s"), "s");
        } catch (error) {
          expect(error).toMatchObject({ reason: "invalid-configuration" });
        }
      }),
    );
  });
});
