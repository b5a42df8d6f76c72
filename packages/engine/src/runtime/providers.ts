/** Execution providers that compute on the processor. */
const processors: ReadonlySet<string> = new Set(["cpu", "wasm", "xnnpack"]);

/** Whether an execution provider uses the processor and no accelerator. */
export function onProcessor(provider: string): boolean {
  return processors.has(provider);
}

/**
 * The execution providers to try, in this order. An emulated accelerator is slower than the processor that emulates it, so it comes last
 * where the list has a processor, too; `slow` names those.
 */
export function providersInOrder(
  listed: readonly string[],
  slowHere: ((provider: string) => string | undefined) | undefined,
): { readonly order: readonly string[]; readonly slow: ReadonlySet<string> } {
  const slow = new Set(
    listed.some(onProcessor)
      ? listed.filter((one) => !onProcessor(one) && slowHere?.(one) !== undefined)
      : [],
  );
  return { order: [...listed.filter((one) => !slow.has(one)), ...slow], slow };
}

/** The execution providers of ONNX Runtime's builds for Node.js, over all platforms. */
export const onnxProviders: readonly string[] = ["cpu", "cuda", "tensorrt", "webgpu", "coreml", "dml", "qnn"];

/** Names are those of ONNX Runtime: `cpu`, `cuda`, `tensorrt`, `webgpu`, `coreml`, `dml`. */
export const providerName: RegExp = /^[a-z][a-z0-9-]{0,31}$/;
