import { type Call, LongshoreError, type ModelKnowledge, type Variant } from "@longshore/core";
import type { Api } from "./parts.ts";

/** The error for a model that does not exist, and for one that the sender may not see: the two must not differ. */
export function unknownModel(model: string): LongshoreError {
  // Clients of Triton look for its first words.
  return new LongshoreError(
    "unknown-model",
    "resolve",
    `Request for unknown model: there is no model '${model}' here`,
  );
}

/** Looks up a model at the endpoint, synchronously if nothing must be awaited. Throws `unknown-model` or `unknown-version`. */
export function findModel(
  api: Pick<Api, "endpoint">,
  model: string,
  version: string | undefined,
  call: Call,
): ModelKnowledge | Promise<ModelKnowledge> {
  return api.endpoint.capabilities.known?.(model, version, call) ?? describedModel(api, model, version, call);
}

async function describedModel(
  api: Pick<Api, "endpoint">,
  model: string,
  version: string | undefined,
  call: Call,
): Promise<ModelKnowledge> {
  const found = await api.endpoint.describe(model, version, call);
  if (found) return found;
  const other = version === undefined ? undefined : await api.endpoint.describe(model, undefined, call);
  if (other) {
    throw new LongshoreError(
      "unknown-version",
      "resolve",
      `model '${model}' has no version '${version}' here`,
    );
  }
  throw unknownModel(model);
}

/** A variant by name, or the default one. Throws `unknown-variant`. */
export function findVariant({ description }: ModelKnowledge, name: string | undefined): Variant {
  const variant =
    name === undefined ? description.variants[0] : description.variants.find((one) => one.name === name);
  if (!variant) {
    const known = description.variants.map((one) => one.name).join(", ");
    throw new LongshoreError(
      "unknown-variant",
      "resolve",
      `model '${description.name}' has no variant '${name ?? ""}'; it has: ${known}`,
    );
  }
  return variant;
}
