import { type Clock, LongshoreError } from "@longshore/core";
import { inSteps, neverAborted, steppedCopy, turnWhileWanted } from "@longshore/core/internal";
import { badConfiguration, isFileName } from "../configuration/index.ts";
import type { ModelStore } from "./source.ts";

/** Files that a load request brings, which replace those in the repository (Triton's load parameters). */
export interface FileOverride {
  /** Triton's `ModelConfig` as JSON, instead of the configuration file. */
  readonly config?: string;
  /** Files by `<version>/<name>`, instead of all files of the model. They need a `config`. */
  readonly files?: ReadonlyMap<string, Uint8Array>;
  /** Models that it may be made of; others are as if they were not there. Default: all. */
  readonly sees?: (model: string) => boolean;
}

/** Name under which a configuration from outside appears in the model's folder. */
export const overrideFile = "config.json";

/** The most bytes of files from outside, which stay in memory while the model is served. */
const mostBytes = 2 ** 30;
/** The most files from outside. */
const mostFiles = 100;

/** The model's files may be hundreds of megabytes: others have their turn while they are copied. */
async function copyOf(bytes: Uint8Array, clock: Clock): Promise<Uint8Array> {
  const copy = new Uint8Array(bytes.byteLength);
  await inSteps(steppedCopy()(copy, 0, bytes), () => turnWhileWanted(clock, neverAborted, "resolve"));
  return copy;
}

/** A store in which one model is another one. Throws `invalid-configuration` and `memory-limit`. */
export function overridden(
  store: ModelStore,
  model: string,
  { config, files }: FileOverride,
  clock: Clock,
): ModelStore {
  const bad = (path: string, problem: string): Error => badConfiguration(model, overrideFile, path, problem);
  if (files && config === undefined)
    throw bad("", "must come with the files: a file override needs a config");
  const own = new Map<string, Uint8Array>();
  let total = 0;
  for (const [path, bytes] of files ?? []) {
    const [version = ""] = path.split("/");
    if (!isFileName(path) || !path.includes("/") || !/^[1-9][0-9]{0,17}$/.test(version)) {
      throw bad(`file ${JSON.stringify(path.slice(0, 100))}`, "must be <version>/<file name>");
    }
    own.set(`${model}/${path}`, bytes);
    total += bytes.byteLength;
  }
  if (own.size > mostFiles || total > mostBytes) {
    throw new LongshoreError(
      "memory-limit",
      "resolve",
      `${own.size} files with ${total} bytes came with the load; at most ${mostFiles} with ${mostBytes} are taken`,
    );
  }
  const configPath = `${model}/${overrideFile}`;
  if (config !== undefined) own.set(configPath, new TextEncoder().encode(config));
  /** With files, nothing of the folder counts; without, only its configuration does not. */
  const hidden = (path: string): boolean =>
    path === model || path.startsWith(`${model}/`) ? files !== undefined || path === configPath : false;
  return {
    async list(path) {
      const below = hidden(path) ? [] : ((await store.list(path)) ?? []);
      const entries = new Map(below.map((entry) => [entry.name, entry]));
      const prefix = path === "" ? "" : `${path}/`;
      for (const [file, bytes] of own) {
        if (!file.startsWith(prefix)) continue;
        const [name = "", ...rest] = file.slice(prefix.length).split("/");
        const directory = rest.length > 0;
        entries.set(name, { name, directory, bytes: directory ? 0 : bytes.byteLength });
      }
      return entries.size > 0 ? [...entries.values()] : hidden(path) ? undefined : store.list(path);
    },
    async read(path) {
      const bytes = own.get(path);
      // A copy, since readers own the bytes they get.
      if (bytes) return copyOf(bytes, clock);
      return hidden(path) ? undefined : store.read(path);
    },
  };
}
