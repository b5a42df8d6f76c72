import { posix } from "node:path";
import { endCut, type ModelKnowledge, type Segment, startCut } from "@longshore/core";
import { headsName, housekeepingCall, type PackageGraph, type PackageHeads } from "@longshore/core/internal";
import type { Artifact, Engine, ModelStore } from "@longshore/engine";
import { onnxSource, outsideFiles } from "@longshore/graph";
import { sha256 } from "@longshore/nodejs";
import { openEngine } from "../engine/open-engine.ts";

/**
 * The model files of a model and the heads of each up to the cuts of its profile, as a server cuts them. A pipeline has none of
 * its own: its models have theirs. Undefined where there is no model file.
 */
export async function headsOf(store: ModelStore, model: string): Promise<PackageHeads | undefined> {
  const { engine, close } = openEngine({ store });
  const call = housekeepingCall("heads");
  try {
    const graphs: PackageGraph[] = [];
    const versions = (await engine.index()).filter(({ name }) => name === model);
    for (const { version } of versions) {
      const knowledge = await engine.describe(model, version, call);
      if (knowledge) graphs.push(...(await graphsOf(engine, store, knowledge)));
    }
    return graphs.length > 0 ? { schemaVersion: 1, graphs } : undefined;
  } finally {
    await close();
  }
}

async function graphsOf(
  engine: Engine,
  store: ModelStore,
  { description, profile }: ModelKnowledge,
): Promise<readonly PackageGraph[]> {
  const { name: model, version, variants } = description;
  const call = housekeepingCall("heads");
  const source = onnxSource({ sha256 });
  const graphs = new Map<string, PackageGraph>();
  for (const { name: variant, body } of variants) {
    if (body.kind !== "graph" || graphs.has(body.file)) continue;
    const part = (to: string): Segment => ({ model, version, digest: "", variant, from: startCut, to });
    const file = await engine.artifact(part(endCut), call);
    const signature = await source.inspect(file, call);
    const profiled = profile?.variants.find((one) => one.variant === variant)?.buckets ?? [];
    const good = new Set(profiled.flatMap(({ cuts }) => cuts.map(({ cut }) => cut.id)));
    const heads: PackageGraph["heads"][number][] = [];
    for (const cut of await source.cuts(file, call)) {
      if (!good.has(cut.id)) continue;
      const head: Artifact = await engine.artifact(part(cut.id), call);
      heads.push({ cut, digest: head.digest, bytes: head.byteLength });
    }
    graphs.set(body.file, {
      path: `${version}/${body.file}`,
      digest: file.digest,
      bytes: file.byteLength,
      beside: await besideOf(store, model, `${version}/${body.file}`),
      version,
      variant,
      ...signature,
      heads,
    });
  }
  return [...graphs.values()];
}

/** Where the weights of a model file lie that are not in it. Paths are inside the model's folder. */
async function besideOf(store: ModelStore, model: string, path: string): Promise<readonly string[]> {
  const bytes = await store.read(`${model}/${path}`);
  return bytes ? outsideFiles(bytes).map((file) => posix.join(posix.dirname(path), file)) : [];
}

/** Whether a package says what its heads are, and so is to say it again when it is signed again. */
export async function hasHeads(store: ModelStore, model: string): Promise<boolean> {
  return (await store.list(model))?.some(({ name }) => name === headsName) ?? false;
}
