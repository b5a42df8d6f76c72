import type { CheckOptions } from "@longshore/core";
import { goldenFile, parseGolden } from "@longshore/core/internal";
import type { ModelStore } from "@longshore/engine";

/** Golden inputs that lie beside the models of a store: `<model>/<version>/golden.json`. */
export function goldenFrom(store: ModelStore): NonNullable<CheckOptions["golden"]> {
  return async (model, version) => {
    const bytes = await store.read(`${model}/${version}/${goldenFile}`);
    return bytes && parseGolden(bytes);
  };
}
