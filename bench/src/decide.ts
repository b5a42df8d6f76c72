/**
 * `bench decide`: guarded decisions on recorded uplinks, beside what others do and the oracle. The rules are frozen:
 * docs/benchmarks/decide.md states them, `replay.ts` of lab holds them.
 */
import { writeFileSync } from "node:fs";
import { linkModel } from "@longshore/core";
import { type Trace } from "@longshore/lab";
import {
  type ArrivalRow,
  allLocal,
  blindBound,
  comparePolicies,
  deadlineRow,
  type DeadlineRow,
  hedgeAt,
  justInTimeMs,
  lastRate,
  linUcb,
  meanCut,
  oracle,
  orderedFallback,
  type PolicyRow,
  type PolicyScore,
  replay,
  replayOffloader,
  type ReplayPolicy,
  type ReplaySetting,
  returnAfterOutageMs,
  scorePolicies,
  smoothedRate,
} from "./policy/index.ts";
import {
  type ArrivalKind,
  arrivalFigures,
  arrivalKinds,
  arrivalRows,
  isHeldOut,
  logHeldOut,
  meansVsOracle,
} from "./decide-arrivals.ts";
import { arrivalTable, decidePage, ownTable, print, scoreTable } from "./decide-report.ts";
import { type DecideTraces, decideTraces, generatedTraces, scaledBursts } from "./decide-traces.ts";
import { decideWorlds, worldKinds, worldNames } from "./decide-worlds.ts";
import { type Bench, chosenOf, commitOf, type Measured, optionOf, type Row } from "./harness.ts";
import { onTheBeat, promises } from "./promises.ts";

const serverMs = 15;
/** One model of links for all sensors: its tables take a few milliseconds each. */
const link = { model: linkModel() };
const hedges = [0, 0.3, 0.5, 0.75, 1].map((ratio) => (): ReplayPolicy => hedgeAt(ratio, { link }));
const policies = [orderedFallback, lastRate, smoothedRate, meanCut, linUcb, ...hedges];

function settingsOf(trace: Trace): readonly ReplaySetting[] {
  return [20_000, 150_000, 600_000].flatMap((requestBytes) =>
    [100, 400].flatMap((localMs) =>
      [20, 50].map((roundTripMs) => ({ trace, requestBytes, localMs, serverMs, roundTripMs, arrivals: 500 })),
    ),
  );
}

/** Bursty requests on an uplink, 20 kB and 50 ms round trip, for both local times. */
function burstSettings(
  trace: Trace,
  bursts: readonly number[],
  say: (line: string) => void,
): ReplaySetting[] {
  return [100, 400].map((localMs) => {
    const { arrivals, factor } = scaledBursts(bursts, localMs);
    say(`  bursts on ${trace.name}, ${localMs} ms here: gaps times ${factor.toFixed(2)}`);
    const lengthMs = Math.min(trace.lengthMs, arrivals[arrivals.length - 1] ?? 0);
    return { trace, requestBytes: 20_000, localMs, serverMs, roundTripMs: 50, arrivals, lengthMs };
  });
}

/** The offloader under one deadline, where offloading can pay. */
async function deadlineRowOf(setting: ReplaySetting, ratio: number): Promise<DeadlineRow | undefined> {
  if (replay(setting, oracle()).meanMs >= 0.997 * replay(setting, allLocal()).meanMs) return undefined;
  const deadlineMs = ratio * setting.localMs + justInTimeMs;
  return deadlineRow(setting, ratio, await replayOffloader(setting, { deadlineMs }));
}

