import { createRequire } from "node:module";

/** Tested version, and accepted version of the peer. */
const wasmVersion = "1.30.0";

/** Error text if the WebAssembly runtime is requested without its package. */
export const addWasm: string = `the package onnxruntime-web is not installed; add it with: npm install onnxruntime-web@${wasmVersion} (139 MB)`;

/**
 * Whether the optional package of the WebAssembly runtime is installed beside this one.
 *
 * @example
 * ```ts
 * import { hasWasm } from "@longshore/nodejs";
 *
 * console.log(hasWasm()); // true
 * ```
 */
export function hasWasm(): boolean {
  try {
    createRequire(import.meta.url).resolve("onnxruntime-web");
    return true;
  } catch {
    return false;
  }
}
