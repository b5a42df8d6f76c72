import { elementCount } from "@longshore/core/internal";
import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { hasLight, light, realFiles } from "../../test/files.ts";
import { opened, smallModels } from "../../test/models.ts";
import { call, ortRuntime } from "../../test/ort.ts";
import { withOutputs } from "../extract/index.ts";
import { elementTypeOf, graphBuilder, readModel } from "../onnx/index.ts";
import { artifactOfModel, findInputs, typesFor } from "../profile/index.ts";
import { inferTypes, type Types } from "./index.ts";

const models: Record<string, () => Uint8Array> = { ...smallModels, ...realFiles };
if (hasLight) for (const name of ["squeezenet", "shufflenet"]) models[`light ${name}`] = () => light(name);
// The runtime's answers for all inner tensors at once take long for the large ones.
delete models["ocr detect"];
delete models["ocr recognise"];

describe("inferTypes", () => {
  it.each(Object.entries(models))("says nothing of %s that a run does not show", async (_name, read) => {
    const graph = opened(read());
    const runtime = ortRuntime();
    const [inputs] = await findInputs(graph, runtime, [3], call);
    const names = graph.split.names.filter((name) => graph.split.types.get(name)?.kind !== "other");
    const session = await runtime.load(artifactOfModel(withOutputs(graph.split, names)), {}, call);
    const seen = await session.run(present(inputs), names, call);
    const exact = typesFor(
      graph.split,
      [...present(inputs).values()].map((tensor) => tensor.spec),
    );
    const contradicted = (types: Types): readonly string[] =>
      [...seen].flatMap(([name, { spec }]) => {
        const type = types.get(name);
        if (!type) return [`${name} is unknown`];
        const fits =
          type.kind === "tensor" &&
          type.element === elementTypeOf(spec.datatype) &&
          (type.shape === undefined ||
            (type.shape.length === spec.shape.length &&
              type.shape.every((size, axis) => size === -1 || size === spec.shape[axis])));
        return fits ? [] : [`${name}: ${JSON.stringify(type)} is ${JSON.stringify(spec)}`];
      });
    expect(contradicted(graph.split.types)).toEqual([]);
    expect(contradicted(exact)).toEqual([]);
    expect([...seen.values()].every(({ spec }) => elementCount(spec.shape) >= 0)).toBe(true);
  });

  it("follows shape arithmetic to the shape of a reshape", () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["batch", 6, 10]);
    const shape = build.node("Shape", [x]);
    const one = build.weights("one", "INT64", [1], BigInt64Array.of(1n));
    const half = build.node("Div", [
      build.node("Gather", [shape, one]),
      build.weights("two", "INT64", [1], BigInt64Array.of(2n)),
    ]);
    const rest = build.weights("rest", "INT64", [1], BigInt64Array.of(-1n));
    const target = build.node("Concat", [half, rest, one], { attributes: { axis: { int: 0 } } });
    build.output(build.node("Reshape", [x, target], { outputs: ["y"] }));
    const types = inferTypes(build.model({ name: "reshape" }));
    expect(types.get("y")).toMatchObject({ shape: [3, -1, 1] });
  });

  it("takes only the rank from declared shapes of inner values, because their sizes may hold for one example alone", () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["n", 2]);
    build.node("Mystery", [x], { domain: "nobody", outputs: ["m"] });
    build.output(build.node("Relu", ["m"], { outputs: ["y"] }), "FP32", [7, 2]);
    const model = build.model({ name: "declared", domains: { nobody: 1 } });
    const declared = graphBuilder();
    declared.input("m", "FP32", [7, 2]);
    model.graph!.valueInfo.push(...declared.graph("").input);
    expect(inferTypes(model).get("m")).toEqual({ kind: "tensor", element: 1, shape: [-1, -1] });
  });

  it("comes to an end on loops within loops within loops", () => {
    let body = (): ReturnType<typeof graphBuilder> => {
      const innermost = graphBuilder();
      innermost.input("t", "INT64", []);
      innermost.input("c", "BOOL", []);
      innermost.input("s", "FP32", [1]);
      innermost.output(innermost.node("Identity", ["c"], { outputs: ["c2"] }), "BOOL", []);
      innermost.output(innermost.node("Relu", ["s"], { outputs: ["s2"] }), "FP32", [1]);
      return innermost;
    };
    for (let depth = 0; depth < 20; depth++) {
      const inner = body;
      body = () => {
        const outer = graphBuilder();
        outer.input("t", "INT64", []);
        outer.input("c", "BOOL", []);
        outer.input("s", "FP32", [1]);
        outer.node("Loop", ["t", "c", "s"], {
          attributes: { body: { graph: inner().graph("body") } },
          outputs: ["s2"],
        });
        outer.output(outer.node("Identity", ["c"], { outputs: ["c2"] }), "BOOL", []);
        outer.output("s2", "FP32", [1]);
        return outer;
      };
    }
    const model = body().model({ name: "deep" });
    expect(inferTypes(model).size).toBeGreaterThan(0);
    expect(readModel).toBeTypeOf("function");
  });

  it("does not make the list for a crafted rank", () => {
    const build = graphBuilder();
    const shape = build.input("shape", "INT64", [2 ** 31 - 1]);
    const x = build.input("x", "FP32", [1]);
    build.output(build.node("Expand", [x, shape], { outputs: ["y"] }));
    expect(inferTypes(build.model({ name: "rank" })).get("y")).toEqual({
      kind: "tensor",
      element: 1,
      shape: undefined,
    });
  });
});
