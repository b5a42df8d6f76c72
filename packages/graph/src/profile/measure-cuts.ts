import {
  type Call,
  type Clock,
  type Codec,
  type CodingProfile,
  type CutProfile,
  endCut,
  estimateOf,
  startCut,
  type Tensors,
} from "@longshore/core";
import type { Agreement } from "./agreement.ts";
import type { ChosenCut } from "./choose-cuts.ts";
import { codeCrossing, type CodedCrossing, meanOrZero, meanCoding, rawCrossing } from "./code-crossing.ts";
import { type QualityLadder, searchQuality } from "./quality.ts";
import { sideRanges } from "./side-ranges.ts";
import type { ProfiledVariant, ProfileTarget } from "./target.ts";

/** How measurements are taken. */
export interface Measuring {
  readonly target: ProfileTarget;
  readonly profiled: ProfiledVariant;
  readonly samples: readonly Tensors[];
  readonly codecs: readonly Codec[];
  /** Codecs of pictures, of whose qualities one is searched for each of `agreements`. */
  readonly ladders: readonly QualityLadder[];
  readonly agreements: readonly number[];
  /** Counted runs of each sample on each side of a cut; undefined: as many as a slow model bears. */
  readonly rounds: number | undefined;
  readonly clock: Clock;
  /** No further cut is measured after this moment; the whole is, in any case. */
  readonly untilMs: number;
  readonly agreement: Agreement;
}

/** The measurements, from this many runs of each segment. */
export interface MeasuredCuts {
  readonly cuts: readonly CutProfile[];
  readonly runs: number;
}

/** Cuts measured together: few enough that their sessions are loaded at once. */
const groupSize = 6;
/** Time for the counted runs of one cut, where the caller gives no number: a slow model has many cuts. */
const worthMs = 2000;
/** The most rounds in that time. */
const mostRounds = 5;
/** Fewer runs than this tell nothing of the spread. */
const leastRuns = 5;

/** How many rounds over how many samples are worth their time. Agreement is measured over all samples in any case. */
export function worthRuns(
  wholeMs: number,
  samples: number,
): { readonly rounds: number; readonly samples: number } {
  const worth = Math.round(worthMs / Math.max(1e-3, wholeMs));
  if (worth < samples) {
    const timed = Math.min(samples, Math.max(leastRuns, worth));
    return { rounds: Math.ceil(leastRuns / timed), samples: timed };
  }
  const least = Math.ceil(leastRuns / samples);
  return { rounds: Math.max(least, Math.min(mostRounds, Math.round(worth / samples))), samples };
}

/**
 * Measures cuts as they will really run: head and tail as segments of their own, in `rounds` interleaved rounds (forwards,
 * then backwards), after one run that loads and warms and is not counted. Then each coding of the crossing once per
 * sample, with the agreement of what the tail makes of it.
 *
 * A machine that gets busier between two groups would make cuts of the later one look bad. So the whole runs along in
 * every round, and each group is scaled by what the whole took in it; `start` and `end` share the whole's times, because
 * they are the same run.
 */
export async function measureCuts(
  measuring: Measuring,
  chosen: readonly ChosenCut[],
  progress: (done: number) => void,
  call: Call,
): Promise<MeasuredCuts> {
  const { samples } = measuring;
  const expected: Tensors[] = [];
  const firstMs: number[] = [];
  for (const sample of samples) {
    const whole = await run(measuring, startCut, endCut, sample, call);
    expected.push(whole.outputs);
    firstMs.push(whole.tookMs);
  }
  // The very first run loaded the model.
  const usual = median(firstMs.slice(samples.length > 1 ? 1 : 0));
  const runs =
    measuring.rounds === undefined
      ? worthRuns(usual, samples.length)
      : { rounds: measuring.rounds, samples: samples.length };
  const profiles: (Omit<CutProfile, "headMs" | "tailMs"> & { readonly group: Group })[] = [];
  const groups: Group[] = [];
  const isOver = (): boolean => measuring.clock.nowMs() >= measuring.untilMs;
  for (const cuts of groupsOf(chosen, measuring.untilMs < Infinity)) {
    if (groups.length > 0 && isOver()) break;
    const group = await measureGroup(measuring, cuts, runs, call);
    groups.push(group);
    for (const { cut, headMemoryBytes } of cuts) {
      if (groups.length > 1 && isOver()) break;
      const crossings = await crossingsAt(measuring, cut, call);
      const codings = await measureCodings(measuring, cut, crossings, expected, call);
      const sides = cut.id === startCut || cut.id === endCut ? undefined : sideRanges(crossings);
      profiles.push({
        cut,
        headMemoryBytes: Math.round(headMemoryBytes),
        ...(sides ? { sides } : {}),
        codings,
        group,
      });
      progress(profiles.length);
    }
  }
  const order = new Map(chosen.map(({ cut }, at) => [cut.id, at]));
  profiles.sort((a, b) => (order.get(a.cut.id) ?? 0) - (order.get(b.cut.id) ?? 0));
  const wholeMs = groups.flatMap((group) => group.wholeMs);
  const usualMs = median(wholeMs);
  const scaledCuts = profiles.map(({ cut, headMemoryBytes, sides, codings, group }) => {
    const times = group.times.get(cut.id);
    const ratio =
      (usualMs > 0 ? usualMs / Math.max(1e-6, median(group.wholeMs)) : 1) *
      (times ? roundedUp(times, group.wholeMs) : 1);
    const scaled = (values: readonly number[] = []): readonly number[] =>
      quantiles(values.length > 0 ? values.map((value) => value * ratio) : [0]);
    return {
      cut,
      headMs: cut.id === endCut ? quantiles(wholeMs) : scaled(times?.headMs),
      tailMs: cut.id === startCut ? quantiles(wholeMs) : scaled(times?.tailMs),
      headMemoryBytes,
      ...(sides ? { sides } : {}),
      codings,
    };
  });
  return { cuts: scaledCuts, runs: runs.rounds * runs.samples };
}

