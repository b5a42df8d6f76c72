/**
 * `bench decide --part first`: the first 60 requests of an app on a stable link, one after the other, beside always the better side.
 *
 * Rows are drawn so that each value of each axis comes equally often: links from loopback to 1.5 Mbit/s, a server 2 to 5 times faster or
 * slower than the device, a warm or a cold model, gaps, with and without a profile. Links carry packets one by one, uploads are sent by
 * TCP. Each row is played twice: a first start, and a second one with the beliefs that the first left. The server is the better side if
 * all requests there, its one load included, take less than all here.
 */
import {
  type EndpointInfo,
  estimateOf,
  LongshoreError,
  type Offer,
  type Result,
  seededRandom,
} from "@longshore/core";
import { type BeliefState, KeptBeliefs, sleep } from "@longshore/core/internal";
import {
  constantTrace,
  type FixedPlan,
  type OffloadWorld,
  offloadWorld,
  plainModel,
  type SimulatedEndpoint,
  typicalInputs,
} from "@longshore/lab";
import { contradictionIn } from "@longshore/testkit";
import { type Bench, mean, numberOf, quantile, type Row } from "./harness.ts";

/** Requests of a row. */
const requests = 60;
/** Sides that differ by less than this share are equally good. */
const alikeRatio = 0.1;
/** The server is settled from its answer of this number on. */
const settledFrom = 3;
const loadMs = 700;
/** Run time that a server without a profile promises before its first run. */
const guessedMs = 50_000;

interface FirstLink {
  readonly name: string;
  readonly upMegabits: number;
  readonly downMegabits: number;
  readonly roundTripMs: number;
  readonly jitterMs: number;
}

const links: readonly FirstLink[] = [
  { name: "loopback", upMegabits: 2000, downMegabits: 2000, roundTripMs: 0.2, jitterMs: 0.05 },
  { name: "LAN 1000", upMegabits: 1000, downMegabits: 1000, roundTripMs: 0.6, jitterMs: 0.1 },
  { name: "Wi-Fi 80", upMegabits: 80, downMegabits: 80, roundTripMs: 4, jitterMs: 2 },
  { name: "Wi-Fi 20", upMegabits: 20, downMegabits: 20, roundTripMs: 8, jitterMs: 4 },
  { name: "LTE 12", upMegabits: 12, downMegabits: 30, roundTripMs: 45, jitterMs: 8 },
  { name: "slow 1.5", upMegabits: 1.5, downMegabits: 8, roundTripMs: 60, jitterMs: 10 },
];

/**
 * The model at the server before its first run: loaded; or to be loaded in advance or with the first request; or only with that; or without
 * a word of it.
 */
type Cold = "warm" | "prepares" | "loads first" | "untold";

const axes = {
  link: links,
  serverRatio: [1 / 5, 1 / 2, 2, 5],
  cold: ["warm", "prepares", "warm", "loads first", "warm", "untold"] as readonly Cold[],
  gapMs: [0, 100, 500, 5000],
  profiled: [true, false],
  bytes: [20_000, 66_000, 262_144, 600_000],
  replyBytes: [1000, 40_000, 262_144],
  localMs: [30, 50, 150, 400],
} as const;

/** One value of each axis. */
type Setting = { readonly [Axis in keyof typeof axes]: (typeof axes)[Axis][number] } & {
  readonly seed: number;
};

/** Settings in which each value of each axis comes equally often, in a drawn order. */
function drawn(count: number, seed: number): readonly Setting[] {
  const random = seededRandom(seed);
  const column = <T>(values: readonly T[]): readonly T[] =>
    Array.from({ length: count }, (_, at) => ({ value: values[at % values.length] as T, key: random.next() }))
      .toSorted((one, other) => one.key - other.key)
      .map(({ value }) => value);
  const columns = Object.entries(axes).map(([axis, values]) => [axis, column<unknown>(values)] as const);
  return Array.from({ length: count }, (_, at) => {
    const values = Object.fromEntries(columns.map(([axis, of]) => [axis, of[at]]));
    return { ...values, seed: seed + at } as unknown as Setting;
  });
}

