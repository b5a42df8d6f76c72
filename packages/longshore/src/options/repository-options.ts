import { LongshoreError } from "@longshore/core";
import { type Command, Option } from "commander";
import { readFileSync } from "node:fs";
import type { ModelControl } from "../compose/model-control.ts";
import type { ServeOptions } from "../compose/serve.ts";

/** Options of `longshore serve` about which models are served, and with what. */
export interface RepositoryOptions {
  readonly modelControl: ModelControl;
  readonly pollSeconds: number;
  readonly loadModel: readonly string[];
  readonly exitOnError: boolean;
  readonly rateLimit: "off" | "execution_count";
  readonly rateLimitResource: readonly string[];
  readonly modelMemory?: number;
  readonly gpuFallback: boolean;
  readonly defaultMaxBatchSize: number;
  readonly sandboxMemory?: number;
  readonly sandboxDeadline?: number;
  readonly maxSequences?: number;
  readonly maxTenantSequences?: number;
  readonly stateKey?: string;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** Adds them. `number` reads a number of at least so much. */
export function repositoryOptions(
  command: Command,
  number: (name: string, least: number) => (text: string) => number,
): Command {
  return command
    .addOption(
      new Option("--model-control <mode>", "who decides which models are served")
        .choices(["none", "poll", "explicit"])
        .default("none"),
    )
    .option("--poll-seconds <s>", "between two looks at the repository", number("poll-seconds", 0.1), 15)
    .option("--load-model <name>", "load before the server is ready; repeat, or '*' for all", collect, [])
    .option(
      "--no-exit-on-error",
      "serve the rest, not ready, when a model to load at the start cannot be loaded",
    )
    .addOption(
      new Option("--rate-limit <mode>", "whether runs share the resources that models name")
        .choices(["off", "execution_count"])
        .default("off"),
    )
    .option("--rate-limit-resource <name:count>", "how much there is of one; repeat for several", collect, [])
    .option(
      "--model-memory <bytes>",
      "memory for loaded models; the least used go",
      number("model-memory", 1),
    )
    .option(
      "--default-max-batch-size <n>",
      "rows in one run of an ONNX file without configuration, where its first axes vary; Triton has 4",
      number("default-max-batch-size", 0),
      0,
    )
    .option("--gpu-fallback", "run models that want a GPU on processors", false)
    .option("--sandbox-memory <bytes>", "memory of a model that is not trusted", number("sandbox-memory", 1))
    .option("--sandbox-deadline <ms>", "longest run of such a model", number("sandbox-deadline", 1))
    .option("--max-sequences <n>", "live sequences", number("max-sequences", 1))
    .option("--max-tenant-sequences <n>", "live sequences of one tenant", number("max-tenant-sequences", 1))
    .option(
      "--state-key <file>",
      "secret that seals exported state; the same for servers that share sequences",
    );
}

function resourcesOf(options: RepositoryOptions): Readonly<Record<string, number>> {
  return Object.fromEntries(
    options.rateLimitResource.map((written): [string, number] => {
      const [, name, count] = /^([A-Za-z0-9_.-]{1,100}):(\d{1,9})$/.exec(written) ?? [];
      if (name !== undefined && count !== undefined) return [name, Number(count)];
      throw new LongshoreError(
        "invalid-input",
        "resolve",
        `--rate-limit-resource wants NAME:COUNT, such as R1:4, not '${written}'`,
      );
    }),
  );
}

/** Shorter secrets can be guessed. */
const leastSecretBytes = 16;

function secretOf(file: string): Uint8Array {
  const secret = readFileSync(file);
  if (secret.byteLength >= leastSecretBytes) return new Uint8Array(secret);
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `the state key has ${secret.byteLength} bytes; at least ${leastSecretBytes} are needed`,
  );
}

/** As of `max_batch_size` in a configuration. */
const mostRows = 4096;

/** What they mean for a server. */
export function repositoryServeOptions(options: RepositoryOptions): Partial<ServeOptions> {
  const { modelMemory, sandboxMemory, sandboxDeadline, maxSequences, maxTenantSequences, stateKey } = options;
  if (options.rateLimit === "off" && options.rateLimitResource.length > 0) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--rate-limit-resource means something only with --rate-limit execution_count",
    );
  }
  const { defaultMaxBatchSize } = options;
  if (!Number.isInteger(defaultMaxBatchSize) || defaultMaxBatchSize > mostRows) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      `--default-max-batch-size wants a whole number up to ${mostRows}, not ${defaultMaxBatchSize}`,
    );
  }
  return {
    modelControl: options.modelControl,
    pollMs: options.pollSeconds * 1000,
    loadModels: options.loadModel,
    exitOnError: options.exitOnError,
    gpuFallback: options.gpuFallback,
    defaultMaxBatchSize,
    ...(options.rateLimit === "off" ? {} : { resources: resourcesOf(options) }),
    ...(modelMemory === undefined ? {} : { maxModelBytes: modelMemory }),
    ...(sandboxMemory === undefined ? {} : { sandboxMemoryBytes: sandboxMemory }),
    ...(sandboxDeadline === undefined ? {} : { sandboxDeadlineMs: sandboxDeadline }),
    ...(maxSequences === undefined ? {} : { maxSequences }),
    ...(maxTenantSequences === undefined ? {} : { maxTenantSequences }),
    ...(stateKey === undefined ? {} : { stateSecret: secretOf(stateKey) }),
  };
}
