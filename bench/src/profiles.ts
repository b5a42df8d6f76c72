/** `bench profiles`: how soon a device that never ran a model knows its times from a profile of another, and notices a change. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { Inputs, Offloader, Result } from "@longshore/core";
import { openOffloader } from "longshore";
import { type Bench, type BenchContext, chosenOf, type Measured, median, type Row } from "./harness.ts";
import { measurePublished } from "./measure-samples.ts";
import { slowdownFigures, slowdownRows } from "./slowdown-rows.ts";

/** Runs of the new model after which a prediction is to be near. */
const coldRuns = 5;
/** More of its runs, beside which those of an endpoint that knows the model go on telling what is true. */
const laterRuns = 5;
/** Runs that tell what is true beside each of them. */
const besides = 2;
/** What an endpoint has run before: others' runs to know its speed, own ones to know a model. */
const knownRuns = 16;
const rounds = 3;
/** So many runs go by before the processor gets busy, while it is, and after. */
const steadyRuns = 24;
const busyRuns = 20;
const truthRuns = 10;
/** A prediction this near to what runs take has noticed. */
const nearRatio = 0.2;

/** A busy processor: a process for each core that never rests. */
function hogs(): { stop(): Promise<void> } {
  const processes = Array.from({ length: availableParallelism() }, () =>
    spawn(process.execPath, ["--eval", "for (;;) Math.random();"], { stdio: "ignore" }),
  );
  return {
    async stop() {
      const ended = processes.map((one) => once(one, "exit"));
      for (const one of processes) one.kill("SIGKILL");
      await Promise.all(ended);
    },
  };
}

/** Milliseconds that the run itself took: what the profile speaks of. */
function runMs({ accounts }: Result): number {
  return accounts.reduce(
    (total, one) =>
      total +
      one.stages.reduce(
        (sum, { stage, tookMs }) => sum + (stage === "run" || stage === "transform" ? tookMs : 0),
        0,
      ),
    0,
  );
}

interface Seen {
  readonly predictedMs: number;
  readonly tookMs: number;
}

interface Subject {
  readonly model: string;
  readonly inputs: Inputs;
}

async function runs(
  offloader: Offloader,
  { model, inputs }: Subject,
  count: number,
): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  for (let run = 0; run < count; run++) {
    const result = await offloader.infer(model, inputs, { zones: ["device"] });
    seen.push({ predictedMs: result.predictedMs, tookMs: runMs(result) });
  }
  return seen;
}

const tookMs = (seen: readonly Seen[]): number => median(seen.map((one) => one.tookMs));

/** Runs until the prediction is near what the last runs took, and stays so for two more. */
function noticed(seen: readonly Seen[]): number {
  const truth = tookMs(seen.slice(-truthRuns));
  const near = seen.map(({ predictedMs }) => Math.abs(predictedMs / truth - 1) <= nearRatio);
  const at = near.findIndex((one, index) => one && (near[index + 1] ?? true) && (near[index + 2] ?? true));
  return at < 0 ? seen.length : at;
}

function openDevice(repository: string): Promise<Offloader> {
  return openOffloader({
    repository,
    runtime: "wasm",
    defaults: { dataClass: "public", minAgreementRatio: 0 },
  });
}

/**
 * A device that ran other models, and then a new one: in turns with one that knows the model for long, so that both meet
 * the same moods of the machine. How far two halves of what the latter says are apart is the least error to be had.
 */
async function cold(
  repository: string,
  knows: Offloader,
  subject: Subject,
  others: readonly Subject[],
): Promise<Row> {
  const device = await openDevice(repository);
  try {
    for (const other of others) await runs(device, other, knownRuns);
    const seen: Seen[] = [];
    const truth: Seen[] = [];
    for (let run = 0; run < coldRuns + laterRuns; run++) {
      seen.push(...(await runs(device, subject, 1)));
      truth.push(...(await runs(knows, subject, besides)));
    }
    const truthMs = tookMs(truth);
    const off = (at: number): number => Math.abs((seen[at]?.predictedMs ?? NaN) / truthMs - 1);
    const half = (odd: number): number => tookMs(truth.filter((_, index) => index % 2 === odd));
    return {
      part: "cold",
      model: subject.model,
      truthMs,
      startMs: seen[0]?.predictedMs ?? NaN,
      startError: off(0),
      firstMs: seen[0]?.tookMs ?? NaN,
      coldError: off(coldRuns),
      noise: Math.abs(half(0) / half(1) - 1),
    };
  } finally {
    await device.close();
  }
}

