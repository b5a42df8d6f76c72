import { systemClock } from "../device/index.ts";
import { builtFile } from "./built-file.ts";
import { exitGuard } from "./exit-guard.ts";
import { importOrt } from "./import-ort.ts";
import { reusedLinks } from "./reused-links.ts";
import { type ProviderRuntime, runnerRuntime } from "./runner-runtime.ts";
import { disableTelemetry } from "./telemetry-off.ts";
import { thisThreadLink } from "./this-thread-link.ts";
import { workerLink } from "./worker-link.ts";

/** Options of the native runtime. */
export interface OnnxRuntimeOptions {
  /** Name in metrics and configuration. Default `onnxruntime`. */
  readonly name?: string;
  /** Execution providers, tried one after another for each model. Default `["cpu"]`. */
  readonly providers?: readonly string[];
  /** The worker's built file. Default: the one of this package. */
  readonly workerUrl?: URL;
  /** Most bytes of outputs of one run. Default 1 GiB. */
  readonly maxOutputBytes?: number;
  /**
   * Whether graphs whose runs have shown to take less than about half a millisecond run on the calling thread, which saves
   * the 0.1 ms of the way to a worker and back (ADR 6). Default false.
   */
  readonly shortRunsHere?: boolean;
  /**
   * By how much more than this thread its workers let others have the cores, 0 to 19, on Linux: a server answers, refuses
   * and reads more evenly while they calculate (ADR 17). Default 0.
   */
  readonly niceness?: number;
}

/** Threads that wait for the next session when theirs was released: as many as models are mostly replaced at a time. */
const keptWorkers = 2;

/**
 * ONNX Runtime's native build, one session per worker thread, because a run blocks the thread that calls it; only runs
 * too short to be worth the way to a worker stay on the calling thread, if `shortRunsHere` says so. Threads do not spin
 * while they wait. Sessions say which provider runs them and which were passed over.
 *
 * A run cannot be cancelled: when a call ends, its promise rejects at once and the instance stays busy until the run is
 * over. A crash of native code takes the whole program along, so models that are not trusted belong into `childRuntime`.
 * Weights outside the file are never opened. In the main thread it sets the environment variable `ORT_DISABLE_TELEMETRY` to `1`
 * unless it is set: the native build otherwise reports to its maker. In a worker thread loads fail with `unsupported` if the
 * variable is missing, since only the main thread can set it.
 *
 * @example
 * ```ts
 * import { onnxRuntime } from "@longshore/nodejs";
 *
 * const runtime = onnxRuntime();
 * console.log(runtime.name); // onnxruntime
 * await runtime.close();
 * ```
 */
export function onnxRuntime(options: OnnxRuntimeOptions = {}): ProviderRuntime {
  // Before the first worker starts: it gets a copy of this thread's environment.
  disableTelemetry();
  const { open, close } = reusedLinks(
    workerLink(options.workerUrl ?? builtFile("runtime-worker.js"), exitGuard(), options.niceness),
    keptWorkers,
  );
  return runnerRuntime({
    name: options.name ?? "onnxruntime",
    backend: "native",
    providers: options.providers ?? ["cpu"],
    open,
    closeIdle: close,
    maxOutputBytes: options.maxOutputBytes ?? 1024 ** 3,
    restarts: false,
    ...(options.shortRunsHere === true
      ? { here: { open: thisThreadLink(importOrt), clock: systemClock() } }
      : {}),
  });
}
