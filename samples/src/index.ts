/**
 * Models and inputs of Longshore's demo and tests, with their origins.
 *
 * @module
 */
export { ocrAccuracy } from "./ocr-accuracy.ts";
