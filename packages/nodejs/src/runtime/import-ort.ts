import { addWasm, hasWasm } from "./optional-parts.ts";
import type { ImportOrt } from "./runner.ts";
import { requireTelemetryOff } from "./telemetry-off.ts";

/** Imports the chosen build when a worker first needs it. A worker with one build never loads the other. */
export const importOrt: ImportOrt = async (backend, threads) => {
  if (backend === "native") {
    requireTelemetryOff();
    return import("onnxruntime-node");
  }
  if (!hasWasm()) throw new Error(addWasm);
  const ort = await import("onnxruntime-web");
  // Its WebAssembly file is in the package; nothing is fetched. Set once, before the first session.
  ort.env.wasm.numThreads = threads;
  return ort;
};
