import { LongshoreError } from "@longshore/core";
import { abortError } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";

/** A runtime that did not take a model, and why; the next one is tried. */
export interface RuntimePassedOver {
  readonly runtime: string;
  readonly why: LongshoreError;
}

/**
 * Several runtimes as one: each model is loaded by the first that takes it (say native, then WebAssembly). `passedOver` is
 * told of each that did not. When none takes it, the last one's error is thrown, since the last is the most portable. A
 * call that ends is not a reason to try the next. Closing closes all. Throws `invalid-configuration` for none.
 *
 * @example
 * ```ts
 * import { chooseRuntime, onnxRuntime, wasmRuntime } from "@longshore/nodejs";
 *
 * // Native where that loads the model, else WebAssembly.
 * const runtime = chooseRuntime([onnxRuntime(), wasmRuntime()], ({ runtime, why }) => console.warn(runtime, why.message));
 * console.log(runtime.name.split(",").length); // 2
 * await runtime.close();
 * ```
 */
export function chooseRuntime(
  runtimes: readonly Runtime[],
  passedOver: (fact: RuntimePassedOver) => void = () => undefined,
): Runtime {
  if (runtimes.length === 0) {
    throw new LongshoreError("invalid-configuration", "resolve", "no runtime is named to choose from");
  }
  return {
    name: runtimes.map(({ name }) => name).join(","),
    async load(artifact, options, call) {
      let last: LongshoreError | undefined;
      for (const runtime of runtimes) {
        if (call.abort.aborted) throw abortError(call.abort, "execute");
        try {
          return await runtime.load(artifact, options, call);
        } catch (thrown) {
          last = LongshoreError.from(thrown, "execute", `loading with ${runtime.name}`);
          if (call.abort.aborted) throw last;
          passedOver({ runtime: runtime.name, why: last });
        }
      }
      throw last ?? new LongshoreError("internal", "execute", "no runtime was tried");
    },
    async close() {
      await Promise.all(runtimes.map((runtime) => runtime.close()));
    },
  };
}
