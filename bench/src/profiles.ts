/** `bench profiles`: how soon a device that never ran a model knows its times from a profile of another, and notices a change. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { housekeepingCall, type Inputs, type Offloader, type Result } from "@longshore/core";
import { withSeededWeights } from "@longshore/graph";
import { folderStore, systemClock } from "@longshore/nodejs";
import { openOffloader } from "longshore";
import { measuredModel, openEngine } from "longshore/measure";
import { type Bench, type BenchContext, type Measured, median, type Row } from "./harness.ts";

/** Runs after which a prediction is to be near, and runs that tell what is true. */
const coldRuns = 5;
const truthRuns = 15;
/** So many more runs go by before the change, as on a device that has been on for a while. */
const steadyRuns = 60;
/** A prediction this near to what runs take has noticed. */
const nearRatio = 0.2;

/** A busy processor: one thread for each core that never rests. */
function hogs(): { stop(): Promise<void> } {
  const workers = cpus().map(() => new Worker("for (;;) Math.random();", { eval: true }));
  return {
    async stop() {
      await Promise.all(workers.map((worker) => worker.terminate()));
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

async function runs(
  offloader: Offloader,
  model: string,
  inputs: Inputs,
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

async function measure(
  repository: string,
  model: string,
  inputs: Inputs,
  { say }: BenchContext,
): Promise<Row> {
  const offloader = await openOffloader({
    repository,
    runtime: "wasm",
    defaults: { dataClass: "public", minAgreementRatio: 0 },
  });
  try {
    const first = await runs(offloader, model, inputs, coldRuns);
    const known = await runs(offloader, model, inputs, truthRuns);
    const truth = tookMs(known);
    const coldError = Math.abs((known[0]?.predictedMs ?? NaN) / truth - 1);
    await runs(offloader, model, inputs, steadyRuns);
    const busy = hogs();
    const slowed = await runs(offloader, model, inputs, 2 * truthRuns);
    await busy.stop();
    const rested = await runs(offloader, model, inputs, 2 * truthRuns);
    const row = {
      model,
      profileMs: first[0]?.predictedMs ?? NaN,
      firstMs: first[0]?.tookMs ?? NaN,
      truthMs: truth,
      coldError,
      slowedRatio: tookMs(slowed.slice(-truthRuns)) / truth,
      driftRuns: noticed(slowed),
      recoveryRuns: noticed(rested),
    };
    say(
      `  ${model.padEnd(12)} from the profile ${row.profileMs.toFixed(1)} ms, runs take ${truth.toFixed(1)}; after ${coldRuns} runs off by ${(100 * coldError).toFixed(1)} %; ` +
        `with a busy processor ${row.slowedRatio.toFixed(2)} times as long, known after ${row.driftRuns} runs, and after ${row.recoveryRuns} when it rests`,
    );
    return row;
  } finally {
    await offloader.close();
  }
}

/** A published network with seeded weights, with a profile of this machine's native runtime. */
async function profiled(
  { data, seed, say }: BenchContext,
  folder: string,
  name: string,
): Promise<Inputs | undefined> {
  if (data === undefined) return undefined;
  const version = join(folder, name, "1");
  mkdirSync(version, { recursive: true });
  const file = readFileSync(join(data, `models/light/light_${name}.onnx`));
  writeFileSync(join(version, "model.onnx"), withSeededWeights(new Uint8Array(file), seed));
  const { engine, close } = openEngine({ store: folderStore(folder), tier: "cloud" });
  try {
    const io = { note: (text: string) => say(`  ${text}`), progress: () => undefined };
    const effort = { samples: 1, rounds: 3, maxCuts: 3, everyCodec: false };
    const { simulated, inputs } = await measuredModel(
      { engine, clock: systemClock(), model: name, samples: undefined, io, effort, fresh: true },
      housekeepingCall("profiles"),
    );
    writeFileSync(join(version, "profile.json"), JSON.stringify(simulated.profile));
    return Object.fromEntries(inputs[0] ?? new Map());
  } finally {
    await close();
  }
}

/** The device runs WebAssembly, the profile was measured on the native runtime: another device to all that is known. */
export const bench: Bench = {
  name: "profiles",
  about: "predictions on a device from a profile of another: the first runs, a busy processor, and its end",
  bars: { coldProfileError: { atMost: 0.15 }, driftRuns: { atMost: 10 } },
  async run(context): Promise<Measured> {
    const folder = mkdtempSync(join(tmpdir(), "longshore-profiles-"));
    const rows: Row[] = [];
    try {
      for (const name of ["squeezenet", "shufflenet", "bvlc_alexnet"]) {
        const inputs = await profiled(context, folder, name);
        if (inputs) rows.push(await measure(folder, name, inputs, context));
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    const worst = (figure: string): number => Math.max(...rows.map((row) => Number(row[figure])));
    return {
      figures:
        rows.length === 0
          ? {}
          : {
              coldProfileError: worst("coldError"),
              driftRuns: worst("driftRuns"),
              recoveryRuns: worst("recoveryRuns"),
            },
      rows,
      notRun: context.data === undefined ? ["published networks: no --data folder"] : [],
    };
  },
};
