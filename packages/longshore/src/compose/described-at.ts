import {
  type Call,
  type EndpointInfo,
  LongshoreError,
  type ModelDescription,
  portsUnlike,
  silentObserver,
  stepModels,
} from "@longshore/core";
import type { EngineParts } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dial, type DialOptions, serverInfo, type ServerOptions } from "./dial.ts";
import type { Reachable } from "./dial-all.ts";

/** A server that is asked. */
interface Asked {
  readonly info: EndpointInfo;
  readonly options: DialOptions;
}

function askedOf(server: string | ServerOptions): Asked {
  return { info: serverInfo(server), options: typeof server === "string" ? {} : server };
}

/** What the first server that has a model says of it. Throws what the last one that was asked says, or `unknown-model`. */
export function describedAt(
  servers: readonly (string | ServerOptions)[],
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelDescription> {
  return describedBy(servers.map(askedOf), model, version, call);
}

async function describedBy(
  servers: readonly Asked[],
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelDescription> {
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  let failure: unknown;
  for (const { info, options } of servers) {
    const endpoint = dial(info, parts, options);
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
  const asked = servers.map(({ info: { address, id } }) => address ?? id).join(", ");
  throw new LongshoreError("unknown-model", "resolve", `there is no model ${model} here, nor at ${asked}`);
}

/** Places of a directory that are asked about one model: of many that may have it, few do not answer. */
const mostAsked = 16;

/**
 * For an engine: what models take and give where a step runs one of them and its pipeline does not say: what the servers that are
 * named say, else those of a directory that may have them.
 */
export function portsAt({
  servers = [],
  directory,
  dialling,
}: Reachable): NonNullable<EngineParts["elsewhere"]> {
  return async (model, version, call) => {
    const listed = directory?.snapshot().entries ?? [];
    const found = listed
      .filter(({ address, serves }) => {
        return address !== undefined && (serves?.some(({ segment }) => segment.model === model) ?? true);
      })
      .slice(0, mostAsked)
      .map((info): Asked => ({ info, options: dialling?.(info) ?? {} }));
    try {
      const asked = [...servers.map(askedOf), ...found];
      const { inputs, outputs, decoupled } = await describedBy(asked, model, version, call);
      if (inputs.length === 0 || outputs.length === 0) return undefined;
      return { inputs, outputs, ...(decoupled === undefined ? {} : { decoupled }) };
    } catch (thrown) {
      if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
      throw thrown;
    }
  };
}

/**
 * Of each step whose model only other places have, why each of these servers is no place for it, in words for who wrote the pipeline:
 * plans only leave such servers out.
 */
export async function stepsMissing(
  { variants }: ModelDescription,
  servers: readonly (string | ServerOptions)[],
  call: Call,
): Promise<readonly string[]> {
  const why = new Set<string>();
  for (const { step, run } of variants.flatMap(({ body }) => stepModels(body))) {
    const { model, version, elsewhere } = run;
    for (const server of elsewhere ? servers : []) {
      const address = typeof server === "string" ? server : server.address;
      const what = `step ${step.id} cannot run at ${address}:`;
      const named = version === undefined ? model : `${model}, version ${version}`;
      try {
        const differs =
          elsewhere && portsUnlike(elsewhere, await describedAt([server], model, version, call));
        if (differs !== undefined) why.add(`${what} it has ${named}, but ${differs}`);
      } catch (thrown) {
        const error = LongshoreError.from(thrown, "resolve", `asking ${address}`);
        why.add(error.reason === "unknown-model" ? `${what} it has no ${named}` : `${what} ${error.message}`);
      }
    }
  }
  return [...why];
}
