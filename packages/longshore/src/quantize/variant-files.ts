import { LongshoreError } from "@longshore/core";
import { type ModelStore, usedModels, withVariant } from "@longshore/engine";

/** A file of a repository by path, with its new content. */
export type NewFiles = Map<string, Uint8Array>;

/** File of a variant in a version folder. */
export function variantFile(variant: string): string {
  return `model.${variant}.onnx`;
}

async function configuration(store: ModelStore, model: string): Promise<string | undefined> {
  const text = await store.read(`${model}/model.yaml`);
  if (text) return new TextDecoder().decode(text);
  if (!(await store.read(`${model}/config.pbtxt`))) return undefined;
  throw new LongshoreError(
    "unsupported",
    "resolve",
    `model ${model} is configured by config.pbtxt, which knows no variants; describe it in a model.yaml instead, or name an --output for the file alone`,
  );
}

/** Pipelines between a model and the graphs that its steps run, the model itself first; a bare graph is its own only. */
export async function modelsInside(store: ModelStore, model: string): Promise<readonly string[]> {
  const found = new Set<string>();
  const visit = async (name: string): Promise<void> => {
    if (found.has(name)) return;
    found.add(name);
    const text = await store.read(`${name}/model.yaml`);
    if (!text) return;
    for (const inner of usedModels(name, new TextDecoder().decode(text))) await visit(inner);
  };
  await visit(model);
  return [...found];
}

/** Adds a variant to the configuration of a model. */
export async function addVariant(
  store: ModelStore,
  files: NewFiles,
  model: string,
  variant: { readonly name: string; readonly graph?: string; readonly agreement?: number },
): Promise<void> {
  const known = files.get(`${model}/model.yaml`);
  const text = known ? new TextDecoder().decode(known) : await configuration(store, model);
  files.set(`${model}/model.yaml`, new TextEncoder().encode(withVariant(model, text, variant)));
}
