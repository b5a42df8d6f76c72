import { LongshoreError } from "@longshore/core";
import { type Command, Option } from "commander";
import { readFileSync } from "node:fs";
import { cacheFolderOf } from "../engine/cache-folder.ts";
import type { ModelControl } from "../engine/model-control.ts";
import type { BatchingMode } from "../engine/open-engine.ts";
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
  readonly linkRoot: readonly string[];
  readonly gpuFallback: boolean;
  readonly defaultMaxBatchSize: number;
  readonly batching: BatchingMode;
  /** Undefined: beside other programs' caches of this user; false: none. */
  readonly cacheDir?: string | false;
  readonly warmUp: number;
  readonly sandboxMemory?: number;
  readonly sandboxDeadline?: number;
  readonly maxSequences?: number;
  readonly maxTenantSequences?: number;
  readonly stateKey?: string;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** Adds them. `number` reads a number of at least the given value. */
export function repositoryOptions(
  command: Command,
  number: (name: string, least: number) => (text: string) => number,
): Command {
  return command
    .addOption(
      new Option(
        "--model-control <mode>",
        "which models are served: all on first use, all with changes, or those that are loaded",
      )
        .choices(["none", "poll", "explicit"])
        .default("none"),
    )
    .option("--poll-seconds <s>", "seconds between reads of the repository", number("poll-seconds", 0.1), 15)
    .option("--load-model <name>", "model to load at the start; repeat for several, '*' for all", collect, [])
    .option(
      "--no-exit-on-error",
      "serve the other models if one cannot be loaded at the start; the server stays unready",
    )
    .addOption(
      new Option("--rate-limit <mode>", "make runs wait for the resources that models name")
        .choices(["off", "execution_count"])
        .default("off"),
    )
    .option("--rate-limit-resource <name:count>", "amount of a resource; repeat for several", collect, [])
    .option(
      "--model-memory <bytes>",
      "memory of loaded models; the least recently used are unloaded",
      number("model-memory", 1),
    )
    .option(
      "--default-max-batch-size <n>",
      "max_batch_size of an ONNX file without configuration; Triton has 4",
      number("default-max-batch-size", 0),
      0,
    )
    .addOption(
      new Option(
        "--batching <mode>",
        "batch models that say nothing of it: where trial runs show equal answers and a gain, or never",
      )
        .choices(["auto", "off"])
        .default("auto"),
    )
    .option(
      "--cache-dir <folder>",
      "folder for measured verdicts and compiled code (default: longshore in $XDG_CACHE_HOME or ~/.cache)",
    )
    .option("--no-cache-dir", "keep nothing between starts")
    .option(
      "--warm-up <ms>",
      "longest warm-up before the server is ready, in which it serves itself; 0 for none",
      number("warm-up", 0),
      1000,
    )
    .option(
      "--link-root <folder>",
      "folder outside the repository into which symbolic links may lead; repeat for several",
      collect,
      [],
    )
    .option("--gpu-fallback", "run models that want a GPU on CPUs", false)
    .option("--sandbox-memory <bytes>", "memory of an untrusted model", number("sandbox-memory", 1))
    .option("--sandbox-deadline <ms>", "longest run of an untrusted model", number("sandbox-deadline", 1))
    .option("--max-sequences <n>", "live sequences", number("max-sequences", 1))
    .option("--max-tenant-sequences <n>", "live sequences of one tenant", number("max-tenant-sequences", 1))
    .option(
      "--state-key <file>",
      "file with the secret that seals exported state; equal on servers that share sequences",
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

/** The options for a server. */
export function repositoryServeOptions(
  options: RepositoryOptions,
  environment: Readonly<Record<string, string | undefined>>,
): Partial<ServeOptions> {
  const cacheFolder = cacheFolderOf(options, environment);
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
    batching: options.batching,
    warmUpMs: options.warmUp,
    ...(cacheFolder === undefined ? {} : { cacheFolder }),
    ...(options.rateLimit === "off" ? {} : { resources: resourcesOf(options) }),
    ...(modelMemory === undefined ? {} : { maxModelBytes: modelMemory }),
    ...(sandboxMemory === undefined ? {} : { sandboxMemoryBytes: sandboxMemory }),
    ...(sandboxDeadline === undefined ? {} : { sandboxDeadlineMs: sandboxDeadline }),
    ...(maxSequences === undefined ? {} : { maxSequences }),
    ...(maxTenantSequences === undefined ? {} : { maxTenantSequences }),
    ...(stateKey === undefined ? {} : { stateSecret: secretOf(stateKey) }),
  };
}
