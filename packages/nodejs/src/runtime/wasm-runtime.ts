import { builtFile } from "./built-file.ts";
import { type ProviderRuntime, runnerRuntime } from "./runner-runtime.ts";
import { workerLink } from "./worker-link.ts";

/** Options of the WebAssembly runtime. */
export interface WasmRuntimeOptions {
  /** Name in metrics and configuration. Default `wasm`. */
  readonly name?: string;
  /** The worker's built file. Default: the one of this package. */
  readonly workerUrl?: URL;
  /** Most bytes of outputs of one run. Default 1 GiB. */
  readonly maxOutputBytes?: number;
}

/**
 * ONNX Runtime's WebAssembly build, the one that browsers run, in Node.js: the same operators in other code, several times slower than the
 * native build. It is the fallback of a machine without native support, and a real weak device for demo and tests. Its package,
 * onnxruntime-web, is an optional peer. Without it, loads fail with `unsupported` and the message says how to add it. One session per
 * worker thread; the WebAssembly file comes from the package, never from the network.
 *
 * @example
 * ```ts
 * import { wasmRuntime } from "@longshore/nodejs";
 *
 * const runtime = wasmRuntime();
 * console.log(runtime.name); // wasm
 * await runtime.close();
 * ```
 */
export function wasmRuntime(options: WasmRuntimeOptions = {}): ProviderRuntime {
  return runnerRuntime({
    name: options.name ?? "wasm",
    backend: "wasm",
    providers: ["wasm"],
    open: workerLink(options.workerUrl ?? builtFile("runtime-worker.js")),
    maxOutputBytes: options.maxOutputBytes ?? 1024 ** 3,
    restarts: false,
  });
}
