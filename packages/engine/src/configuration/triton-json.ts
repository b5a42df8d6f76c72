import type { Json } from "@longshore/core";
import { parseJson, read } from "@longshore/core/internal";
import type { ModelConfig } from "./config.ts";
import { badConfiguration } from "./names.ts";
import { tritonModelConfig } from "./triton-config.ts";
import { decodeTritonJson } from "./triton-schema.ts";
import { TextProtoError } from "./text-proto.ts";

/** The largest configuration that is read, in characters. */
const mostCharacters = 1 << 20;
/** The most JSON values in one: it is parsed without pauses. */
const mostValues = 65_536;

/**
 * Reads Triton's `ModelConfig` in the JSON of Protocol Buffers: field names as in the file or in camel case, integers also
 * as strings. Throws `invalid-configuration`, or `unsupported` for another backend.
 */
export function parseTritonJson(model: string, text: string): ModelConfig {
  const bad = (problem: string, cause?: unknown): Error =>
    badConfiguration(model, "config.json", "", problem, cause);
  if (text.length > mostCharacters)
    throw bad(`has ${text.length} characters; at most ${mostCharacters} are read`);
  let fields: { readonly [field: string]: Json };
  try {
    const object = read.objectAt(
      parseJson(new TextEncoder().encode(text), "the configuration", mostValues),
      "the configuration",
    );
    // JSON.parse returns JSON.
    fields = decodeTritonJson(object as { readonly [field: string]: Json });
  } catch (thrown) {
    const detail =
      thrown instanceof TextProtoError || thrown instanceof Error ? thrown.message : String(thrown);
    throw bad(detail, thrown);
  }
  return tritonModelConfig(model, fields);
}
