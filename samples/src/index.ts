/**
 * Models and inputs of Longshore's demo and tests, with their origins.
 *
 * @module
 */
export { type SampleInput, sampleInputs, type Truth } from "./inputs.ts";
export { type Provenance, samplesManifest } from "./manifest.ts";
export { ocrAccuracy } from "./ocr-accuracy.ts";
export { sampleRepository } from "./repository.ts";
export { sampleEngine } from "./sample-engine.ts";
