import { Tokenizer } from "@huggingface/tokenizers";
import { LongshoreError, numericTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { flag, parseParameters, whole } from "../parameters.ts";
import { inputError, textsAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "tokenise";

const objectMessage = "allowed is the content of a tokenizer.json, an object with a model";
const schema = v.strictObject({
  tokenizer: v.looseObject({ model: v.looseObject({}, objectMessage) }, objectMessage),
  config: v.optional(v.looseObject({}, "allowed is the content of a tokenizer_config.json"), {}),
  maxLength: v.optional(whole(1, 1_000_000), 512),
  padTo: v.optional(whole(1, 1_000_000)),
  padId: v.optional(whole(0, 2 ** 31 - 1), 0),
  specialTokens: v.optional(flag(), true),
  maxCharacters: v.optional(whole(1, 100_000_000), 1_000_000),
});

/** One text as token numbers. */
interface Row {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

/**
 * The row cut to `maxLength` so that the special tokens at both ends stay, which is what models were trained on. The
 * library does not cut; the tokens of the text alone tell where the special ones begin and end.
 */
function encoded(tokenizer: Tokenizer, line: string, specialTokens: boolean, maxLength: number): Row {
  const full = tokenizer.encode(line, { add_special_tokens: specialTokens, return_token_type_ids: true });
  const row = { ids: full.ids, types: full.token_type_ids };
  if (row.ids.length <= maxLength) return row;
  if (!specialTokens) return { ids: row.ids.slice(0, maxLength), types: row.types.slice(0, maxLength) };
  const bare = tokenizer.encode(line, { add_special_tokens: false }).ids;
  const before = leadingSpecials(row.ids, bare);
  const after = row.ids.length - bare.length - before;
  const kept = Math.max(maxLength - after, 0);
  const cut = (list: readonly number[]): readonly number[] =>
    [...list.slice(0, kept), ...list.slice(list.length - after)].slice(0, maxLength);
  return { ids: cut(row.ids), types: cut(row.types) };
}

function leadingSpecials(full: readonly number[], bare: readonly number[]): number {
  const extra = full.length - bare.length;
  for (let before = 0; before <= extra; before++) {
    if (bare.every((id, index) => full[before + index] === id)) return before;
  }
  return 0;
}

/**
 * `text` BYTES [n] -> `ids`, `mask`, `types`, each INT64 [n, tokens], by the Hugging Face tokenizer whose tokenizer.json is the
 * parameter `tokenizer` (and tokenizer_config.json `config`). At most `maxLength` (512) tokens, special ones kept; several
 * texts are padded to the longest, or all to `padTo`, with `padId` under a mask of 0. Texts above `maxCharacters` (a million)
 * are refused.
 */
export const tokenise: Transform<unknown> = defineTransform({
  name,
  inputs: ["text"],
  outputs: ["ids", "mask", "types"],
  parse(parameters) {
    const parsed = parseParameters(name, schema, parameters);
    try {
      return { ...parsed, tokenizer: new Tokenizer(parsed.tokenizer, parsed.config) };
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      throw new LongshoreError(
        "invalid-configuration",
        "resolve",
        `transform ${name}: parameter tokenizer is not a tokenizer.json that can be read: ${detail}`,
        { cause },
      );
    }
  },
  specs(inputs, { padTo }) {
    const shape = [inputs.get("text")?.shape[0] ?? -1, padTo ?? -1];
    return ["ids", "mask", "types"].map((port) => ({ name: port, datatype: "INT64" as const, shape }));
  },
  run(inputs, p) {
    const lines = textsAt(inputs, "text", name);
    const characters = lines.reduce((sum, line) => sum + line.length, 0);
    if (characters > p.maxCharacters) {
      throw inputError(name, `text has ${characters} characters; at most ${p.maxCharacters} are tokenised`);
    }
    const rows = lines.map((line) =>
      encoded(p.tokenizer, line, p.specialTokens, Math.min(p.maxLength, p.padTo ?? p.maxLength)),
    );
    const width = p.padTo ?? Math.max(0, ...rows.map(({ ids }) => ids.length));
    const ids = new BigInt64Array(rows.length * width).fill(BigInt(p.padId));
    const mask = new BigInt64Array(rows.length * width);
    const types = new BigInt64Array(rows.length * width);
    for (const [row, one] of rows.entries()) {
      for (const [index, id] of one.ids.entries()) {
        ids[row * width + index] = BigInt(id);
        mask[row * width + index] = 1n;
        types[row * width + index] = BigInt(one.types[index] ?? 0);
      }
    }
    const shape = [rows.length, width];
    return tensorsOf(
      numericTensor("ids", "INT64", shape, ids),
      numericTensor("mask", "INT64", shape, mask),
      numericTensor("types", "INT64", shape, types),
    );
  },
});
