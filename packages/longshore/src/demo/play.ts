import {
  float32Tensor,
  type Limits,
  LongshoreError,
  numericTensor,
  type Result,
  type Tensor,
} from "@longshore/core";
import type { SampleFile, SamplesPackage } from "../engine/samples.ts";
import { isSpeech, judgeAnswer } from "./answers.ts";
import type { Happening, Scene } from "./scenes.ts";
import { wayOf } from "./way.ts";
import type { EndpointChoice, World } from "./world.ts";

/** The outcome of one request. */
export interface Row {
  readonly index: number;
  readonly input: string;
  /** Where it ran, in words; empty when it failed. */
  readonly where: string;
  readonly because: string;
  readonly happened: string;
  readonly predictedMs: number;
  readonly tookMs: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly millijoules: number;
  readonly energyLabel: "measured" | "estimated";
  readonly answer: string;
  readonly rightRatio: number;
  /** Reason of the error; undefined for an answer. */
  readonly failed?: string;
  /** Why there is no answer, in words. */
  readonly failure?: string;
}

/** An input that is ready to be sent. */
export interface Ready {
  readonly sample: SampleFile;
  readonly inputs: Readonly<Record<string, Tensor>>;
}

/** How a run is played. */
export interface PlayOptions {
  readonly scene: Scene;
  readonly choice: EndpointChoice;
  readonly world: World;
  readonly inputs: readonly Ready[];
  readonly samples: SamplesPackage;
  readonly requests: number;
  /** The world has been played in before. */
  readonly acquainted?: boolean;
  readonly stop: AbortSignal;
  readonly progress: (words: string) => void;
}

/** A single server that does not answer in this time has failed: there is no other one. A device always answers. */
const fixedDeadlineMs = 6_000;
/** After so long a request is surely on its way, and its answer not yet back. */
const onItsWayMs = 40;
/** A frame of the voice detector: 512 samples at 16 kHz. */
const frameMs = 32;
/** Frames of another sequence, unrecorded, with which a scene begins. */
const metFrames = 12;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

/** Plays one run of a scene: one unrecorded request so that everything is known and loaded, then the recorded ones. */
export async function play(options: PlayOptions): Promise<readonly Row[]> {
  const { scene, choice, world, stop } = options;
  const limits: Limits = {
    ...scene.limits,
    signal: stop,
    ...(choice === "any" || choice === "device" ? {} : { deadlineMs: fixedDeadlineMs }),
  };
  if (world.endpoints.length === 0) {
    return [
      failedRow(0, "", "", 0, new LongshoreError("no-endpoint", "plan", "this scene has no such endpoint")),
    ];
  }
  if (scene.sequence) return playSequence(options, limits);
  await happen(options, -1, false);
  const first = options.inputs[0];
  if (!first) throw new LongshoreError("invalid-input", "decode", `scene ${scene.name} has no input`);
  if (options.acquainted !== true) await meet(options, first, limits);
  const rows: Row[] = [];
  for (let index = 0; index < options.requests && !stop.aborted; index++) {
    options.progress(
      `${scene.name}: ${choice === "any" ? "request" : `always-${choice}`} ${index + 1} of ${options.requests}`,
    );
    const row = await playOne(options, index, limits);
    rows.push(row);
    // A fixed endpoint that failed once has lost: the rest would only take time.
    if (row.failed !== undefined && choice !== "any") break;
  }
  if (stop.aborted) throw new LongshoreError("cancelled", "execute", "the demonstration was stopped");
  return rows;
}

/**
 * Lets the offloader get every endpoint's offers and run once, unrecorded, so that a scene begins with endpoints that know each
 * other. A device alone has no other to meet.
 */
async function meet(
  { scene, choice, world, stop }: PlayOptions,
  ready: Ready,
  limits: Limits,
): Promise<void> {
  const { offloader, endpoints } = world;
  if (endpoints.length === 1 && endpoints[0] === "device") return;
  try {
    await offloader.explain(scene.model, ready.inputs, limits);
    await offloader.refresh();
    // An endpoint alone has been greeted, and there is nothing to choose.
    if (choice === "any") await offloader.infer(scene.model, ready.inputs, limits);
  } catch (error) {
    // An endpoint that cannot be reached shows in the requests that are recorded.
    if (stop.aborted || !LongshoreError.is(error)) throw error;
  }
}

async function playOne(options: PlayOptions, index: number, limits: Limits): Promise<Row> {
  const { scene, world, inputs, samples } = options;
  const ready = inputs[index % inputs.length];
  if (!ready) throw new LongshoreError("invalid-input", "decode", `scene ${scene.name} has no input`);
  const before = await happen(options, index, false);
  const startedMs = performance.now();
  const pending = world.offloader.infer(scene.model, ready.inputs, limits);
  // Awaited below; the handler only keeps an early failure from being called unhandled.
  pending.catch(() => undefined);
  const meanwhile = await happen(options, index, true);
  const happened = [...before, ...meanwhile].join("; ");
  try {
    const result = await pending;
    const verdict = judgeAnswer(scene.model, result.outputs, ready.sample, samples);
    return answeredRow(index, ready.sample.file, happened, result, verdict.words, verdict.rightRatio);
  } catch (error) {
    return failedRow(index, ready.sample.file, happened, performance.now() - startedMs, error);
  }
}

