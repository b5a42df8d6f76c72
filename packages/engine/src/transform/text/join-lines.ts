import { bytesTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { type Point, type Quadrilateral, readingLines } from "../../geometry/index.ts";
import { parseParameters, real } from "../parameters.ts";
import { floatsAt, inputError, textsAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "join-lines";

const schema = v.strictObject({ minConfidence: v.optional(real(0, 1), 0.5) });

/**
 * `texts` BYTES [n], their `boxes` FP32 [n, 4, 2] and `confidences` FP32 [n] -> `text` BYTES [1] in reading order: boxes that
 * stand side by side become one line with spaces between, lines are separated by line feeds. Texts that are empty or less
 * sure than `minConfidence` (0.5, as PaddleOCR drops them) are left out.
 */
export const joinLines: Transform<unknown> = defineTransform({
  name,
  inputs: ["texts", "boxes", "confidences"],
  outputs: ["text"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: () => [{ name: "text", datatype: "BYTES", shape: [1] }],
  run(inputs, { minConfidence }) {
    const texts = textsAt(inputs, "texts", name);
    const boxes = floatsAt(inputs, "boxes", name);
    const { values: confidences } = floatsAt(inputs, "confidences", name);
    if (boxes.values.length !== texts.length * 8 || confidences.length !== texts.length) {
      throw inputError(
        name,
        `${texts.length} texts, boxes [${boxes.shape.join(", ")}] and ${confidences.length} confidences do not go together`,
      );
    }
    const wanted = texts
      .map((text, index) => ({ text, index }))
      .filter(({ text, index }) => text !== "" && (confidences[index] ?? 0) >= minConfidence);
    const corner = (index: number, at: number): Point => ({
      x: boxes.values[index * 8 + at * 2] ?? 0,
      y: boxes.values[index * 8 + at * 2 + 1] ?? 0,
    });
    const quadrilaterals = wanted.map(({ index }): Quadrilateral => [
      corner(index, 0),
      corner(index, 1),
      corner(index, 2),
      corner(index, 3),
    ]);
    const lines = readingLines(quadrilaterals).map((line) =>
      line.map((position) => wanted[position]?.text ?? "").join(" "),
    );
    return tensorsOf(bytesTensor("text", [lines.join("\n")]));
  },
});
