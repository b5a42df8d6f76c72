import { doubleDescription, doubleEndpoint } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall } from "../../words/base/index.ts";
import type { InferenceRequest } from "../../wire/endpoint/index.ts";
import { endCut, startCut } from "../../words/model/index.ts";
import {
  joinElements,
  numericTensor,
  numericView,
  splitElements,
  type Tensor,
} from "../../words/tensor/index.ts";
import { runStep, type RemoteStep } from "./remote-step.ts";

const segment = {
  model: "p",
  version: "1",
  digest: "sha256:p",
  variant: "default",
  from: startCut,
  to: "one",
};
const step: RemoteStep = {
  segment,
  agreementRatio: 1,
  there: { ...segment, model: "m", digest: "foreign:m", to: endCut },
  step: { id: "one", run: { model: "m" }, inputs: { x: "lines", by: "factor" }, forEach: "lines" },
  outputs: [{ name: "one.y", datatype: "INT32", shape: [-1] }],
  several: false,
};
const ints = (name: string, ...values: number[]): Tensor =>
  numericTensor(name, "INT32", [values.length], Int32Array.from(values));

function asked(...lines: readonly Tensor[]): InferenceRequest {
  const joined = joinElements("lines", lines, { datatype: "INT32", shape: [-1] });
  return {
    segment,
    inputs: new Map([
      ["lines", joined],
      ["factor", ints("factor", 2)],
    ]),
    codecs: {},
    sequence: { id: "s", step: 0, end: false, wantState: false },
  };
}

function endpoint(gives = "y") {
  const description = doubleDescription({ name: "m", digest: "foreign:m" });
  return doubleEndpoint(
    [
      {
        description,
        run(inputs) {
          const [x, by] = [numericView(inputs.get("x")!), numericView(inputs.get("by")!)];
          return new Map([[gives, ints(gives, ...[...x].map((value) => Number(value) * Number(by[0])))]]);
        },
      },
    ],
    { id: "there" },
  );
}

it("sends one request for each element of a list whose elements differ in shape, each with its own key and no sequence", async () => {
  const there = endpoint();
  const call = { ...housekeepingCall("test"), idempotencyKey: "k" };
  const lines = Array.from({ length: 12 }, (_, at) => ints("", ...Array.from({ length: at % 4 }, () => at)));
  const { outputs, account } = await runStep(there, step, asked(...lines), call);
  const given = splitElements(outputs.get("one.y")!).map((one) => [...numericView(one)]);
  expect(given).toEqual(lines.map((one) => [...numericView(one)].map((value) => Number(value) * 2)));
  expect(new Set(there.requests.map((one) => one.call.idempotencyKey)).size).toBe(12);
  expect(there.requests.every(({ request }) => request.sequence === undefined)).toBe(true);
  expect(account).toMatchObject({ endpoint: "there", segment });
});

it("gives an empty list of the right rank where there are no elements, and asks nobody", async () => {
  const there = endpoint();
  const { outputs } = await runStep(there, step, asked(), housekeepingCall("test"));
  expect([outputs.get("one.y")!.spec.shape, there.requests.length]).toEqual([[0, -1], 0]);
});

it("says of which element an endpoint gave no answer", async () => {
  await expect(
    runStep(endpoint("z"), step, asked(ints("", 1)), housekeepingCall("test")),
  ).rejects.toMatchObject({ reason: "bad-reply", message: "there did not give one.y of element 0" });
});
