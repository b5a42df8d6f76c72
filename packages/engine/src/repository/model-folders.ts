import { isModelName } from "../configuration/index.ts";
import type { ModelStore } from "./source.ts";

/** The folders of a store. */
export interface ModelFolders {
  /** Models, by name. */
  readonly models: readonly string[];
  /** Those whose name no model can have, so that nothing of them is served. Hidden folders are never models. */
  readonly ignored: readonly string[];
}

/** Looks which folders there are. */
export async function modelFolders(store: ModelStore): Promise<ModelFolders> {
  const entries = (await store.list("")) ?? [];
  const folders = entries
    .filter(({ name, directory }) => directory && !name.startsWith("."))
    .map(({ name }) => name)
    .sort();
  return { models: folders.filter(isModelName), ignored: folders.filter((name) => !isModelName(name)) };
}
