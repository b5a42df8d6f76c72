import type { Json } from "@longshore/core";
import { badConfiguration, decodeTriton, parseTextProto, TextProtoError } from "../configuration/index.ts";
import type { ModelStore } from "./source.ts";

/**
 * What a model's `config.pbtxt` says, in the names of Triton's `ModelConfig`, for those who show it; undefined when there is
 * none. Maps are lists of key and value, as the text has them. Throws `invalid-configuration`.
 */
export async function writtenConfig(
  store: ModelStore,
  model: string,
): Promise<Readonly<Record<string, Json>> | undefined> {
  const file = "config.pbtxt";
  const bytes = await store.read(`${model}/${file}`);
  if (!bytes) return undefined;
  try {
    return decodeTriton(parseTextProto(new TextDecoder().decode(bytes)));
  } catch (thrown) {
    if (thrown instanceof TextProtoError) throw badConfiguration(model, file, "", thrown.message, thrown);
    throw thrown;
  }
}
