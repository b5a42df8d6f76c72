import { assembleRepository } from "./assemble.ts";

/**
 * Folder of the sample models in Triton's layout, assembled first if it is not there or something that it is made of
 * changed (a second then, a few milliseconds otherwise).
 */
export function sampleRepository(): string {
  return assembleRepository();
}
