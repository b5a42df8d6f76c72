/** Execution providers that compute on the processor. */
const processors: ReadonlySet<string> = new Set(["cpu", "wasm", "xnnpack"]);

/** Whether an execution provider uses the processor and no accelerator. */
export function onProcessor(provider: string): boolean {
  return processors.has(provider);
}

/** Names are those of ONNX Runtime: `cpu`, `cuda`, `tensorrt`, `webgpu`, `coreml`, `dml`. */
export const providerName: RegExp = /^[a-z][a-z0-9-]{0,31}$/;
