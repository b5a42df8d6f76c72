import { LongshoreError } from "@longshore/core";
import { onnxProviders, providerName } from "@longshore/engine";
import { softwareAdapter, systemClock } from "../device/index.ts";
import { builtFile } from "./built-file.ts";
import { childRuntime } from "./child-runtime.ts";
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
  /**
   * Execution providers, tried one after another for each model: `cpu`, and those that the native build supports on this platform and finds
   * libraries for (`cuda`, `tensorrt`, `webgpu`, `coreml`, `dml`). Default `["cpu"]`.
   */
  readonly providers?: readonly string[];
  /** The worker's built file. Default: the one of this package. */
  readonly workerUrl?: URL;
  /** Most bytes of outputs of one run. Default 1 GiB. */
  readonly maxOutputBytes?: number;
  /**
   * Whether graphs with runs below about half a millisecond run on the calling thread, which saves the 0.1 ms of the way to a worker and
   * back (ADR 6). Default false.
   */
  readonly shortRunsHere?: boolean;
  /**
   * Niceness of its workers relative to this thread, 0 to 19, on Linux: a server answers, refuses and reads more evenly while they compute
   * (ADR 17). Default 0.
   */
  readonly niceness?: number;
}

/** Threads kept for the next session after a release: as many as the models that are usually replaced at a time. */
const keptWorkers = 2;

/**
 * ONNX Runtime's native build, one session per worker thread, because a run blocks the calling thread. Only runs too short for
 * the way to a worker stay on the calling thread, with `shortRunsHere`. Threads do not spin while they wait. Sessions report
 * the provider that runs them and those that were passed over.
 *
 * A run cannot be cancelled: when a call ends, its promise rejects at once and the instance stays busy until the run ends. A
 * crash of native code ends the whole program, so untrusted models belong in `childRuntime`. Weights outside the file are never
 * opened. In the main thread it sets the environment variable `ORT_DISABLE_TELEMETRY` to `1` unless it is set: the native build
 * otherwise reports to its maker. In a worker thread loads fail with `unsupported` if the variable is missing, since only the
 * main thread can set it.
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
  const providers = checkProviders(options.providers ?? ["cpu"]);
  const { open, close } = reusedLinks(
    workerLink(options.workerUrl ?? builtFile("runtime-worker.js"), exitGuard(), options.niceness),
    keptWorkers,
  );
  const runtime = runnerRuntime({
    name: options.name ?? "onnxruntime",
    backend: "native",
    providers,
    chooses: true,
    open,
    closeIdle: close,
    maxOutputBytes: options.maxOutputBytes ?? 1024 ** 3,
    restarts: false,
    ...(options.shortRunsHere === true
      ? { here: { open: thisThreadLink(importOrt), clock: systemClock() } }
      : {}),
  });
  const trial = childRuntime({
    name: `${runtime.name} trial`,
    // Drivers reserve far more address space than they use, and the operator trusts the model.
    memoryBytes: Infinity,
    maxOutputBytes: options.maxOutputBytes ?? 1024 ** 3,
    keptVariables: driverVariables,
  });
  return {
    ...runtime,
    known: onnxProviders,
    slowHere: slowProvider,
    trial,
    async close() {
      await Promise.all([runtime.close(), trial.close()]);
    },
  };
}

/**
 * Why an execution provider is not faster than the processor on this machine. Undefined where nothing says so.
 *
 * @example
 * ```ts
 * import { slowProvider } from "@longshore/nodejs";
 *
 * console.log(slowProvider("cpu")); // undefined
 * ```
 */
export function slowProvider(provider: string): string | undefined {
  return provider === "webgpu" ? softwareAdapter() : undefined;
}

/** Environment variables of the loaders and drivers of accelerators. */
const driverVariables: readonly string[] = [
  "VK_ICD_FILENAMES",
  "VK_DRIVER_FILES",
  "VK_ADD_DRIVER_FILES",
  "CUDA_VISIBLE_DEVICES",
  "NVIDIA_VISIBLE_DEVICES",
  "NVIDIA_DRIVER_CAPABILITIES",
  "HIP_VISIBLE_DEVICES",
  "HOME",
  "LOCALAPPDATA",
];

function checkProviders(providers: readonly string[]): readonly string[] {
  const wrong = providers.find((one) => !providerName.test(one));
  if (providers.length > 0 && wrong === undefined && new Set(providers).size === providers.length)
    return providers;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    wrong === undefined
      ? `providers are [${providers.join(", ")}]; each is named once, and one is needed, such as cpu`
      : `providers has ${JSON.stringify(wrong)}; an execution provider is a word such as cpu, cuda or webgpu`,
  );
}
