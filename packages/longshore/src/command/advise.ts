import { type Clock, LongshoreError } from "@longshore/core";
import { atDeadline, housekeepingCall, untilAborted } from "@longshore/core/internal";
import { planName } from "@longshore/lab";
import { systemClock } from "@longshore/nodejs";
import { compare, type Comparison, type SpentTime } from "../advise/compare.ts";
import { measuredModel } from "../advise/measured-model.ts";
import type { Score } from "../advise/replay.ts";
import { type Advice, adviceOf, adviceText, rateText } from "../advise/words.ts";
import { openEngine } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";
import { warnWhenBusy } from "../profile/busy-machine.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { type LinkOptions, linksOf } from "../options/link-options.ts";

/** Options of `longshore advise`. */
export interface AdviseOptions extends LinkOptions {
  readonly samples?: string;
  readonly serverSpeed: number;
  readonly every?: number;
  readonly deadline?: number;
  readonly seed: number;
  /** Seconds. */
  readonly within: number;
  readonly json: boolean;
}

const requests = 300;
/** Share of the time after which no further cut of the model is measured, and after which a model is given up. */
const measuringShare = 0.4;

/**
 * Says whether a model should be offloaded from a device of some speed over some uplink: measures it here, then replays
 * requests in a simulated world with the real offloader and with plans that never change. Takes about a minute, and ends when its time
 * is over: what was not measured by then is named.
 */
export async function advise(model: string, options: AdviseOptions, io: CommandIo): Promise<ExitCode> {
  const { up, down } = await linksOf(options);
  const clock = systemClock();
  const startedMs = clock.nowMs();
  const withinMs = 1000 * options.within;
  const call = housekeepingCall("advise", io.stop);
  const opened = await openModel(model);
  if (opened.model === undefined) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      "a repository was named; name one of its models: REPOSITORY/MODEL",
    );
  }
  await warnWhenBusy(io);
  const { engine, close } = openEngine({ store: opened.store });
  const name = opened.model;
  let measured;
  try {
    const untilMs = startedMs + measuringShare * withinMs;
    const measuring = measuredModel(
      { engine, clock, model: name, samples: options.samples, untilMs, io },
      call,
    );
    measured = await inTime(measuring, clock, withinMs - (clock.nowMs() - startedMs), () =>
      tooSlow(name, options),
    );
  } finally {
    // A run of a runtime cannot be stopped, and the command need not wait for it.
    if (measured) await close();
    else void close();
  }
  io.note(
    `replaying ${requests} requests: device at ${options.deviceSpeed} x this machine, server at ${options.serverSpeed} x, uplink ${up.name}, round trip ${options.roundTrip} ms`,
  );
  const found = await compare(
    measured.simulated,
    { ...options, roundTripMs: options.roundTrip, up, down },
    {
      model: opened.model,
      inputs: measured.inputs,
      requests,
      everyMs: options.every,
      deadlineMs: options.deadline,
    },
    (text) => io.progress(text),
    // Replays get the time that is left, and a quarter of the whole in any case.
    timeOf(clock, Math.max(withinMs / 4, withinMs - (clock.nowMs() - startedMs))),
  );
  const cuts = measured.leftOut > 0 ? [`${measured.leftOut} cuts of the model`] : [];
  const comparison = { ...found, leftOut: [...cuts, ...found.leftOut] };
  const advice = adviceOf(comparison);
  if (options.json) io.out(JSON.stringify(asJson(model, comparison, advice)));
  else io.out(adviceText(comparison, advice));
  return 0;
}

/** The share of a time from now that is over. */
function timeOf(clock: Clock, ms: number): SpentTime {
  const fromMs = clock.nowMs();
  return () => (clock.nowMs() - fromMs) / ms;
}

function tooSlow(model: string, { within }: AdviseOptions): LongshoreError {
  const why = `measuring ${model} took longer than ${within} s: give more (--within), or measure it once with 'longshore profile --write'`;
  return new LongshoreError("deadline-exceeded", "execute", why);
}

/** The result of `work`, unless the time ends first. */
async function inTime<T>(work: Promise<T>, clock: Clock, ms: number, late: () => LongshoreError): Promise<T> {
  const end = new AbortController();
  using _late = atDeadline(clock, clock.nowMs() + ms, () => end.abort(late()));
  return await untilAborted(work, end.signal, "execute");
}

function scoreJson(score: Score): Record<string, unknown> {
  const { plans, ...figures } = score;
  return { ...figures, plans: plans.map(({ plan, ratio }) => ({ plan: planName(plan), ratio })) };
}

function asJson(model: string, comparison: Comparison, advice: Advice): Record<string, unknown> {
  const { below, above } = comparison.breakEven;
  return {
    model,
    ...advice,
    variant: comparison.variant,
    inputBytes: comparison.inputBytes,
    notMeasured: comparison.leftOut,
    breakEvenBitsPerSecond: { below, above: Number.isFinite(above) ? above : null },
    ways: comparison.ways.map(({ name, candidate, score, saved }) => ({
      way: name,
      plan: candidate ? planName(candidate.plan) : null,
      saved,
      ...scoreJson(score),
    })),
    rates: comparison.rates.map(({ bitsPerSecond, awayRatio, score, deviceMs, best, bestMs }) => ({
      bitsPerSecond,
      deviceMs,
      bestPlan: best ? planName(best.plan) : null,
      bestMs: Number.isFinite(bestMs) ? bestMs : null,
      rate: rateText(bitsPerSecond),
      awayRatio,
      ...scoreJson(score),
    })),
  };
}
