import { LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { planName } from "@longshore/lab";
import { systemClock } from "@longshore/nodejs";
import { compare, type Comparison } from "../advise/compare.ts";
import { measuredModel } from "../advise/measured-model.ts";
import type { Score } from "../advise/replay.ts";
import { type Advice, adviceOf, adviceText, rateText } from "../advise/words.ts";
import { openEngine } from "../compose/open-engine.ts";
import { openModel } from "../compose/open-model.ts";
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
  readonly json: boolean;
}

const requests = 300;

/**
 * Says whether a model should be offloaded from a device of some speed over some uplink: measures it here, then replays
 * requests in a simulated world with the real offloader and with plans that never change. Takes about a minute.
 */
export async function advise(model: string, options: AdviseOptions, io: CommandIo): Promise<ExitCode> {
  const { up, down } = await linksOf(options);
  const call = housekeepingCall("advise", io.stop);
  const clock = systemClock();
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
  let measured;
  try {
    measured = await measuredModel(
      { engine, clock, model: opened.model, samples: options.samples, io },
      call,
    );
  } finally {
    await close();
  }
  io.note(
    `replaying ${requests} requests: device at ${options.deviceSpeed} x this machine, server at ${options.serverSpeed} x, uplink ${up.name}, round trip ${options.roundTrip} ms`,
  );
  const comparison = await compare(
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
  );
  const advice = adviceOf(comparison);
  if (options.json) io.out(JSON.stringify(asJson(model, comparison, advice)));
  else io.out(adviceText(comparison, advice));
  return 0;
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
