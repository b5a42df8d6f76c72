import { createRequire } from "node:module";

/** The version that this package was tested with, and accepts as a peer. */
const wasmVersion = "1.30.0";

/** What an error or a check says where the WebAssembly runtime is asked for and its package is missing. */
export const addWasm: string = `the package onnxruntime-web is not installed; add it with: npm install onnxruntime-web@${wasmVersion} (118 MB)`;

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