/** Deadlines: every row, and the offloader's worst scored one. */
async function deadlines(traces: readonly Trace[]): Promise<{
  readonly rows: readonly DeadlineRow[];
  readonly figures: Readonly<Record<string, number>>;
}> {
  const rows: DeadlineRow[] = [];
  for (const setting of traces.flatMap(settingsOf)) {
    for (const ratio of [1.5, 0.75]) {
      const row = await deadlineRowOf(setting, ratio);
      if (row) rows.push(row);
    }
  }
  const worst = (ratio: number, pick: (row: DeadlineRow) => number): number =>
    rows
      .filter(({ deadlineRatio }) => deadlineRatio === ratio)
      .reduce((most, row) => Math.max(most, pick(row)), 0);
  return {
    rows,
    figures: {
      deadlineMissesAboveOracle: worst(1.5, (row) => row.missRatio - row.oracleMissRatio),
      deadlineMeanVsOracle: worst(1.5, (row) => row.meanVsOracle),
      shortDeadlineMissesAboveOracle: worst(0.75, (row) => row.missRatio - row.oracleMissRatio),
    },
  };
}

/** The offloader and the policies of these names; all of them by default. */
async function replayAll(
  settings: readonly ReplaySetting[],
  names: ReadonlySet<string> | undefined,
): Promise<readonly PolicyRow[]> {
  const wanted = names ? policies.filter((make) => names.has(make().name)) : policies;
  const rows: PolicyRow[] = [];
  for (const setting of settings)
    rows.push(...comparePolicies(setting, wanted, [await replayOffloader(setting)]));
  return rows;
}

/** Arrival rows of uplinks of packets, or of logs of rates, printed and scored. */
async function arrivalGroup(
  name: "packet" | "log",
  traces: readonly Trace[],
  kinds: readonly ArrivalKind[],
  draws: number,
  say: (line: string) => void,
): Promise<{ readonly rows: readonly ArrivalRow[]; readonly figures: Record<string, number> }> {
  const rows: ArrivalRow[] = [];
  for (const trace of traces) {
    say(`  arrivals on ${trace.name}`);
    const ofTrace = await arrivalRows(trace, kinds, draws);
    // The whole takes long: the rows of a trace are printed when they are there.
    print(arrivalTable(ofTrace), say);
    rows.push(...ofTrace);
  }
  if (rows.length === 0) return { rows, figures: {} };
  say(`\n  ${name === "packet" ? "uplinks of packets" : "logs of rates"}, by kind of arrivals:`);
  print(arrivalTable(rows), say);
  const { averageMeanVsOracle, worstMeanVsOracle, ...harm } = arrivalFigures(rows, kinds);
  const means = {
    [`${name}AverageMeanVsOracle`]: averageMeanVsOracle ?? NaN,
    [`${name}WorstMeanVsOracle`]: worstMeanVsOracle ?? NaN,
  };
  return { rows, figures: name === "packet" ? { ...harm, ...means } : means };
}

/** The p99, in runs here, and the share of extra runs that are aimed at. */
const barOf = { p99Ratio: 1.3, extraRatio: 0.15 };

/**
 * For the offloader's rows that miss the tail, if no acknowledgement is in time: the best that a policy within the tail can
 * reach.
 */
function blindBounds(
  rows: readonly PolicyRow[],
  traces: readonly Trace[],
  say: (line: string) => void,
): Row[] {
  const missed = rows.filter(
    ({ policy, scored, p99VsLocal }) => policy === "offloader" && scored && p99VsLocal > barOf.p99Ratio,
  );
  return missed.flatMap((row) => {
    const same = (one: ReplaySetting): boolean =>
      one.requestBytes === row.requestBytes &&
      one.localMs === row.localMs &&
      one.roundTripMs === row.roundTripMs;
    const setting = traces
      .filter(({ name }) => name === row.trace)
      .flatMap(settingsOf)
      .find(same);
    const bound = setting && blindBound(setting, barOf.p99Ratio, barOf.extraRatio);
    if (!bound) return [];
    const { requests, lookGood, lateOfThem, sent, meanVsOracle } = bound;
    say(
      `  ${row.trace}, ${row.requestBytes / 1000} kB, ${row.localMs} ms here, round trip ${row.roundTripMs} ms: of ${requests} requests ${lookGood} look good, ${lateOfThem} of them late; a p99 of ${barOf.p99Ratio} lets ${sent} be sent, at best ${meanVsOracle.toFixed(3)} over the oracle`,
    );
    const { trace, requestBytes, localMs, roundTripMs } = row;
    return [{ kind: "bound", trace, requestBytes, localMs, roundTripMs, ...bound }];
  });
}

