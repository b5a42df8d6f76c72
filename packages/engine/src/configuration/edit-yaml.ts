import { Document, isSeq, parseDocument } from "yaml";
import { parseModelYaml } from "./model-yaml.ts";
import { defaults } from "./config.ts";
import { badConfiguration } from "./names.ts";

/** A variant to be written into a model.yaml. */
export interface WrittenVariant {
  readonly name: string;
  /** Another model file in the version folders. */
  readonly graph?: string;
  /** 0..1, measured; written with four digits, rounded down. */
  readonly agreement?: number;
}

/** Digits that an agreement is written with. */
const digits = 1e4;

/**
 * The text of a model.yaml with a variant added, or replaced if one has the same name. All other text stays, comments included.
 * A configuration without variants gets its default one first. Throws `invalid-configuration` if the text is not a
 * configuration, and for the name of the first variant, since agreements of the others are measured against it.
 */
export function withVariant(model: string, text: string | undefined, variant: WrittenVariant): string {
  const document = text === undefined ? new Document({ name: model }) : parseDocument(text);
  const { variants } = parseModelYaml(model, document.toString());
  const written = {
    name: variant.name,
    ...(variant.graph === undefined ? {} : { graph: variant.graph }),
    ...(variant.agreement === undefined
      ? {}
      : { agreement: Math.floor(variant.agreement * digits) / digits }),
  };
  if (!isSeq(document.get("variants"))) {
    document.set(
      "variants",
      document.createNode(defaults.variants.map(({ name }) => flow(document, { name }))),
    );
  }
  const at = variants.findIndex(({ name }) => name === variant.name);
  if (at === 0) {
    const why = `is ${JSON.stringify(variant.name)}, which other variants are measured against: give the new one another name`;
    throw badConfiguration(model, "model.yaml", "variants[0].name", why);
  }
  if (at < 0) document.setIn(["variants", Math.max(1, variants.length)], flow(document, written));
  else for (const [key, value] of Object.entries(written)) document.setIn(["variants", at, key], value);
  const result = document.toString({ lineWidth: 0 });
  parseModelYaml(model, result);
  return result;
}

/** A map on one line, as variants are written. */
function flow(document: Document, value: object): unknown {
  return document.createNode(value, { flow: true });
}

/** Names of the models that the steps of a model.yaml run, and of those that its variants run instead. */
export function usedModels(model: string, text: string): readonly string[] {
  const { pipeline, variants } = parseModelYaml(model, text);
  const steps = pipeline?.steps.flatMap((step) => step.model ?? []) ?? [];
  return [...new Set([...steps, ...variants.flatMap(({ models }) => Object.values(models))])];
}
