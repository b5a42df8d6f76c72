import {
  doubleDescription,
  doubleEndpoint,
  type DoubleModel,
  manualClock,
  wrapperContract,
} from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, silentObserver } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest } from "../../wire/endpoint/index.ts";
import { numericTensor, tensorsOf } from "../../words/tensor/index.ts";
import { withStepModels } from "./step-models.ts";

const call = housekeepingCall("test");
const spec = (name: string) => ({ name, datatype: "UINT8", shape: [1] }) as const;
const byte = (name: string, value: number) => numericTensor(name, "UINT8", [1], Uint8Array.of(value));

wrapperContract("that offers steps of pipelines", {
  wrap(inner) {
    const local = doubleEndpoint([], { id: "device" });
    const parts = { local, endpoints: [inner], clock: manualClock(), observer: silentObserver };
    return withStepModels(parts).endpoints[0]!;
  },
  removes: ["known"],
});

/** A pipeline of two inputs, whose step `look` takes one of them to the model `far` of other endpoints. */
function pipeline(name: string, digit: string): DoubleModel {
  const ports = { inputs: [spec("in")], outputs: [spec("out")] };
  const look = { id: "look", run: { model: "far", elsewhere: ports }, inputs: { in: "x" } };
  return {
    description: doubleDescription({
      name,
      digest: `sha256:${digit.repeat(64)}`,
      inputs: [spec("x"), spec("private")],
      outputs: [spec("y")],
      variants: [
        {
          name: "default",
          agreementRatio: 1,
          body: { kind: "pipeline", steps: [look], outputs: { y: "look.out" } },
        },
      ],
    }),
    run: (inputs) => inputs,
  };
}

function world(models: DoubleModel[]) {
  const far = doubleDescription({
    name: "far",
    digest: "foreign:far",
    inputs: [spec("in")],
    outputs: [spec("out")],
  });
  // For any request.
  const everything = (name: string): DoubleModel => ({
    description: { ...far, name },
    run: () => tensorsOf(byte("out", 7)),
  });
  const there = doubleEndpoint([everything("far"), everything("find")], {
    id: "there",
    kind: "oip",
    offers: false,
  });
  const streaming: Endpoint = {
    ...there,
    describe: async (model, ...own) => (model === "far" ? there.describe(model, ...own) : undefined),
    capabilities: {
      async *inferStream(request, own) {
        yield await there.infer(request, own);
      },
    },
  };
  const { endpoints } = withStepModels({
    local: doubleEndpoint(models, { id: "device" }),
    endpoints: [streaming],
    clock: manualClock(),
    observer: silentObserver,
  });
  return { there, endpoint: endpoints[0]! };
}

function asked({ description: { name, digest } }: DoubleModel): InferenceRequest {
  return {
    segment: { model: name, version: "1", digest, variant: "default", from: "start", to: "look" },
    inputs: tensorsOf(byte("x", 1), byte("private", 2)),
    codecs: {},
  };
}

async function answers(endpoint: Endpoint, request: InferenceRequest): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { outputs } of endpoint.capabilities!.inferStream!(request, call))
    names.push(...outputs.keys());
  return names;
}

it("sends nothing of a request that was planned for a pipeline as it is no more", async () => {
  const old = pipeline("find", "1");
  const models = [old];
  const { there, endpoint } = world(models);
  await endpoint.describe("find", undefined, call);
  expect([...(await endpoint.infer(asked(old), call)).outputs.keys()]).toEqual(["look.out"]);
  expect(await answers(endpoint, asked(old))).toEqual(["look.out"]);
  expect(there.requests.map(({ inputs }) => [...inputs.keys()])).toEqual([["in"], ["in"]]);
  models[0] = pipeline("find", "2");
  await endpoint.offers({ model: "find" }, call);
  const refused = { reason: "unknown-version" };
  await expect(endpoint.infer(asked(old), call)).rejects.toMatchObject(refused);
  await expect(answers(endpoint, asked(old))).rejects.toMatchObject(refused);
  expect(there.requests).toHaveLength(2);
  expect([...(await endpoint.infer(asked(models[0]), call)).outputs.keys()]).toEqual(["look.out"]);
});

it("looks up a pipeline again that was forgotten among very many", async () => {
  const models = Array.from({ length: 300 }, (_, index) =>
    pipeline(index === 0 ? "find" : `find-${index}`, "1"),
  );
  const { there, endpoint } = world(models);
  for (const { description } of models) await endpoint.describe(description.name, undefined, call);
  const { outputs } = await endpoint.infer(asked(models[0]!), call);
  expect([...outputs.keys()]).toEqual(["look.out"]);
  expect(there.requests.map(({ inputs }) => [...inputs.keys()])).toEqual([["in"]]);
});