/** Lets happen what is due. */
async function happen(options: PlayOptions, index: number, during: boolean): Promise<readonly string[]> {
  const due = (options.scene.happenings ?? []).filter((one) => one.at === index && one.during === during);
  if (due.length > 0 && during) await pause(onItsWayMs);
  for (const { what } of due) await options.world.apply(what);
  return due.map(({ words }: Happening) => words).filter((words) => words !== "");
}

function answeredRow(
  index: number,
  input: string,
  happened: string,
  result: Result,
  answer: string,
  rightRatio: number,
): Row {
  return {
    index,
    input,
    where: wayOf(result),
    because: result.because,
    happened,
    predictedMs: result.predictedMs,
    tookMs: result.tookMs,
    sentBytes: result.sentBytes,
    receivedBytes: result.receivedBytes,
    millijoules: result.energy.millijoules,
    energyLabel: result.energy.label,
    answer,
    rightRatio,
  };
}

function failedRow(index: number, input: string, happened: string, tookMs: number, error: unknown): Row {
  const known = LongshoreError.from(error, "execute", "a request of the demonstration");
  return {
    index,
    input,
    where: "",
    because: "",
    happened,
    predictedMs: NaN,
    tookMs,
    sentBytes: 0,
    receivedBytes: 0,
    millijoules: NaN,
    energyLabel: "estimated",
    answer: "none",
    rightRatio: 0,
    failed: known.reason,
    failure: known.message,
  };
}

/** Frames of 512 samples at 16 kHz, each led by the 64 before it, as the voice detector takes them. */
export function voiceFrames(sound: Float32Array): readonly Readonly<Record<string, Tensor>>[] {
  return Array.from({ length: Math.floor(sound.length / 512) }, (_, frame) => {
    const samples = new Float32Array(576);
    const begin = frame * 512 - 64;
    samples.set(sound.subarray(Math.max(begin, 0), begin + 576), Math.max(-begin, 0));
    return {
      input: float32Tensor("input", [1, 576], samples),
      sr: numericTensor("sr", "INT64", [], BigInt64Array.of(16_000n)),
    };
  });
}

/** One row for each stretch of frames that ran in one endpoint. */
async function playSequence(options: PlayOptions, limits: Limits): Promise<readonly Row[]> {
  const { scene, world, inputs, stop, progress } = options;
  const ready = inputs[0];
  const sound = ready?.inputs["sound"];
  if (!ready || !sound)
    throw new LongshoreError("invalid-input", "decode", `scene ${scene.name} has no sound`);
  const frames = voiceFrames(
    new Float32Array(sound.bytes.buffer, sound.bytes.byteOffset, sound.bytes.byteLength / 4),
  );
  {
    await using warmUp = world.offloader.sequence(scene.model, limits);
    for (const frame of frames.slice(0, metFrames)) await warmUp.next(frame).catch(() => undefined);
  }
  const beganMs = performance.now();
  await using sequence = world.offloader.sequence(scene.model, limits);
  const rows: Row[] = [];
  let speech = 0;
  let failure: Row | undefined;
  for (const [at, frame] of frames.entries()) {
    if (stop.aborted) throw new LongshoreError("cancelled", "execute", "the demonstration was stopped");
    // Speech comes in real time.
    await pause(beganMs + at * frameMs - performance.now());
    const happened = (await happen(options, at, false)).join("; ");
    const startedMs = performance.now();
    try {
      const result = await sequence.next(frame, { signal: stop });
      if (isSpeech(result.outputs)) speech++;
      const row = answeredRow(at, `frames ${at}-${at}`, happened, result, "", 1);
      const last = rows.at(-1);
      if (last && last.where === row.where && happened === "") rows[rows.length - 1] = joined(last, row);
      else rows.push(row);
    } catch (error) {
      failure = failedRow(at, `frame ${at}`, happened, performance.now() - startedMs, error);
      break;
    }
    if (at % 20 === 0) progress(`${scene.name}: frame ${at + 1} of ${frames.length}`);
  }
  if (failure) return [...rows, failure];
  const wanted = ready.sample.truth.speechFrames ?? 0;
  return rows.map((row) => ({
    ...row,
    answer: `${speech} of ${frames.length} frames speech in all`,
    rightRatio: speech === wanted ? 1 : 0,
  }));
}

/** Two stretches as one: times are means, bytes and energy are sums. */
function joined(before: Row, next: Row): Row {
  const count = next.index - before.index;
  const mean = (a: number, b: number): number => (a * count + b) / (count + 1);
  return {
    ...before,
    input: `frames ${before.index}-${next.index}`,
    predictedMs: mean(before.predictedMs, next.predictedMs),
    tookMs: mean(before.tookMs, next.tookMs),
    sentBytes: before.sentBytes + next.sentBytes,
    receivedBytes: before.receivedBytes + next.receivedBytes,
    millijoules: before.millijoules + next.millijoules,
  };
}
