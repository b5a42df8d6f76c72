import { graphBuilder, writeModel } from "@longshore/graph";

/** Sizes of the recommendation model. Indices of users and items run from 0 to one below these. */
export const recommendationSizes: {
  readonly users: number;
  readonly items: number;
  readonly width: number;
  readonly history: number;
  readonly context: number;
  readonly candidates: number;
} = { users: 100_000, items: 50_000, width: 64, history: 20, context: 13, candidates: 50 };

const seed = 20_261_124;

/**
 * Values in [-scale, scale) from an xorshift generator (Marsaglia, 2003): ten million of them must be ready quickly, the same
 * everywhere and not constant.
 */
function noise(count: number, scale: number, salt: number): Float32Array {
  const values = new Float32Array(count);
  let state = (seed ^ Math.imul(salt, 0x9e3779b1)) | 1;
  for (let index = 0; index < count; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[index] = (state / 2_147_483_648) * scale;
  }
  return values;
}

/**
 * A two-tower recommender with an embedding table for users and one for items, as ONNX bytes (38 MB, nearly all of it
 * tables). The user tower joins the user's embedding, the mean of the items in the history and the context; the item
 * tower works on each candidate; a score is the sigmoid of their product. The weights are generated, not trained.
 */
export function recommendationModel(): Uint8Array {
  const { users, items, width, history, context, candidates } = recommendationSizes;
  const build = graphBuilder();
  let salt = 0;
  const weights = (name: string, ...shape: readonly number[]): string => {
    const count = shape.reduce((product, size) => product * size, 1);
    const fanIn = shape.length > 1 ? (shape[0] ?? 1) : 1;
    const scale = name.endsWith("table") ? 1 : Math.sqrt(3 / fanIn);
    return build.weights(name, "FP32", shape, noise(count, scale, ++salt));
  };
  const constant = (name: string, ...values: readonly number[]): string =>
    build.weights(name, "INT64", [values.length], BigInt64Array.from(values, BigInt));

  const user = build.input("user", "INT64", ["batch"]);
  const past = build.input("history", "INT64", ["batch", history]);
  const now = build.input("context", "FP32", ["batch", context]);
  const offered = build.input("candidates", "INT64", ["batch", candidates]);
  const userTable = weights("user_table", users, width);
  const itemTable = weights("item_table", items, width);

  const known = build.node("Gather", [userTable, user]);
  const taste = build.node("ReduceMean", [build.node("Gather", [itemTable, past])], {
    attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
  });
  const mood = build.node("Relu", [build.node("MatMul", [now, weights("context_weights", context, width)])]);
  const joined = build.node("Concat", [known, taste, mood], { attributes: { axis: { int: 1 } } });
  const hidden = build.node("Relu", [build.node("MatMul", [joined, weights("user_hidden", 3 * width, 256)])]);
  const wish = build.node("MatMul", [hidden, weights("user_out", 256, width)]);

  const things = build.node("Gather", [itemTable, offered]);
  const seen = build.node("Relu", [build.node("MatMul", [things, weights("item_hidden", width, 128)])]);
  const goods = build.node("MatMul", [seen, weights("item_out", 128, width)]);

  const column = build.node("Unsqueeze", [wish, constant("last", 2)]);
  const product = build.node("Squeeze", [build.node("MatMul", [goods, column]), constant("second", 2)]);
  build.node("Sigmoid", [product], { outputs: ["scores"] });
  build.output("scores", "FP32", ["batch", candidates]);
  return writeModel(build.model({ name: "recommendation" }));
}