const endpoint = (id: string, tier: EndpointInfo["tier"]): EndpointInfo => ({
  id,
  tier,
  zone: tier,
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
});

/** The server as its axes say: it loads the model at first, and may have no profile. */
function asSet(server: SimulatedEndpoint, setting: Setting, clock: OffloadWorld["clock"]): SimulatedEndpoint {
  const { cold, profiled } = setting;
  let loading: Promise<void> | undefined;
  let loaded = cold === "warm";
  let ran = false;
  const load = async (): Promise<void> => {
    if (loaded) return;
    loading ??= sleep(clock, loadMs);
    await loading;
    loaded = true;
  };
  const refuse = (): Promise<void> =>
    Promise.reject(new LongshoreError("unsupported", "resolve", "this server does not load in advance"));
  return {
    ...server,
    capabilities: { ...server.capabilities, prepare: cold === "loads first" ? refuse : load },
    async describe(...asked) {
      const known = await server.describe(...asked);
      return known && (profiled ? known : { description: known.description });
    },
    async offers(...asked): Promise<readonly Offer[]> {
      const all = await server.offers(...asked);
      const told = loaded || cold === "untold" ? all : all.map((offer) => ({ ...offer, loadMs }));
      if (profiled || ran) return told;
      const guess = estimateOf([guessedMs], { observedAtMs: clock.nowMs(), origin: "told" });
      return told.map((offer) => ({ ...offer, completionMs: guess, origin: "inferred" as const }));
    },
    async infer(request, call, progress) {
      const beganMs = clock.nowMs();
      await load();
      const waitedMs = clock.nowMs() - beganMs;
      const response = await server.infer(request, call, progress);
      ran = true;
      if (waitedMs === 0) return response;
      const stage = { stage: "load" as const, name: request.segment.model, tookMs: waitedMs };
      return { ...response, account: { ...response.account, stages: [stage, ...response.account.stages] } };
    },
  };
}

/** A device without a profile offers nothing. */
function unprofiled(device: SimulatedEndpoint): SimulatedEndpoint {
  return {
    ...device,
    async describe(...asked) {
      const known = await device.describe(...asked);
      return known && { description: known.description };
    },
    offers: () => Promise.resolve([]),
  };
}

/** The same world for all ways to decide. */
function worldOf(setting: Setting, kept?: (clock: OffloadWorld["clock"]) => KeptBeliefs) {
  const { link, serverRatio, bytes, replyBytes, localMs, seed, profiled } = setting;
  const { model, deviceSpeed } = plainModel({ bytes, replyBytes, localMs, serverMs: localMs * serverRatio });
  const world = offloadWorld({
    models: [model],
    device: { speed: deviceSpeed, info: endpoint("device", "device") },
    endpoints: [
      {
        info: endpoint("server", "edge"),
        up: constantTrace(link.upMegabits * 1e6),
        down: constantTrace(link.downMegabits * 1e6),
        delayMs: link.roundTripMs / 2,
        jitterMs: link.jitterMs,
        quantumMs: 0.2,
        handlingMs: [0.4, 0.6, 0.9],
        tcp: {},
        ...(link.name === "loopback" ? { hint: { kind: "loopback" } } : {}),
      },
    ],
    seed,
    defaults: { dataClass: "public" },
    ...(kept ? { beliefs: kept } : {}),
    wrap: (one, clock) =>
      one.info.id === "server" ? asSet(one, setting, clock) : profiled ? one : unprofiled(one),
  });
  return { world, model };
}

type Played = Pick<Result, "where" | "tookMs" | "predictedMs" | "plans">;

