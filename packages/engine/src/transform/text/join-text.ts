import { bytesTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { flag, parseParameters, text } from "../parameters.ts";
import { textsAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "join-text";

const schema = v.strictObject({
  separator: v.optional(text(100), "\n"),
  skipEmpty: v.optional(flag(), true),
});

/** `texts` BYTES of any shape, ragged too -> `text` BYTES [1], joined by `separator` (a line feed), empty ones left out. */
export const joinText: Transform<unknown> = defineTransform({
  name,
  inputs: ["texts"],
  outputs: ["text"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: () => [{ name: "text", datatype: "BYTES", shape: [1] }],
  run(inputs, { separator, skipEmpty }) {
    const all = textsAt(inputs, "texts", name);
    const parts = skipEmpty ? all.filter((part) => part !== "") : all;
    return tensorsOf(bytesTensor("text", [parts.join(separator)]));
  },
});
