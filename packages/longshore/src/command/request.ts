import {
  type Limits,
  LongshoreError,
  type ModelDescription,
  type Offloader,
  type Tensor,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { usableProviders } from "../engine/device-engines.ts";
import { describedAt, stepsMissing } from "../connect/described-at.ts";
import { guessedInputs } from "../profile/measure.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { type OpenedOffloader, openLocal } from "../compose/open-offloader.ts";
import type { OpenOptions } from "../compose/open-options.ts";
import { openModel, type OpenedModel } from "../engine/open-model.ts";
import { platformTransforms } from "../engine/transforms.ts";
import { type ImagePreparation, plainPreparation } from "../inputs/image-tensor.ts";
import { noteLeftOutOf } from "../inputs/note-left-out.ts";
import { readInputFiles } from "../inputs/read-inputs.ts";
import { serversOf } from "../options/at-options.ts";
import { directoryOf } from "../options/directory-options.ts";
import type { CommandIo } from "../options/io.ts";
import { packageReference, pullOptionsOf } from "./package.ts";
import type { RequestOptions } from "./request-options.ts";

/** An opened model with inputs and limits, ready to be inferred or planned. */
export interface PreparedRequest {
  readonly offloader: Offloader;
  readonly description: ModelDescription;
  readonly model: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly limits: Limits;
  close(): Promise<void>;
}

function channels(name: string, text: string | undefined, fallback: readonly number[]): readonly number[] {
  if (text === undefined) return fallback;
  const values = text.split(",").map(Number);
  if (values.length === 3 && values.every(Number.isFinite)) return values;
  throw new LongshoreError(
    "invalid-input",
    "decode",
    `--${name} wants three numbers such as 0.485,0.456,0.406, not '${text}'`,
  );
}

function preparation(options: RequestOptions): ImagePreparation {
  return {
    ...plainPreparation,
    mean: channels("mean", options.mean, plainPreparation.mean),
    std: channels("std", options.std, plainPreparation.std),
    ...(options.side === undefined ? {} : { freeSide: options.side }),
  };
}

/** The limits that the options state. */
function limitsOf(options: RequestOptions, io: CommandIo): Limits {
  return {
    objective: options.objective,
    signal: io.stop,
    ...(options.deadline === undefined ? {} : { deadlineMs: options.deadline }),
    ...(options.inTime === undefined ? {} : { minInTimeRatio: options.inTime }),
    ...(options.maxCostMicros === undefined ? {} : { maxCostMicros: options.maxCostMicros }),
    ...(options.dataClass === undefined ? {} : { dataClass: options.dataClass }),
    ...(options.zone.length === 0 ? {} : { zones: options.zone }),
    ...(options.only === undefined ? {} : { only: options.only }),
    ...(options.prefer === undefined ? {} : { prefer: options.prefer }),
    ...(options.variant === undefined ? {} : { variant: options.variant }),
    ...(options.agreement === undefined ? {} : { minAgreementRatio: options.agreement }),
  };
}

/** The model if it is here; undefined for the name of a model that a named server may have. */
async function openedHere(argument: string, isElsewhere: boolean): Promise<OpenedModel | undefined> {
  try {
    return await openModel(argument);
  } catch (thrown) {
    const isName = !/[\\/]|\.onnx$/.test(argument);
    if (isElsewhere && isName && LongshoreError.is(thrown) && thrown.reason === "unknown-model")
      return undefined;
    throw thrown;
  }
}

/** Reads endpoints and rules from the configuration file. */
async function fromFile(
  { config }: RequestOptions,
  io: CommandIo,
): Promise<
  { readonly servers?: readonly ServerOptions[] } & Pick<OpenOptions, "policy" | "defaults" | "carbon">
> {
  if (config === undefined) return {};
  // Its schema is made of the options of other commands.
  const { appOptions } = await import("./app-options.ts");
  const { servers, policy, defaults, carbon } = await appOptions(config, io.environment);
  return {
    ...(servers ? { servers: servers.map((one) => (typeof one === "string" ? { address: one } : one)) } : {}),
    ...(policy ? { policy } : {}),
    ...(defaults ? { defaults } : {}),
    ...(carbon ? { carbon } : {}),
  };
}

/** Opens the model, reads (or guesses) its inputs, and gets to know the servers that were named. */
export async function prepareRequest(
  model: string,
  options: RequestOptions & { readonly random: boolean },
  io: CommandIo,
): Promise<PreparedRequest> {
  const call = housekeepingCall("command", io.stop);
  const { servers: listed, policy, defaults, carbon } = await fromFile(options, io);
  const servers = options.at.length > 0 ? await serversOf(options) : (listed ?? (await serversOf(options)));
  const packages = await pullOptionsOf(options, { from: options.at[0], option: "--at", connection: "at" });
  const opened = packages ? undefined : await openedHere(model, servers.length > 0);
  const name = opened ? opened.model : model;
  const remote = !packages && !opened;
  if (name === undefined) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      "a repository was named; name one of its models: REPOSITORY/MODEL",
    );
  }
  const found = await directoryOf(options);
  const endpoint: OpenedOffloader = openLocal({
    ...(opened ? { store: opened.store } : {}),
    ...(packages
      ? {
          packages: {
            ...packages,
            sourceFirst: true,
            wanted: [...(packages.wanted ?? []), packageReference(model)],
            report: (text: string) => io.note(text),
          },
        }
      : {}),
    runtime: options.runtime,
    ...(options.providers
      ? {
          providers: await usableProviders(options.providers, (provider, why) =>
            io.note(`execution provider ${provider} is not used: ${why}`),
          ),
        }
      : {}),
    servers,
    ...(policy ? { policy } : {}),
    ...(defaults ? { defaults } : {}),
    ...(carbon ? { carbon } : {}),
    ...found,
  });
  const close = async (): Promise<void> => {
    await endpoint.close();
    await found?.directory[Symbol.asyncDispose]();
  };
  try {
    await endpoint.ready;
    const description = remote
      ? await describedAt(servers, name, undefined, call)
      : (await endpoint.engine.describe(name, undefined, call))?.description;
    if (!description) throw new LongshoreError("unknown-model", "resolve", `there is no model ${name}`);
    if (opened) await noteLeftOutOf(opened, io);
    if (!remote) for (const line of await stepsMissing(description, servers, call)) io.note(line);
    const guessed = options.random && options.input.length === 0;
    if (guessed && remote) {
      throw new LongshoreError(
        "invalid-input",
        "decode",
        `--random tries inputs on a model that is here, and ${name} is not: give inputs`,
      );
    }
    const inputs = guessed
      ? Object.fromEntries((await guessedInputs(endpoint.engine, description, [1], call))[0] ?? [])
      : await readInputFiles(options.input, description.inputs, platformTransforms(), preparation(options));
    if (guessed)
      io.note("inputs: seeded random numbers that the model accepts; they say nothing about accuracy");
    return {
      offloader: endpoint.offloader,
      description,
      model: name,
      inputs,
      limits: limitsOf(options, io),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
