import type { Digest, PortSpec } from "@longshore/core";
import type { ModelConfig } from "../configuration/index.ts";
import type { Hash, VersionFiles } from "./files.ts";

/** The content of a version. */
export interface VersionParts {
  readonly config: ModelConfig;
  readonly inputs: readonly PortSpec[];
  readonly outputs: readonly PortSpec[];
  readonly files: VersionFiles;
  /** Files that the configuration names (labels, vocabularies), with their digests. */
  readonly named: ReadonlyMap<string, string>;
  /** Models that a pipeline uses, as `<model>/<version>`, with their digests. */
  readonly models: ReadonlyMap<string, Digest>;
}

/**
 * Equal digests, equal answers: computed over every file, every model used, and the parts of the configuration that answers
 * depend on. The number of instances, the permitted tiers and the idle time of sequences are left out, so that two endpoints
 * may differ in them and still serve the same version.
 */
export async function versionDigest(parts: VersionParts, hash: Hash): Promise<Digest> {
  const { config } = parts;
  const answers = {
    inputs: parts.inputs,
    // The sizes that the configuration leaves open are in the file.
    outputs: parts.outputs.map(({ openRank: _open, ...output }) => output),
    graph: config.pipeline ? undefined : config.graph,
    pipeline: config.pipeline && { steps: config.pipeline.steps, outputs: config.pipeline.outputs },
    variants: config.variants.map(({ name, parameters, models, graph }) => ({
      name,
      parameters,
      models,
      graph,
    })),
    reshapes: [...config.inputs, ...config.outputs].flatMap(({ name, graphShape }) =>
      graphShape ? [{ name, graphShape }] : [],
    ),
    states: config.sequence?.states,
    controls: config.sequence?.controls,
  };
  const lines = [
    ...[...parts.files].map(([name, { digest }]) => `file ${name} ${digest}`),
    ...[...parts.named].map(([name, digest]) => `named ${name} ${digest}`),
    ...[...parts.models].map(([name, digest]) => `model ${name} ${digest}`),
    `configuration ${await hash(new TextEncoder().encode(sortedJson(answers)))}`,
  ].sort();
  return hash(new TextEncoder().encode(lines.join("\n")));
}

/** JSON with the keys of every object in order, so that equal data has equal text. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