/**
 * Only the selected traces (`--generated` takes made-up links instead): `--uplinks` and `--quick` leave out the downlinks,
 * `--downlinks` the uplinks; `--only` names traces. Held-out traces are left out: they need `--arrivals --held-out`.
 */
function asked(found: DecideTraces, args: readonly string[]): DecideTraces {
  const text = optionOf(args, "only") ?? "";
  const uplinks = !args.includes("--downlinks");
  const downlinks = !args.includes("--quick") && !args.includes("--uplinks");
  const kept = (traces: readonly Trace[], wanted: boolean): readonly Trace[] =>
    wanted ? traces.filter(({ name }) => name.includes(text) && !isHeldOut(name)) : [];
  const { tuned, held, extra } = found;
  return { ...found, tuned: kept(tuned, uplinks), held: kept(held, uplinks), extra: kept(extra, downlinks) };
}

function groupsOf({ tuned, held, extra }: DecideTraces): readonly (readonly [string, readonly Trace[]])[] {
  const groups = [
    ["uplinks that parameters were chosen on", tuned],
    [held.every(({ origin }) => origin === "synthetic") ? "made-up links" : "other uplinks", held],
    ["downlinks replayed as uplinks", extra],
  ] as const;
  return groups.filter(([, traces]) => traces.length > 0);
}

/** The offloader's figures on uplinks, and separately on those that parameters were not chosen on. */
function uplinkFigures(rows: readonly PolicyRow[], { tuned, held }: DecideTraces): Record<string, number> {
  const all = ownScore(rows);
  const others = ownScore(rows.filter(({ trace }) => held.some(({ name }) => name === trace)));
  if (!all) return {};
  return {
    beatWorstMeanVsOracle: all.worstMeanVsOracle,
    beatAverageMeanVsOracle: all.averageMeanVsOracle,
    beatWorstP99VsLocal: all.worstP99VsLocal,
    beatWorstExtraLocalRatio: all.worstExtraRatio,
    beatWorstMeanVsLocal: all.worstMeanVsLocal,
    beatWorstHarmRatio: all.worstHarmRatio,
    beatWorstProbeRatio: all.worstProbeRatio,
    ...(others && tuned.length > 0
      ? {
          beatHeldWorstMeanVsOracle: others.worstMeanVsOracle,
          beatHeldAverageMeanVsOracle: others.averageMeanVsOracle,
          beatHeldWorstP99VsLocal: others.worstP99VsLocal,
        }
      : {}),
  };
}

/** The same on downlinks, named so: nothing is held against a bar there. */
function downlinkFigures(rows: readonly PolicyRow[]): Record<string, number> {
  const own = ownScore(rows);
  if (!own) return {};
  return {
    downlinkWorstMeanVsOracle: own.worstMeanVsOracle,
    downlinkAverageMeanVsOracle: own.averageMeanVsOracle,
    downlinkWorstP99VsLocal: own.worstP99VsLocal,
    downlinkWorstExtraLocalRatio: own.worstExtraRatio,
    downlinkWorstHarmRatio: own.worstHarmRatio,
    downlinkWorstProbeRatio: own.worstProbeRatio,
  };
}

function ownScore(rows: readonly PolicyRow[]): PolicyScore | undefined {
  return scorePolicies(rows).find(({ policy }) => policy === "offloader");
}

