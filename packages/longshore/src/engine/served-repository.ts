import { type ModelListing, startCut } from "@longshore/core";
import type { Engine } from "@longshore/engine";
import type { ServedRepository } from "@longshore/server";

/** Triton's words for the states of the engine's index. */
const tritonStates: Readonly<Record<string, ModelListing["state"]>> = {
  available: "READY",
  ready: "READY",
  loading: "LOADING",
  unloading: "UNLOADING",
};

/** The models of an engine, for a server. `settled` is called for each that is loaded or unloaded, and awaited. */
export function servedRepository(
  engine: Engine,
  settled: (model: string) => Promise<void>,
): ServedRepository {
  return {
    async index(_call, model) {
      const entries = await engine.index(model);
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
    },
    async unload(model, call, dependents) {
      await engine.unload(model, call, dependents);
      await settled(model);
    },
    configuration: (model, version, call) => engine.written(model, version, call),
    async head({ model, version, variant, to }, call) {
      const artifact = await engine.artifact(
        { model, version, digest: "", variant, from: startCut, to },
        call,
      );
      return { digest: artifact.digest, bytes: await artifact.bytes(call) };
    },
  };
}
