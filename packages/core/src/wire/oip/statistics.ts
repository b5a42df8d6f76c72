import { LongshoreError } from "../../words/base/index.ts";
import { type ModelFigures, read } from "../protocol/index.ts";

const { fields, list, readNumber, optional, readText } = read;

const duration = fields({ count: optional(readNumber(0)), ns: optional(readNumber(0)) });

const statistics = fields({
  model_stats: list(
    fields({
      name: readText(512),
      version: optional(readText(512)),
      inference_stats: fields({
        success: duration,
        compute_input: optional(duration),
        compute_infer: optional(duration),
        compute_output: optional(duration),
      }),
    }),
    65_536,
  ),
});

/** Triton's statistics of models, by `<model>/<version>`. Throws `invalid-input` naming the field. */
export function statisticsFigures(json: unknown): ReadonlyMap<string, ModelFigures> {
  const figures = new Map<string, ModelFigures>();
  for (const { name, version = "", inference_stats: told } of statistics(json, "statistics").model_stats) {
    const parts = [told.compute_input, told.compute_infer, told.compute_output];
    figures.set(version === "" ? name : `${name}/${version}`, {
      finished: told.success.count ?? 0,
      runMs: parts.reduce((total, one) => total + (one?.ns ?? 0), 0) / 1e6,
    });
  }
  return figures;
}

/**
 * The same for whatever the server has there; nothing if another server has something else on that path: it is used
 * nevertheless.
 */
export async function toldStatistics(
  get: () => Promise<unknown>,
): Promise<ReadonlyMap<string, ModelFigures>> {
  try {
    const json = await get();
    return json === undefined ? new Map() : statisticsFigures(json);
  } catch (thrown) {
    const { reason } = LongshoreError.from(thrown, "decode", "reading statistics");
    if (reason === "bad-reply" || reason === "invalid-input") return new Map();
    throw thrown;
  }
}