/** A device that has been on for a while, whose processor gets busy and rests again. */
async function drift(device: Offloader, subject: Subject): Promise<Row> {
  const steady = await runs(device, subject, steadyRuns);
  const busy = hogs();
  const slowed = await runs(device, subject, busyRuns);
  await busy.stop();
  const rested = await runs(device, subject, busyRuns);
  return {
    part: "drift",
    model: subject.model,
    slowedRatio: tookMs(slowed.slice(-truthRuns)) / tookMs(steady.slice(-truthRuns)),
    driftRuns: noticed(slowed),
    recoveryRuns: noticed(rested),
  };
}

const percent = (ratio: unknown): string => `${(100 * Number(ratio)).toFixed(1)} %`;

async function measure(
  repository: string,
  subject: Subject,
  others: readonly Subject[],
  { say }: BenchContext,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const knows = await openDevice(repository);
  try {
    await runs(knows, subject, knownRuns);
    for (let round = 0; round < rounds; round++) {
      const one = await cold(repository, knows, subject, others);
      const other = await drift(knows, subject);
      rows.push(one, other);
      say(
        `  ${subject.model.padEnd(12)} runs take ${Number(one["truthMs"]).toFixed(1)} ms (halves ${percent(one["noise"])} apart), expected at first ${Number(one["startMs"]).toFixed(1)} (off by ${percent(one["startError"])}), ` +
          `after ${coldRuns} runs off by ${percent(one["coldError"])}; with a busy processor ${Number(other["slowedRatio"]).toFixed(2)} times as long, known after ${String(other["driftRuns"])} runs, and after ${String(other["recoveryRuns"])} when it rests`,
      );
    }
    return rows;
  } finally {
    await knows.close();
  }
}

/** Little is measured: only the whole network will run. */
const effort = { samples: 1, rounds: 3, maxCuts: 3, everyCodec: false };

/** The worst of the models, each by the median of its rounds. */
function worst(rows: readonly Row[], figure: string): number {
  const own = rows.filter((row) => row[figure] !== undefined);
  const models = new Set(own.map((row) => row["model"]));
  return Math.max(
    ...Array.from(models, (model) =>
      median(own.filter((row) => row["model"] === model).map((row) => Number(row[figure]))),
    ),
  );
}

const parts = ["runs", "slowdowns"] as const;

/** Real runs of published networks; none without data. */
async function realRows(context: BenchContext): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), "longshore-profiles-"));
  const rows: Row[] = [];
  try {
    const subjects: Subject[] = [];
    for (const model of ["squeezenet", "shufflenet", "bvlc_alexnet"]) {
      const measured = await measurePublished(context, folder, model, effort);
      if (measured) subjects.push({ model, inputs: Object.fromEntries(measured.inputs[0] ?? new Map()) });
    }
    for (const subject of subjects) {
      const others = subjects.filter((one) => one !== subject);
      rows.push(...(await measure(folder, subject, others, context)));
    }
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The device runs WebAssembly, the profile was measured on the native runtime: another device to all that is known. */
export const bench: Bench = {
  name: "profiles",
  about:
    "predictions on a device from a profile of another: the first runs, a busy processor, heat, and their end",
  options: ["--parts runs,slowdowns"],
  bars: {
    coldProfileError: { atMost: 0.15 },
    driftRuns: { atMost: 10 },
    slowdownRuns: { atMost: 10 },
  },
  async run(context): Promise<Measured> {
    const wanted = chosenOf(context.args, "parts", parts) ?? parts;
    const real = wanted.includes("runs") ? await realRows(context) : [];
    const slowed = wanted.includes("slowdowns") ? await slowdownRows(context) : [];
    return {
      figures: {
        ...(real.length === 0
          ? {}
          : {
              coldProfileError: worst(real, "coldError"),
              startError: worst(real, "startError"),
              noiseFloor: worst(real, "noise"),
              driftRuns: worst(real, "driftRuns"),
              recoveryRuns: worst(real, "recoveryRuns"),
            }),
        ...(slowed.length === 0 ? {} : slowdownFigures(slowed)),
      },
      rows: [...real, ...slowed],
      notRun:
        wanted.includes("runs") && context.data === undefined ? ["published networks: no --data folder"] : [],
    };
  },
};
