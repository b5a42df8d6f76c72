import { type Clock, LongshoreError } from "@longshore/core";
import { existsSync } from "node:fs";
import { systemClock } from "../device/index.ts";
import { builtFile } from "./built-file.ts";
import { childLink } from "./child-link.ts";
import { type ProviderRuntime, runnerRuntime } from "./runner-runtime.ts";

/** Options of the sandbox. */
export interface ChildRuntimeOptions {
  /** Name in metrics and configuration. Default `sandbox`. */
  readonly name?: string;
  /**
   * Private memory of each process, Node.js itself (about 130 MB) included; at least 256 MiB. Default 1 GiB. `Infinity` means no cap.
   * Outside Linux, no cap is available and only `Infinity` is accepted.
   */
  readonly memoryBytes?: number;
  /** Maximum length of a run in milliseconds. Default 30,000. */
  readonly runDeadlineMs?: number;
  /** Maximum length of a load in milliseconds. Default 60,000. */
  readonly loadDeadlineMs?: number;
  /** Most bytes of outputs of one run. Default 64 MiB. */
  readonly maxOutputBytes?: number;
  /** Clock for deadlines and memory checks. Default: the machine's. */
  readonly clock?: Clock;
  /** The process' built file. Default: the one of this package. */
  readonly childUrl?: URL;
  /**
   * A POSIX shell, which sets the kernel's limits before Node.js starts. Default `/bin/sh` if it exists; undefined leaves only the memory
   * checks.
   */
  readonly shell?: string | undefined;
  /** Execution providers, tried one after another for each model. Default `["cpu"]`. */
  readonly providers?: readonly string[];
  /** Further environment variables that are passed to the process, such as those of drivers. Default: none. */
  readonly keptVariables?: readonly string[];
}

const leastMemoryBytes = 256 * 1024 * 1024;

function checkAtLeast(name: string, value: number, least: number): number {
  if (value >= least) return value;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `${name} is ${value}; it must be ${least} or more`,
  );
}

/**
 * ONNX Runtime in its own process for each session, for untrusted models. A file of a hundred bytes can request a gigabyte or run forever,
 * a run cannot be cancelled, and a crash of native code ends its process. Here that process is not the program.
 *
 * Guarantees on Linux: the kernel refuses private memory beyond `memoryBytes` (RLIMIT_DATA; except for shared memory and the time between
 * two checks, see `watchMemory`), with reason `memory-limit`. A run or a load beyond its deadline is killed (`run-deadline`). A crash is
 * reported as `runtime-crashed`, and the next run starts a new process. The process gets no environment except PATH and similar variables,
 * writes no files, and ends when this program does. Limits: it runs as the same user with the same file system and network. It contains a
 * model that uses too much, but not an attacker who takes over native code; for those, run the whole server in a container.
 *
 * The model, inputs and outputs are copied through a pipe, in pieces: some milliseconds for a megabyte. `give` saves nothing.
 *
 * @example
 * ```ts
 * import { childRuntime } from "@longshore/nodejs";
 *
 * // For models that are not trusted: at most 512 MiB and 10 s for a run.
 * const runtime = childRuntime({ memoryBytes: 512 * 2 ** 20, runDeadlineMs: 10_000 });
 * await runtime.close();
 * ```
 */
export function childRuntime(options: ChildRuntimeOptions = {}): ProviderRuntime {
  const memoryBytes = checkAtLeast("memoryBytes", options.memoryBytes ?? 1024 ** 3, leastMemoryBytes);
  const clock = options.clock ?? systemClock();
  const shell = "shell" in options ? options.shell : existsSync("/bin/sh") ? "/bin/sh" : undefined;
  const maxOutputBytes = checkAtLeast("maxOutputBytes", options.maxOutputBytes ?? 64 * 1024 ** 2, 1);
  const url = options.childUrl ?? builtFile("runtime-child.js");
  const runtime = runnerRuntime({
    name: options.name ?? "sandbox",
    backend: "native",
    providers: options.providers ?? ["cpu"],
    open: childLink({
      url,
      memoryBytes,
      maxOutputBytes,
      shell,
      clock,
      keptVariables: options.keptVariables ?? [],
    }),
    maxOutputBytes,
    restarts: true,
    limit: {
      clock,
      runDeadlineMs: checkAtLeast("runDeadlineMs", options.runDeadlineMs ?? 30_000, 1),
      loadDeadlineMs: checkAtLeast("loadDeadlineMs", options.loadDeadlineMs ?? 60_000, 1),
    },
  });
  if (process.platform === "linux" || memoryBytes === Infinity) return runtime;
  return {
    ...runtime,
    load: () =>
      Promise.reject(
        new LongshoreError(
          "unsupported",
          "execute",
          "memory of a model can be capped on Linux only; trust the model, or set memoryBytes to Infinity",
        ),
      ),
  };
}
