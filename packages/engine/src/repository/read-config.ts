import { LongshoreError } from "@longshore/core";
import {
  badConfiguration,
  bareConfig,
  type ModelConfig,
  parseModelYaml,
  parseTritonConfig,
  parseTritonJson,
  someNames,
} from "../configuration/index.ts";
import { overrideFile } from "./override.ts";
import type { RepositoryParts } from "./repository-parts.ts";

/** The files that may hold a model's configuration, the first that is there wins. */
const parsers: readonly [string, (model: string, text: string) => ModelConfig][] = [
  [overrideFile, parseTritonJson],
  ["model.yaml", parseModelYaml],
  ["config.pbtxt", parseTritonConfig],
];

/** Reads a model's configuration; without a file everything comes from the model itself. Throws `unknown-model` and `invalid-configuration`. */
export async function readConfig(
  { store }: RepositoryParts,
  model: string,
  names: () => Promise<readonly string[]>,
): Promise<ModelConfig> {
  const entries = await store.list(model);
  if (!entries) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      `there is no model ${model} here; there are: ${someNames(await names())}`,
    );
  }
  for (const [file, parse] of parsers) {
    if (!entries.some(({ name, directory }) => name === file && !directory)) continue;
    const bytes = (await store.read(`${model}/${file}`)) ?? new Uint8Array();
    const config = parse(model, new TextDecoder().decode(bytes));
    if (config.name === undefined || config.name === model) return config;
    throw badConfiguration(
      model,
      config.file,
      "name",
      `is ${JSON.stringify(config.name)}; it must equal the folder's name`,
    );
  }
  return bareConfig;
}
