import { type Call, type Json, LongshoreError } from "@longshore/core";
import { goldenFile, inSteps } from "@longshore/core/internal";
import type { Artifact } from "../runtime/index.ts";
import { badConfiguration, isFileName } from "../configuration/index.ts";
import { linesOf } from "./lines.ts";
import type { ModelStore } from "./source.ts";

/** Digest of some bytes as `sha256:<hex>`. */
export type Hash = (bytes: Uint8Array) => Promise<string>;

/** Files of one version by their path inside its folder, with their digests. */
export type VersionFiles = ReadonlyMap<string, { readonly digest: string; readonly byteLength: number }>;

const maxFiles = 1000;
const maxDepth = 4;
/** Measured facts about a version are no part of it. */
export const profileFile = "profile.json";

/** The profile of runs on an accelerator, such as `profile.cuda.json`. */
export function acceleratorProfileFile(provider: string): string {
  return `profile.${provider}.json`;
}

const profiles = /^profile(\.[a-z][a-z0-9-]{0,31})?\.json$/;

/** Reads and digests every file of a version folder but its profiles and its golden inputs. */
export async function digestFiles(
  store: ModelStore,
  model: string,
  folder: string,
  hash: Hash,
): Promise<VersionFiles> {
  const found = new Map<string, { digest: string; byteLength: number }>();
  async function visit(path: string, depth: number): Promise<void> {
    for (const entry of (await store.list(`${folder}${path}`)) ?? []) {
      const inner = path === "" ? `/${entry.name}` : `${path}/${entry.name}`;
      const name = inner.slice(1);
      const hidden = entry.name.startsWith(".") || entry.name.endsWith(".tmp");
      if (entry.problem !== undefined && !hidden) {
        throw new LongshoreError(
          "invalid-model",
          "resolve",
          `model ${model} cannot be read: ${entry.problem}`,
        );
      }
      if (entry.directory) {
        if (depth < maxDepth) await visit(inner, depth + 1);
        continue;
      }
      // Hidden files and files that are still being written are no part of a version.
      if (profiles.test(name) || name === goldenFile || hidden) continue;
      if (found.size === maxFiles) {
        throw badConfiguration(model, "version folder", "", `holds more than ${maxFiles} files`);
      }
      if (entry.digest !== undefined) {
        found.set(name, { digest: entry.digest, byteLength: entry.bytes });
        continue;
      }
      const bytes = await store.read(`${folder}${inner}`);
      if (bytes) found.set(name, { digest: await hash(bytes), byteLength: bytes.byteLength });
    }
  }
  await visit("", 0);
  return found;
}

/** A model file as an artifact: read when it is loaded, and refused when it is no longer what was described. */
export function storedArtifact(
  store: ModelStore,
  path: string,
  facts: { readonly digest: string; readonly byteLength: number },
  hash: Hash,
): Artifact {
  return {
    ...facts,
    async bytes(_call: Call): Promise<Uint8Array> {
      const bytes = await store.read(path);
      if (bytes && (await hash(bytes)) === facts.digest) return bytes;
      throw new LongshoreError(
        "invalid-model",
        "resolve",
        "the model file changed or went away after it was read; load the model again",
      );
    },
  };
}

/** Reads files that a configuration names, from the version folder or else the model's own, and notes their digests. */
export interface NamedFiles {
  text(file: string, path: string): Promise<string>;
  /** Lines of a text, in steps. */
  lines(file: string, path: string): Promise<readonly string[]>;
  bytes(file: string, path: string): Promise<Uint8Array>;
  /** Named files read so far, by name. */
  readonly digests: ReadonlyMap<string, string>;
}

export function namedFiles(
  store: ModelStore,
  model: string,
  configFile: string,
  folders: readonly string[],
  hash: Hash,
  pause: () => Promise<void>,
): NamedFiles {
  const digests = new Map<string, string>();
  const read = new Map<string, Promise<Uint8Array>>();
  async function find(file: string, path: string): Promise<Uint8Array> {
    if (!isFileName(file)) {
      throw badConfiguration(
        model,
        configFile,
        path,
        `is ${JSON.stringify(file)}; it must be a file in the model's folder`,
      );
    }
    for (const folder of folders) {
      const bytes = await store.read(`${folder}/${file}`);
      if (!bytes) continue;
      digests.set(file, await hash(bytes));
      return bytes;
    }
    throw badConfiguration(model, configFile, path, `names ${file}, which is not in the model's folder`);
  }
  const bytes = (file: string, path: string): Promise<Uint8Array> => {
    const known = read.get(file) ?? find(file, path);
    read.set(file, known);
    return known;
  };
  return {
    digests,
    bytes,
    text: async (file, path) => new TextDecoder().decode(await bytes(file, path)),
    lines: async (file, path) => inSteps(linesOf(await bytes(file, path)), pause),
  };
}

/**
 * Parameters with each `<name>File` replaced by `<name>` holding the file's content: `.txt` as a list of lines, `.json`
 * as the data it is, anything else as one text.
 */
export async function resolveFileParameters(
  parameters: Readonly<Record<string, Json>>,
  files: NamedFiles,
  model: string,
  path: string,
): Promise<Readonly<Record<string, Json>>> {
  const resolved: Record<string, Json> = {};
  for (const [key, value] of Object.entries(parameters)) {
    if (!key.endsWith("File") || key === "File") {
      resolved[key] = value;
      continue;
    }
    if (typeof value !== "string") {
      throw badConfiguration(
        model,
        "model.yaml",
        `${path}.${key}`,
        `is ${JSON.stringify(value)}; expected a file name`,
      );
    }
    resolved[key.slice(0, -"File".length)] = await contentOf(value, files, model, `${path}.${key}`);
  }
  return resolved;
}

async function contentOf(file: string, files: NamedFiles, model: string, path: string): Promise<Json> {
  if (file.endsWith(".txt")) return files.lines(file, path);
  const text = await files.text(file, path);
  if (!file.endsWith(".json")) return text;
  try {
    // JSON.parse gives nothing but JSON.
    return JSON.parse(text) as Json;
  } catch (thrown) {
    throw badConfiguration(model, "model.yaml", path, `names ${file}, which is not readable as JSON`, thrown);
  }
}
