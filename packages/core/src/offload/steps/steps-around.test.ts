import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, LongshoreError, silentObserver } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest } from "../../wire/endpoint/index.ts";
import { numericTensor, tensorsOf } from "../../words/tensor/index.ts";
import { stepsAround } from "./steps-around.ts";

const call = housekeepingCall("test");
const spec = (name: string) => ({ name, datatype: "UINT8", shape: [1] }) as const;
const byte = (name: string, value: number) => numericTensor(name, "UINT8", [1], Uint8Array.of(value));

const ports = { inputs: [spec("in")], outputs: [spec("out")] };
const look = { id: "look", run: { model: "far", elsewhere: ports }, inputs: { in: "x" } };
const description = doubleDescription({
  name: "find",
  digest: "sha256:find",
  inputs: [spec("x")],
  outputs: [spec("y")],
  variants: [
    {
      name: "default",
      agreementRatio: 1,
      body: { kind: "pipeline", steps: [look], outputs: { y: "look.out" } },
    },
  ],
});
const local = doubleEndpoint([{ description, run: () => tensorsOf(byte("y", 7)) }], { id: "device" });
const request: InferenceRequest = {
  segment: {
    model: "find",
    version: "1",
    digest: "sha256:find",
    variant: "default",
    from: "start",
    to: "end",
  },
  inputs: tensorsOf(byte("x", 1)),
  codecs: {},
};

function endpoint(id: string, name = "far") {
  const far = doubleDescription({ name, digest: "foreign:far", ...ports });
  return doubleEndpoint([{ description: far, run: () => tensorsOf(byte("out", 7)) }], {
    id,
    kind: "oip",
    offers: false,
  });
}

const broken = (id: string): Endpoint => ({
  ...endpoint(id),
  describe: () => Promise.reject(new LongshoreError("unreachable", "transport", `${id} is gone`)),
});

const run = (...endpoints: readonly Endpoint[]) =>
  stepsAround(local, endpoints, { clock: manualClock(), observer: silentObserver })(request, call);

it("runs a step at the first endpoint that has its model, and passes those by that cannot say", async () => {
  const [another, there, last] = [endpoint("another", "other"), endpoint("there"), endpoint("last")];
  const { outputs } = await run(broken("one"), another, broken("two"), there, last);
  expect([...outputs.keys()]).toEqual(["y"]);
  expect([another, there, last].map(({ requests: asked }) => asked.length)).toEqual([0, 1, 0]);
});

it("says why nobody could say, where no other endpoint has it", async () => {
  const gone = { reason: "unreachable", message: "two is gone" };
  await expect(run(broken("one"), broken("two"), endpoint("another", "other"))).rejects.toMatchObject(gone);
  await expect(run(endpoint("another", "other"))).rejects.toMatchObject({ reason: "no-endpoint" });
});