/** The requests of a row, each begun a gap after the last answer. */
async function play(
  { clock }: OffloadWorld,
  setting: Setting,
  ask: () => Promise<Result>,
): Promise<readonly Played[]> {
  const answers: Played[] = [];
  for (let request = 0; request < requests; request++) {
    answers.push(await clock.runUntil(ask()));
    await clock.advance(setting.gapMs);
  }
  return answers;
}

/** A start of the app with the beliefs that an earlier one left; and those that it leaves. */
async function start(setting: Setting, before: BeliefState | undefined) {
  let kept: KeptBeliefs | undefined;
  const { world, model } = worldOf(setting, (clock) => (kept = new KeptBeliefs(clock, before)));
  const inputs = Object.fromEntries(typicalInputs(model));
  const answers = await play(world, setting, () => world.offloader.infer(model.description.name, inputs));
  const left = kept?.state();
  await world.clock.runUntil(world.offloader.close());
  return { answers, left };
}

/** The whole time of the requests with every one on one side. */
async function fixedMs(setting: Setting, at: string | undefined): Promise<number> {
  const { world, model } = worldOf(setting);
  const plan: FixedPlan = {
    variant: "default",
    cut: at === undefined ? "end" : "start",
    codecs: {},
    ...(at === undefined ? {} : { endpoint: at }),
  };
  const fixed = world.fixed(model, plan);
  const inputs = Object.fromEntries(typicalInputs(model));
  const answers = await play(world, setting, () => fixed.infer(model.description.name, inputs));
  await world.clock.runUntil(world.offloader.close());
  return total(answers);
}

const total = (answers: readonly Pick<Played, "tookMs">[]): number =>
  answers.reduce((sum, { tookMs }) => sum + tookMs, 0);

/** By which factor a prediction was too long or too short. */
const factorOf = ({ predictedMs, tookMs }: Pick<Played, "predictedMs" | "tookMs">): number =>
  Math.max(predictedMs / tookMs, tookMs / predictedMs);

/** Figures of one start. */
function scored(answers: readonly Played[], better: string | undefined, bestMs: number) {
  const there = answers.filter(({ where }) => where === "server");
  const third = answers.indexOf(there[settledFrom - 1] as Played);
  const wrong = (some: readonly Played[]): number =>
    better === undefined ? 0 : some.filter(({ where }) => where !== better).length;
  // A request that another side answered took as long as its guard.
  const foretold = there.filter(({ plans }) => plans.length === 1);
  const [first, ...later] = foretold.map(factorOf);
  return {
    atBetter: requests - wrong(answers),
    wrongOnceSettled: third < 0 ? 0 : wrong(answers.slice(third + 1)),
    totalVsBetter: total(answers) / bestMs,
    answersThere: there.length,
    firstFactor: first,
    later,
    contradictions: answers.flatMap(({ plans }) => plans).filter((plan) => contradictionIn(plan)).length,
  };
}

async function rowOf(setting: Setting) {
  const [hereMs, thereMs] = [await fixedMs(setting, undefined), await fixedMs(setting, "server")];
  const bestMs = Math.min(hereMs, thereMs);
  const alike = Math.max(hereMs, thereMs) < (1 + alikeRatio) * bestMs;
  const better = alike ? undefined : hereMs < thereMs ? "device" : "server";
  const first = await start(setting, undefined);
  const second = await start(setting, first.left);
  return {
    setting,
    better,
    hereMs: hereMs / requests,
    thereMs: thereMs / requests,
    first: scored(first.answers, better, bestMs),
    second: scored(second.answers, better, bestMs),
  };
}

type FirstRow = Awaited<ReturnType<typeof rowOf>>;

