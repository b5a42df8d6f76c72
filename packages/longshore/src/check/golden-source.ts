import { type CheckOptions, goldenFile, parseGolden } from "@longshore/core";
import type { ModelStore } from "@longshore/engine";

/** Golden inputs that lie beside the models of a store: `<model>/<version>/golden.json`. */
export function goldenFrom(store: ModelStore): NonNullable<CheckOptions["golden"]> {
  return async (model, version) => {
    const bytes = await store.read(`${model}/${version}/${goldenFile}`);
    return bytes && parseGolden(bytes);
  };
}
