import { type Json, type ModelListing, startCut } from "@longshore/core";
import { type Engine, type ModelStore, writtenConfig } from "@longshore/engine";
import type { ServedRepository } from "@longshore/server";

/** Triton's words for the states of the engine's index. */
const tritonStates: Readonly<Record<string, ModelListing["state"]>> = {
  available: "READY",
  ready: "READY",
  loading: "LOADING",
  unloading: "UNLOADING",
};

/** The models of an engine and what is written of them, for a server. `settled` is told of each that is loaded or unloaded, and waited for. */
export function servedRepository(
  engine: Engine,
  store: ModelStore,
  settled: (model: string) => Promise<void>,
): ServedRepository {
  /** Configurations that came with a load take the place of what lies in the store. */
  const overrides = new Map<string, Readonly<Record<string, Json>>>();
  return {
    async index() {
      const entries = await engine.index();
      return entries.map(({ name, version, state, reason }) => ({
        name,
        version,
        state: tritonStates[state] ?? "UNAVAILABLE",
        reason: reason ?? "",
      }));
    },
    async load(model, version, call, override) {
      await engine.load(model, version, call, override);
      await settled(model);
      overrides.delete(model);
      // The engine has read it, so it is the JSON of a configuration.
      if (override) overrides.set(model, JSON.parse(override.config) as Readonly<Record<string, Json>>);
    },
    async unload(model, call, dependents) {
      await engine.unload(model, call, dependents);
      await settled(model);
    },
    async configuration(model) {
      return overrides.get(model) ?? (await writtenConfig(store, model));
    },
    async head({ model, version, variant, to }, call) {
      const artifact = await engine.artifact(
        { model, version, digest: "", variant, from: startCut, to },
        call,
      );
      return { digest: artifact.digest, bytes: await artifact.bytes(call) };
    },
  };
}