/** How soon sending resumes after outages of a link that pays otherwise, and the worst of these times. */
async function returns(
  say: (line: string) => void,
): Promise<{ readonly rows: readonly Row[]; readonly figures: Record<string, number> }> {
  const links = [
    { bitsPerSecond: 5e6, requestBytes: 20_000, localMs: 100, roundTripMs: 20 },
    { bitsPerSecond: 5e6, requestBytes: 150_000, localMs: 400, roundTripMs: 50 },
    { bitsPerSecond: 20e6, requestBytes: 600_000, localMs: 400, roundTripMs: 50 },
  ];
  const rows: Row[] = [];
  let worst = 0;
  for (const outageMs of [1000, 4000, 20_000]) {
    let ofOutage = 0;
    for (const link of links) {
      for (const phaseMs of [0, 170, 330]) {
        const setting = { ...link, outageMs, everyMs: 500, phaseMs };
        const returnMs = await returnAfterOutageMs(setting);
        rows.push({ kind: "return", ...setting, returnMs });
        ofOutage = Math.max(ofOutage, returnMs);
      }
    }
    say(
      `  after an outage of ${outageMs / 1000} s requests are sent again ${ofOutage} ms later at the latest`,
    );
    worst = Math.max(worst, ofOutage);
  }
  return { rows, figures: { returnAfterOutageMs: worst } };
}

/** `--arrivals`: requests that come as they please, on the uplinks that are not held out; with `--held-out` on those that are. */
async function arrivalsOnly(
  data: string | undefined,
  seed: number,
  args: readonly string[],
  say: (line: string) => void,
): Promise<Measured> {
  const held = args.includes("--held-out");
  const found = args.includes("--generated") ? generatedTraces(seed) : decideTraces(data, seed);
  const text = optionOf(args, "only") ?? "";
  const draws = Number(optionOf(args, "draws") ?? 1);
  if (!Number.isInteger(draws) || draws < 1 || draws > 100)
    throw new Error(`--draws wants a whole number from 1 to 100, not ${optionOf(args, "draws")}`);
  const all = arrivalKinds(data, found.bursts, 1);
  const wanted = chosenOf(
    args,
    "kinds",
    all.map(({ name }) => name),
  );
  const kinds = all.filter(({ name }) => wanted?.includes(name) ?? true);
  const traces = [...found.tuned, ...found.held, ...found.extra].filter(
    ({ name }) => name.includes(text) && isHeldOut(name) === held && !name.endsWith(" x5"),
  );
  if (traces.length === 0) throw new Error("no trace is left to replay");
  const packets = traces.filter(({ origin, name }) => origin === "synthetic" || /\.(up|down)\b/.test(name));
  const logs = args.includes("--uplinks") ? [] : traces.filter((trace) => !packets.includes(trace));
  const packet = await arrivalGroup("packet", packets, kinds, draws, say);
  const log = await arrivalGroup("log", logs, kinds, draws, say);
  const back = held ? { rows: [], figures: {} } : await returns(say);
  const figures = { ...(held ? unseen(packet) : packet.figures), ...log.figures, ...back.figures };
  if (held) {
    const about = { commit: commitOf(), kinds: kinds.map(({ name }) => name), traces: traces.length, draws };
    logHeldOut(about, figures);
  }
  const rows: Row[] = [...packet.rows, ...log.rows].map((row) => ({ kind: "arrivals", ...row }));
  rows.push(...back.rows);
  return { figures, rows, notRun: found.notRun };
}

/** Figures of packet rows on held-out traces, which have aims of their own: the means over the oracle of all arrivals, and of the beat alone. */
function unseen({
  rows,
  figures,
}: {
  readonly rows: readonly ArrivalRow[];
  readonly figures: Readonly<Record<string, number>>;
}): Record<string, number> {
  const { packetAverageMeanVsOracle, packetWorstMeanVsOracle, ...harm } = figures;
  const beat = rows.filter(({ arrivals }) => arrivals === "beat");
  const { averageMeanVsOracle, worstMeanVsOracle } = meansVsOracle(beat);
  return {
    ...harm,
    unseenAverageMeanVsOracle: packetAverageMeanVsOracle ?? NaN,
    unseenWorstMeanVsOracle: packetWorstMeanVsOracle ?? NaN,
    ...(beat.length > 0
      ? {
          unseenBeatAverageMeanVsOracle: averageMeanVsOracle,
          unseenBeatWorstMeanVsOracle: worstMeanVsOracle,
        }
      : {}),
  };
}

