import {
  type Call,
  type EndpointInfo,
  LongshoreError,
  type ModelDescription,
  silentObserver,
} from "@longshore/core";
import { childCall, portsUnlike, type StepModel, stepModels, withTime } from "@longshore/core/internal";
import type { EngineParts } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dial, serverInfo } from "./dial.ts";
import type { DialOptions, ServerOptions } from "./server-options.ts";
import type { Reachable } from "./dial-all.ts";
import { diallingIn } from "./directory.ts";

/** A server with a request under way. */
interface Asked {
  readonly info: EndpointInfo;
  readonly options: DialOptions;
}

function askedOf(server: string | ServerOptions): Asked {
  return { info: serverInfo(server), options: typeof server === "string" ? {} : server };
}

/** The description of a model by the first server that has it. Throws the error of the last server, or `unknown-model`. */
export function describedAt(
  servers: readonly (string | ServerOptions)[],
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelDescription> {
  return describedBy(servers.map(askedOf), model, version, call);
}

/** The timeout of one server, in milliseconds: a server that accepts and never answers delays the caller no longer. */
const answerWithinMs = 5000;

/** All get the request at once; of those that have the model, the first in order counts. */
async function describedBy(
  servers: readonly Asked[],
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelDescription> {
  using asking = childCall(call);
  const answers = servers.map((server) => saidBy(server, model, version, asking.call));
  // Listens to all of them from the beginning: one may fail while another is waited for.
  const all = Promise.allSettled(answers);
  let failure: unknown;
  try {
    for (const answer of answers) {
      try {
        const description = await answer;
        if (description) return description;
      } catch (thrown) {
        failure = thrown;
      }
    }
  } finally {
    asking.cancel(new LongshoreError("cancelled", "resolve", `another server described ${model}`));
    await all;
  }
  if (failure !== undefined) throw failure;
  const asked = servers.map(({ info: { address, id } }) => address ?? id).join(", ");
  throw new LongshoreError("unknown-model", "resolve", `there is no model ${model} here, nor at ${asked}`);
}

/** The description by one server, if it has the model. Rejects with `no-answer` where it takes too long. */
async function saidBy(
  { info, options }: Asked,
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelDescription | undefined> {
  const clock = systemClock();
  const endpoint = dial(info, { clock, random: systemRandom(), observer: silentObserver }, options);
  const why = `${info.address ?? info.id} did not say within ${answerWithinMs / 1000} s whether it has ${model}`;
  using own = withTime(call, clock, answerWithinMs, () => new LongshoreError("no-answer", "resolve", why));
  try {
    return (await endpoint.describe(model, version, own.call))?.description;
  } finally {
    await endpoint.close();
  }
}

/** Endpoints of a directory that are tried for one model: of many that may have it, few do not answer. */
const mostAsked = 16;

/**
 * For an engine: inputs and outputs of models that steps run elsewhere and whose pipeline does not state them, from the named
 * servers or else from those of a directory.
 */
export function portsAt({
  servers = [],
  directory,
  dialling,
}: Reachable): NonNullable<EngineParts["elsewhere"]> {
  const shown = diallingIn(directory, dialling);
  return async (model, version, call) => {
    const listed = directory?.snapshot().entries ?? [];
    const found = listed
      .filter(({ address, serves }) => {
        return address !== undefined && (serves?.some(({ segment }) => segment.model === model) ?? true);
      })
      .slice(0, mostAsked)
      .map((info): Asked => ({ info, options: shown(info) }));
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
 * Of each step whose model only other endpoints have, why each of these servers is no endpoint for it, in words for the author of the pipeline:
 * plans only leave such servers out.
 */
export async function stepsMissing(
  { variants }: ModelDescription,
  servers: readonly (string | ServerOptions)[],
  call: Call,
): Promise<readonly string[]> {
  const steps = variants.flatMap(({ body }) => stepModels(body));
  const asked = steps.flatMap((step) => servers.map((server) => whyNotAt(step, server, call)));
  const why = await Promise.all(asked);
  return [...new Set(why.filter((one) => one !== undefined))];
}

async function whyNotAt(
  { step, run: { model, version, elsewhere } }: StepModel,
  server: string | ServerOptions,
  call: Call,
): Promise<string | undefined> {
  if (!elsewhere) return undefined;
  const address = typeof server === "string" ? server : server.address;
  const what = `step ${step.id} cannot run at ${address}:`;
  const named = version === undefined ? model : `${model}, version ${version}`;
  try {
    const differs = portsUnlike(elsewhere, await describedAt([server], model, version, call));
    return differs === undefined ? undefined : `${what} it has ${named}, but ${differs}`;
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "resolve", `asking ${address}`);
    return error.reason === "unknown-model" ? `${what} it has no ${named}` : `${what} ${error.message}`;
  }
}
