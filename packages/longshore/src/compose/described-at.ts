import { type Call, LongshoreError, type ModelDescription, silentObserver } from "@longshore/core";
import type { EngineParts } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dial, serverInfo, type ServerOptions } from "./dial.ts";

/** What the first server that has a model says of it. Throws what the last one that was asked says, or `unknown-model`. */
export async function describedAt(
  servers: readonly (string | ServerOptions)[],
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelDescription> {
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  let failure: unknown;
  for (const server of servers) {
    const endpoint = dial(serverInfo(server), parts, typeof server === "string" ? {} : server);
    try {
      const knowledge = await endpoint.describe(model, version, call);
      if (knowledge) return knowledge.description;
    } catch (thrown) {
      failure = thrown;
    } finally {
      await endpoint.close();
    }
  }
  if (failure !== undefined) throw failure;
  const asked = servers.map((server) => (typeof server === "string" ? server : server.address)).join(", ");
  throw new LongshoreError("unknown-model", "resolve", `there is no model ${model} here, nor at ${asked}`);
}

/** For an engine: what models of these servers take and give, where a step runs one of them and its pipeline does not say. */
export function portsAt(servers: readonly (string | ServerOptions)[]): NonNullable<EngineParts["elsewhere"]> {
  return async (model, version, call) => {
    try {
      const { inputs, outputs } = await describedAt(servers, model, version, call);
      return inputs.length > 0 && outputs.length > 0 ? { inputs, outputs } : undefined;
    } catch (thrown) {
      if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
      throw thrown;
    }
  };
}
