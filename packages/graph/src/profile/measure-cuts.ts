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
import { codeCrossing, type CodedCrossing, meanCoding, rawCrossing } from "./code-crossing.ts";
import type { ProfiledVariant, ProfileTarget } from "./target.ts";

/** How measurements are taken. */
export interface Measuring {
  readonly target: ProfileTarget;
  readonly profiled: ProfiledVariant;
  readonly samples: readonly Tensors[];
  readonly codecs: readonly Codec[];
  readonly rounds: number;
  readonly clock: Clock;
  readonly agreement: Agreement;
}

/** Cuts measured together: few enough that their sessions are loaded at once. */
const groupSize = 6;

/**
 * Measures cuts as they will really run: head and tail as segments of their own, in `rounds` interleaved rounds (forwards,
 * then backwards), after one round that loads and warms and is not counted. Then each coding of the crossing once per
 * sample, with the agreement of what the tail makes of it.
 */
export async function measureCuts(
  measuring: Measuring,
  chosen: readonly ChosenCut[],
  progress: (done: number) => void,
  call: Call,
): Promise<readonly CutProfile[]> {
  const expected: Tensors[] = [];
  for (const sample of measuring.samples)
    expected.push((await run(measuring, startCut, endCut, sample, call)).outputs);
  const profiles: CutProfile[] = [];
  for (let from = 0; from < chosen.length; from += groupSize) {
    const group = chosen.slice(from, from + groupSize);
    const times = await measureGroup(measuring, group, call);
    for (const one of group) {
      const codings = await measureCodings(measuring, one, expected, call);
      const { headMs, tailMs } = times.get(one.cut.id) ?? { headMs: [0], tailMs: [0] };
      profiles.push({
        cut: one.cut,
        headMs: quantiles(headMs),
        tailMs: quantiles(tailMs),
        headMemoryBytes: Math.round(one.headMemoryBytes),
        codings,
      });
      progress(profiles.length);
    }
  }
  return profiles;
}

function quantiles(samples: readonly number[]): readonly number[] {
  return [...estimateOf(samples, { observedAtMs: 0, origin: "measured" }).values];
}

interface Times {
  readonly headMs: number[];
  readonly tailMs: number[];
}

async function measureGroup(
  measuring: Measuring,
  group: readonly ChosenCut[],
  call: Call,
): Promise<ReadonlyMap<string, Times>> {
  const times = new Map<string, Times>(group.map(({ cut }) => [cut.id, { headMs: [], tailMs: [] }]));
  for (let round = 0; round <= measuring.rounds; round++) {
    const order = round % 2 === 0 ? group : group.toReversed();
    for (const { cut } of order) {
      for (const sample of measuring.samples) {
        const head = await run(measuring, startCut, cut.id, sample, call);
        const tail = await run(measuring, cut.id, endCut, head.outputs, call);
        if (round === 0) continue;
        times.get(cut.id)?.headMs.push(head.tookMs);
        times.get(cut.id)?.tailMs.push(tail.tookMs);
      }
    }
  }
  return times;
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

async function measureCodings(
  measuring: Measuring,
  { cut }: ChosenCut,
  expected: readonly Tensors[],
  call: Call,
): Promise<readonly CodingProfile[]> {
  const crossings: Tensors[] = [];
  for (const sample of measuring.samples) {
    crossings.push((await run(measuring, startCut, cut.id, sample, call)).outputs);
  }
  const raw = crossings.map(rawCrossing);
  const codings = [
    meanCoding(
      raw,
      raw.map(() => 1),
    ),
  ];
  for (const codec of measuring.codecs) {
    const coded: CodedCrossing[] = [];
    const agreements: number[] = [];
    for (const [index, crossing] of crossings.entries()) {
      const one = await codeCrossing(crossing, codec, 3, measuring.clock, call);
      if (!one) continue;
      coded.push(one);
      agreements.push(await agreementAfter(measuring, cut.id, one, expected[index] ?? new Map(), call));
    }
    // A coding that helps only some inputs is no coding of the bucket.
    if (coded.length === crossings.length) codings.push(meanCoding(coded, agreements));
  }
  return codings;
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
