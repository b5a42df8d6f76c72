import { type Clock, LongshoreError, type Tensor, type Tensors, type TensorSpec } from "@longshore/core";
import { abortError, checkCall, renamed, shapeFits, sleep, whenAborted } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";
import {
  aliveAfter,
  madeBetween,
  type MemoryModel,
  type MemoryModels,
  readMemoryFile,
} from "./memory-model.ts";

export interface MemoryRuntimeOptions {
  readonly models: MemoryModels;
  readonly clock: Clock;
  /** Default `memory`. */
  readonly name?: string;
  /** Virtual time of a load. Default 0. */
  readonly loadMs?: number;
  /** How many times slower than declared its runs are. Default 1; may change during a test. */
  readonly slowness?: () => number;
  /** Called before each run; the run fails with the error that it throws. */
  readonly beforeRun?: (model: string) => void;
}

/** A memory runtime, with the facts that tests read. */
export interface MemoryRuntime extends Runtime {
  /** Files loaded so far, as `<model>:<from>..<to>`. */
  readonly loads: readonly string[];
  /** Sessions that are loaded and not released. */
  open(): number;
  /** Runs that have begun, as `<model> <rows of the first input>`. */
  readonly runs: readonly string[];
}

/** Runs memory models in virtual time, under the contract of `Runtime`. */
export function memoryRuntime(options: MemoryRuntimeOptions): MemoryRuntime {
  const { clock, models, loadMs = 0 } = options;
  const loads: string[] = [];
  const runs: string[] = [];
  const sessions = new Set<InferenceSession>();
  return {
    name: options.name ?? "memory",
    loads,
    runs,
    open: () => sessions.size,
    async load(artifact, _options, call) {
      checkCall(call, clock, "execute");
      const { file, model } = readMemoryFile(await artifact.bytes(call), models);
      if (loadMs > 0) await sleep(clock, loadMs, call.abort);
      loads.push(`${file.memoryModel}:${file.from}..${file.to}`);
      const inputs = aliveAfter(model, file.from);
      const session = memorySession({
        clock,
        inputs,
        outputs: madeBetween(model, file.from, file.to),
        run: async (feeds) => {
          runs.push(`${file.memoryModel} ${[...feeds.values()][0]?.spec.shape[0] ?? 1}`);
          options.beforeRun?.(file.memoryModel);
          return runStages(model, file.from, file.to, feeds, clock, options.slowness?.() ?? 1);
        },
        released: () => void sessions.delete(session),
      });
      sessions.add(session);
      return session;
    },
    async close() {
      await Promise.all([...sessions].map((session) => session.release()));
    },
  };
}

async function runStages(
  model: MemoryModel,
  from: number,
  to: number,
  feeds: Tensors,
  clock: Clock,
  slowness: number,
): Promise<Tensors> {
  const alive = new Map(feeds);
  for (const stage of model.stages.slice(from, to)) {
    const { runMs } = stage;
    await sleep(clock, (typeof runMs === "number" ? runMs : runMs(alive)) * slowness);
    for (const [name, tensor] of stage.run(alive)) alive.set(name, renamed(tensor, name));
  }
  return alive;
}

interface SessionParts {
  readonly clock: Clock;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly run: (feeds: Tensors) => Promise<Tensors>;
  readonly released: () => void;
}

function memorySession({ clock, inputs, outputs, run, released }: SessionParts): InferenceSession {
  let busy: Promise<unknown> = Promise.resolve();
  let open = true;
  return {
    inputs,
    outputs,
    async run(feeds, fetches, call) {
      if (!open) throw new LongshoreError("run-failed", "execute", "the session was released");
      checkCall(call, clock, "execute");
      checkFeeds(inputs, feeds);
      for (const name of fetches) {
        if (outputs.some((output) => output.name === name)) continue;
        throw new LongshoreError("invalid-input", "execute", `the model has no output ${name}`);
      }
      const begun = busy.then(() => {
        if (call.abort.aborted) throw abortError(call.abort, "execute");
        return run(new Map(feeds));
      });
      busy = begun.catch(() => undefined);
      const values = await untilAborted(begun, call.abort);
      const names = fetches.length === 0 ? outputs.map(({ name }) => name) : fetches;
      return new Map(names.map((name): [string, Tensor] => [name, found(values, name)]));
    },
    async idle() {
      let last;
      do {
        last = busy;
        await last;
      } while (last !== busy);
    },
    async release() {
      if (!open) return;
      open = false;
      await busy;
      released();
    },
  };
}

function found(values: Tensors, name: string): Tensor {
  const tensor = values.get(name);
  if (!tensor) throw new LongshoreError("run-failed", "execute", `the run made no ${name}`);
  // The caller owns outputs, so they never share memory with what the model function holds.
  return { ...tensor, bytes: tensor.bytes.slice() };
}

function untilAborted<T>(work: Promise<T>, abort: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(abortError(abort, "execute"));
    const stopListening = whenAborted(abort, stop);
    work.then(resolve, reject).finally(stopListening);
  });
}

function checkFeeds(inputs: readonly TensorSpec[], feeds: Tensors): void {
  const refuse = (why: string): never => {
    throw new LongshoreError("invalid-input", "execute", why);
  };
  for (const { name, datatype, shape } of inputs) {
    const spec = feeds.get(name)?.spec;
    if (!spec) return refuse(`input ${name} is missing`);
    if (spec.datatype !== datatype) refuse(`input ${name} is ${spec.datatype}; ${datatype} is expected`);
    if (!shapeFits(spec.shape, shape)) {
      refuse(`input ${name} has shape [${spec.shape.join(", ")}]; [${shape.join(", ")}] is expected`);
    }
  }
  for (const name of feeds.keys()) {
    if (!inputs.some((input) => input.name === name)) refuse(`the model has no input ${name}`);
  }
}