/** `--worlds`: what the plain rows leave out, on the uplinks of packets that are not held out, each world by itself. */
async function worldsOnly(
  data: string | undefined,
  seed: number,
  args: readonly string[],
  say: (line: string) => void,
): Promise<Measured> {
  const found = args.includes("--generated") ? generatedTraces(seed) : decideTraces(data, seed);
  const text = optionOf(args, "only") ?? "";
  const traces = [...found.tuned, ...found.held].filter(
    ({ name }) => name.includes(text) && !isHeldOut(name) && !name.endsWith(" x5"),
  );
  if (traces.length === 0) throw new Error("no trace is left to replay");
  const kinds = arrivalKinds(data, found.bursts, 1).filter(({ name }) => worldKinds.has(name));
  const wanted = chosenOf(args, "world", worldNames);
  const worlds = decideWorlds(data, seed).filter(({ name }) => wanted === undefined || wanted.includes(name));
  const notRun = [...found.notRun];
  if (wanted?.includes("trips") !== false && !worlds.some(({ name }) => name === "trips"))
    notRun.push("recorded round trips: there are none in the data folder");
  const rows: Row[] = [];
  const figures: Record<string, number> = {};
  for (const world of worlds) {
    const own: ArrivalRow[] = [];
    for (const trace of traces) own.push(...(await arrivalRows(trace, kinds, 1, world)));
    say(`\n  ${world.about}:`);
    print(arrivalTable(own), say);
    for (const [name, value] of Object.entries(arrivalFigures(own, kinds)))
      if (Number.isFinite(value)) figures[`${world.name}-${name}`] = value;
    rows.push(...own.map((row) => ({ kind: "world", world: world.name, ...row })));
  }
  return { figures, rows, notRun };
}

/** Aims for what offloading may cost, whatever the arrivals. */
const harmBars = {
  worstMeanVsLocal: { atMost: 1.005 },
  worstP99VsLocal: { atMost: 1.45 },
  worstAnswerBeyondLocal: { atMost: 2 },
  worstAnswerBeyondLocalBusy: { atMost: 3 },
  secondRunRatio: { atMost: 0.2 },
  inVainRatio: { atMost: 0.12 },
} as const;

/** The same in each world. */
const worldBars = Object.fromEntries(
  worldNames.flatMap((world) => Object.entries(harmBars).map(([name, bar]) => [`${world}-${name}`, bar])),
);