function lineOf({ setting, better, hereMs, thereMs, first, second }: FirstRow): string {
  const { link, serverRatio, cold, gapMs, profiled, bytes, replyBytes } = setting;
  const cells = [
    link.name.padEnd(9),
    `x${serverRatio}`.padEnd(5),
    cold.padEnd(11),
    `${gapMs} ms`.padStart(7),
    (profiled ? "profile" : "-").padEnd(8),
    `${Math.round(bytes / 1000)}/${Math.round(replyBytes / 1000)} kB`.padStart(11),
    `${hereMs.toFixed(0)}:${thereMs.toFixed(0)} ms`.padStart(12),
    (better ?? "alike").padEnd(7),
    String(first.atBetter).padStart(3),
    String(first.wrongOnceSettled).padStart(3),
    first.totalVsBetter.toFixed(2),
    (first.firstFactor ?? NaN).toFixed(2),
    (first.later.length > 0 ? quantile(first.later, 0.5) : NaN).toFixed(2),
    String(second.atBetter).padStart(3),
    second.totalVsBetter.toFixed(2),
  ];
  return `  ${cells.join("  ")}`;
}

const worst = (values: readonly number[]): number =>
  values.reduce((most, one) => Math.max(most, one), -Infinity);

export const bench: Bench = {
  name: "decide --part first",
  about:
    "the first 60 requests on a stable link: a first start and a second one, beside always the better side",
  options: ["--rows N"],
  bars: {
    atBetterMean: { atLeast: 55 },
    atBetterLeast: { atLeast: 50 },
    wrongOnceSettled: { atMost: 0 },
    secondAtBetterMean: { atLeast: 59 },
    totalVsBetterMean: { atMost: 1.1 },
    totalVsBetterWorst: { atMost: 1.25 },
    firstFactorWorst: { atMost: 1.5 },
    laterFactorMedian: { atMost: 1.3 },
    laterFactorP95: { atMost: 2 },
    contradictions: { atMost: 0 },
  },
  async run({ seed, args, say }) {
    const rows: FirstRow[] = [];
    say(
      "  here:there is the mean of always one side; then first start: at the better side, wrong once settled,",
    );
    say(
      "  total over the better side, factor of the first and of later predictions; second start: at the better side, total\n",
    );
    for (const setting of drawn(numberOf(args, "rows", 96), seed)) {
      const row = await rowOf(setting);
      rows.push(row);
      say(lineOf(row));
    }
    const placed = rows.filter(({ better }) => better !== undefined);
    const later = rows.flatMap(({ first }) => first.later);
    // A load that no endpoint told of cannot be foretold.
    const firsts = rows.flatMap(({ first: { firstFactor }, setting }) =>
      firstFactor === undefined || setting.cold === "untold" ? [] : [firstFactor],
    );
    const atBetter = placed.map(({ first }) => first.atBetter);
    return {
      figures: {
        atBetterMean: mean(atBetter),
        atBetterLeast: -worst(atBetter.map((count) => -count)),
        wrongOnceSettled: mean(placed.map(({ first }) => first.wrongOnceSettled)),
        secondAtBetterMean: mean(placed.map(({ second }) => second.atBetter)),
        totalVsBetterMean: mean(rows.map(({ first }) => first.totalVsBetter)),
        totalVsBetterWorst: worst(rows.map(({ first }) => first.totalVsBetter)),
        firstFactorMedian: quantile(firsts, 0.5),
        firstFactorWorst: worst(firsts),
        laterFactorMedian: quantile(later, 0.5),
        laterFactorP95: quantile(later, 0.95),
        contradictions: rows.reduce(
          (sum, { first, second }) => sum + first.contradictions + second.contradictions,
          0,
        ),
      },
      rows: rows.map(({ setting: { link, ...axes }, better, hereMs, thereMs, first, second }): Row => ({
        kind: "first",
        ...axes,
        link: link.name,
        better: better ?? "alike",
        hereMs,
        thereMs,
        atBetter: first.atBetter,
        wrongOnceSettled: first.wrongOnceSettled,
        totalVsBetter: first.totalVsBetter,
        firstFactor: first.firstFactor ?? null,
        answersThere: first.answersThere,
        secondAtBetter: second.atBetter,
        secondTotalVsBetter: second.totalVsBetter,
      })),
    };
  },
};