/** The cuts that are measured together; where time is short, the whole comes first. */
function groupsOf(chosen: readonly ChosenCut[], wholeFirst: boolean): readonly (readonly ChosenCut[])[] {
  const isWhole = ({ cut: { id } }: ChosenCut): boolean => id === startCut || id === endCut;
  const rest = wholeFirst ? chosen.filter((one) => !isWhole(one)) : chosen;
  const groups = wholeFirst ? [chosen.filter(isWhole)] : [];
  for (let from = 0; from < rest.length; from += groupSize) groups.push(rest.slice(from, from + groupSize));
  return groups;
}

function quantiles(samples: readonly number[]): readonly number[] {
  return [...estimateOf(samples, { observedAtMs: 0, origin: "measured" }).values];
}

/**
 * The factor for the times of both parts. Their sum is not below the time of the whole, whose work they do: a smaller sum is
 * random, and a cut before the last and smallest step would look like a gain.
 */
function roundedUp({ headMs, tailMs }: Times, wholeMs: readonly number[]): number {
  const parts = meanOrZero(headMs) + meanOrZero(tailMs);
  return parts > 0 ? Math.max(1, meanOrZero(wholeMs) / parts) : 1;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

interface Times {
  readonly headMs: number[];
  readonly tailMs: number[];
}

/** Times of some cuts, and of the whole in the same rounds. */
interface Group {
  readonly times: ReadonlyMap<string, Times>;
  readonly wholeMs: readonly number[];
}

async function measureGroup(
  measuring: Measuring,
  group: readonly ChosenCut[],
  runs: { readonly rounds: number; readonly samples: number },
  call: Call,
): Promise<Group> {
  const times = new Map<string, Times>(group.map(({ cut }) => [cut.id, { headMs: [], tailMs: [] }]));
  const wholeMs: number[] = [];
  for (let round = 0; round <= runs.rounds; round++) {
    const order = round % 2 === 0 ? group : group.toReversed();
    const samples = measuring.samples.slice(0, round === 0 ? 1 : runs.samples);
    for (const sample of samples) {
      const whole = await run(measuring, startCut, endCut, sample, call);
      if (round > 0) wholeMs.push(whole.tookMs);
    }
    for (const { cut } of order) {
      // Both ends are the whole, which ran already.
      if (cut.id === startCut || cut.id === endCut) continue;
      for (const sample of samples) {
        const head = await run(measuring, startCut, cut.id, sample, call);
        const tail = await run(measuring, cut.id, endCut, head.outputs, call);
        if (round === 0) continue;
        times.get(cut.id)?.headMs.push(head.tookMs);
        times.get(cut.id)?.tailMs.push(tail.tookMs);
      }
    }
  }
  return { times, wholeMs };
}

/** Runs a segment; between a cut and itself nothing runs and nothing takes time. */
async function run(
  { target, profiled, clock }: Measuring,
  from: string,
  to: string,
  inputs: Tensors,
  call: Call,
): Promise<{ readonly outputs: Tensors; readonly tookMs: number }> {
  if (from === to) return { outputs: inputs, tookMs: 0 };
  const began = clock.nowMs();
  const { outputs } = await target.infer({ segment: { ...profiled, from, to }, inputs, codecs: {} }, call);
  return { outputs, tookMs: clock.nowMs() - began };
}

/** The crossing for each sample. */
async function crossingsAt(
  measuring: Measuring,
  { id }: ChosenCut["cut"],
  call: Call,
): Promise<readonly Tensors[]> {
  const crossings: Tensors[] = [];
  for (const sample of measuring.samples) {
    crossings.push((await run(measuring, startCut, id, sample, call)).outputs);
  }
  return crossings;
}

async function measureCodings(
  measuring: Measuring,
  cut: ChosenCut["cut"],
  crossings: readonly Tensors[],
  expected: readonly Tensors[],
  call: Call,
): Promise<readonly CodingProfile[]> {
  const raw = crossings.map(rawCrossing);
  const codings = [
    meanCoding(
      raw,
      raw.map(() => 1),
    ),
  ];
  for (const coded of await smallestFirst(measuring, crossings, call)) {
    const agreements: number[] = [];
    for (const [index, one] of coded.entries())
      agreements.push(await agreementAfter(measuring, cut.id, one, expected[index] ?? new Map(), call));
    codings.push(meanCoding(coded, agreements));
    // Larger ones have nothing to offer then, and each takes a run of the tail for every sample.
    if (agreements.every((one) => one === 1)) break;
  }
  for (const ladder of measuring.ladders) {
    codings.push(...(await searchedCodings(measuring, cut, ladder, crossings, expected, call)));
  }
  return codings;
}

/**
 * For each agreement that a request may demand, the coarsest quality that keeps it on these samples, with the result of its
 * coding.
 */
async function searchedCodings(
  measuring: Measuring,
  cut: ChosenCut["cut"],
  { codecs }: QualityLadder,
  crossings: readonly Tensors[],
  expected: readonly Tensors[],
  call: Call,
): Promise<readonly CodingProfile[]> {
  const [first] = codecs;
  if (
    !first ||
    !crossings.every((crossing) => [...crossing.values()].some(({ spec }) => first.accepts(spec)))
  ) {
    return [];
  }
  const tried = new Map<
    string,
    { readonly coded: CodedCrossing | undefined; readonly agreementRatio: number }
  >();
  const tryAt = async (quality: number, sample: number) => {
    const key = `${quality} ${sample}`;
    const before = tried.get(key);
    if (before) return before;
    const [codec, crossing] = [codecs[quality], crossings[sample]];
    const coded = codec && crossing && (await codeCrossing(crossing, codec, 2, measuring.clock, call));
    // A coding that saves nothing is not worth its time.
    const agreementRatio = coded
      ? await agreementAfter(measuring, cut.id, coded, expected[sample] ?? new Map(), call)
      : 0;
    const one = { coded, agreementRatio };
    tried.set(key, one);
    return one;
  };
  const agreementAt = async (quality: number, sample: number): Promise<number> =>
    (await tryAt(quality, sample)).agreementRatio;
  const found = new Map<number, number>();
  for (const wanted of measuring.agreements) {
    const samples = crossings.length;
    const one = await searchQuality({ qualities: codecs.length, wanted, samples, agreementAt });
    if (one) found.set(one.quality, one.agreementRatio);
  }
  const codings: CodingProfile[] = [];
  for (const [quality, agreementRatio] of found) {
    const all: CodedCrossing[] = [];
    for (const sample of crossings.keys()) {
      const { coded } = await tryAt(quality, sample);
      if (coded) all.push(coded);
    }
    codings.push({ ...meanCoding(all, []), agreementRatio });
  }
  return codings;
}

/** The result of each codec for the crossings, if it helps all of them: a coding for some inputs is no coding of the bucket. */
async function smallestFirst(
  { codecs, clock }: Measuring,
  crossings: readonly Tensors[],
  call: Call,
): Promise<readonly (readonly CodedCrossing[])[]> {
  const all: (readonly CodedCrossing[])[] = [];
  for (const codec of codecs) {
    const coded: CodedCrossing[] = [];
    for (const crossing of crossings) {
      const one = await codeCrossing(crossing, codec, 3, clock, call);
      if (one) coded.push(one);
    }
    if (coded.length === crossings.length) all.push(coded);
  }
  const bytes = (coded: readonly CodedCrossing[]): number => coded.reduce((sum, one) => sum + one.bytes, 0);
  return all.sort((a, b) => bytes(a) - bytes(b));
}

async function agreementAfter(
  measuring: Measuring,
  from: string,
  coded: CodedCrossing,
  expected: Tensors,
  call: Call,
): Promise<number> {
  if (coded.lossless) return 1;
  const { outputs } = await run(measuring, from, endCut, coded.arrived, call);
  return measuring.agreement(outputs, expected);
}