export const bench: Bench = {
  name: "decide",
  about:
    "the offloader on recorded uplinks, beside other policies: link and device are FIFO, honest sensors, a request every 500 ms",
  options: [
    "--html FILE",
    "--quick",
    "--uplinks",
    "--downlinks",
    "--generated",
    "--only TEXT",
    "--arrivals",
    "--kinds NAMES",
    "--draws N",
    "--held-out",
    "--worlds",
    "--world NAMES",
  ],
  bars: {
    beatWorstMeanVsOracle: { atMost: 1.1 },
    beatAverageMeanVsOracle: { atMost: 1.04 },
    beatWorstP99VsLocal: { atMost: barOf.p99Ratio },
    beatWorstExtraLocalRatio: { atMost: barOf.extraRatio },
    beatWorstMeanVsLocal: { atMost: 1 },
    beatWorstHarmRatio: { atMost: 1.01 },
    beatWorstProbeRatio: { atMost: 0.05 },
    beatHeldWorstMeanVsOracle: { atMost: 1.1 },
    beatHeldAverageMeanVsOracle: { atMost: 1.04 },
    beatHeldWorstP99VsLocal: { atMost: barOf.p99Ratio },
    deadlineMissesAboveOracle: { atMost: 0.005 },
    deadlineMeanVsOracle: { atMost: 1.15 },
    shortDeadlineMissesAboveOracle: { atMost: 0.05 },
    ...harmBars,
    ...worldBars,
    returnAfterOutageMs: { atMost: 1000 },
    packetAverageMeanVsOracle: { atMost: 1.06 },
    packetWorstMeanVsOracle: { atMost: 1.22 },
    unseenAverageMeanVsOracle: { atMost: 1.09 },
    unseenWorstMeanVsOracle: { atMost: 1.35 },
    unseenBeatAverageMeanVsOracle: { atMost: 1.07 },
    unseenBeatWorstMeanVsOracle: { atMost: 1.25 },
    logAverageMeanVsOracle: { atMost: 1.035 },
    logWorstMeanVsOracle: { atMost: 1.15 },
    p95Coverage: { atLeast: 0.92, atMost: 0.98 },
    p50Coverage: { atLeast: 0.47, atMost: 0.53 },
    worstPinballVsSmoothed: { atMost: 1 },
    worstPinballVsShown: { atMost: 1 },
  },
  async run({ data, seed, args, say }) {
    if (args.includes("--arrivals")) return arrivalsOnly(data, seed, args, say);
    if (args.includes("--worlds")) return worldsOnly(data, seed, args, say);
    const quick = args.includes("--quick");
    const generated = args.includes("--generated");
    const found = asked(generated ? generatedTraces(seed) : decideTraces(data, seed), args);
    const { tuned, held, extra, bursts } = found;
    if (tuned.length + held.length + extra.length === 0) throw new Error("no trace is left to replay");
    const names = quick ? new Set<string>() : undefined;
    const uplinks: PolicyRow[] = [];
    const downlinks: PolicyRow[] = [];
    const kept: Row[] = [];
    for (const [group, traces] of groupsOf(found)) {
      const rows: PolicyRow[] = [];
      for (const trace of traces) {
        say(`  replaying ${trace.name} (${trace.origin}, ${Math.round(trace.lengthMs / 1000)} s)`);
        rows.push(...(await replayAll(settingsOf(trace), names)));
      }
      say(`\n  ${group}:`);
      print(scoreTable(rows), say);
      print(ownTable(rows), say);
      (traces === extra ? downlinks : uplinks).push(...rows);
      kept.push(...rows.map((row) => ({ kind: "row", group, ...row })), ...blindBounds(rows, traces, say));
    }
    const ups = [...tuned, ...held];
    if (bursts && !quick && ups.length > 0) {
      const settings = ups.flatMap((trace) => burstSettings(trace, bursts, say));
      const rows = await replayAll(settings, new Set(["smoothed rate", "hedge at 0.5"]));
      say("\n  bursty requests, scored apart:");
      print(scoreTable(rows), say);
      kept.push(...rows.map((row) => ({ kind: "row", group: "bursts", ...row })));
    }
    if (ups.length > 0) say("\n  promises:");
    const promised = ups.length > 0 ? promises(ups, 20_000, onTheBeat, link, say) : { rows: [], figures: {} };
    const late = ups.length > 0 ? await deadlines(ups) : { rows: [], figures: {} };
    kept.push(...promised.rows, ...late.rows.map((row) => ({ kind: "deadline", ...row })));
    const html = optionOf(args, "html");
    if (html)
      writeFileSync(
        html,
        await decidePage(
          uplinks,
          ups,
          `seed ${seed}; times are simulated from recorded packet opportunities`,
        ),
      );
    return {
      figures: {
        ...uplinkFigures(uplinks, found),
        ...downlinkFigures(downlinks),
        ...promised.figures,
        ...late.figures,
      },
      rows: kept,
      notRun: found.notRun,
    };
  },
};
