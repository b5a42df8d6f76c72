import { describe, expect, it } from "vitest";
import { doubleInfo, manualClock, memoryTransport, tritonMetrics } from "@longshore/testkit";
import { housekeepingCall, seededRandom, silentObserver } from "../../words/base/index.ts";
import { codecSet, rawCodec } from "../../words/codec/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { InferReplyMessage } from "../protocol/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import type { Endpoint, InferenceRequest } from "../endpoint/index.ts";
import { readBody } from "../body/index.ts";
import { emptyBody } from "../body/index.ts";
import { type Handler, type WireResponse } from "../transport/index.ts";
import { declaredInputs } from "./foreign.ts";
import { metricsLoad } from "./load-source.ts";
import { oipEndpoint } from "./create-oip-endpoint.ts";
import type { OipEndpointParts } from "./parts.ts";

const call = housekeepingCall("test");

function connect(handler: Handler, change: Partial<OipEndpointParts> = {}): Endpoint {
  const clock = change.clock ?? manualClock();
  return oipEndpoint({
    info: { ...doubleInfo, id: "triton", offers: false },
    transport: memoryTransport(handler, { clock }),
    codecs: codecSet(rawCodec),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    ...change,
  });
}

const reply = (value: unknown, status = 200): Promise<WireResponse> =>
  Promise.resolve({
    status,
    headers: { "content-type": "application/json" },
    body: { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(value))] },
  });

const port = (name: string) => ({ name, datatype: "FP32", shape: [-1, 3] });

const asked: InferenceRequest = {
  segment: { model: "any", version: "", digest: "", variant: "default", from: "start", to: "end" },
  inputs: tensorsOf(float32Tensor("x", [1, 3], new Float32Array(3))),
  codecs: {},
};

describe("endpoint before other people's servers", () => {
  it("learns run times from Triton's statistics if no metrics have them, and promises those", async () => {
    const part = (ns: number) => ({ count: 4, ns });
    const inference_stats = { success: part(9e8), compute_input: part(0), compute_infer: part(8e7) };
    const handler: Handler = ({ path }) => {
      if (path === "/v2/models/double")
        return reply({ name: "double", versions: ["1", "2"], inputs: [port("x")], outputs: [port("y")] });
      if (path === "/v2/models/double/stats")
        return reply({ model_stats: [{ name: "double", version: "2", inference_stats }] });
      return Promise.resolve({ status: 404, headers: {}, body: emptyBody });
    };
    const load = metricsLoad({ clock: manualClock(), pages: [] });
    const triton = connect(handler, { load });
    expect(triton.capabilities.loadEveryMs?.()).toBe(1000);
    expect(await triton.offers({ model: "double" }, call)).toEqual([]);
    await triton.describe("double", undefined, call);
    const [offer, ...more] = await triton.offers({ model: "double" }, call);
    expect(more).toEqual([]);
    expect(offer).toMatchObject({ segment: { model: "double", version: "2" }, origin: "inferred" });
    expect(meanOf(offer!.completionMs)).toBe(20);
  });

  it("uses a server nevertheless that answers something else at the path of Triton's statistics", async () => {
    for (const statistics of [{ model_stats: [{}] }, "<html>", null]) {
      const handler: Handler = ({ path }) => {
        if (path === "/v2/models/double")
          return reply({ name: "double", versions: ["2"], inputs: [port("x")], outputs: [port("y")] });
        if (path === "/v2/models/double/stats") return reply(statistics);
        return Promise.resolve({ status: 404, headers: {}, body: emptyBody });
      };
      const server = connect(handler, { load: metricsLoad({ clock: manualClock(), pages: [] }) });
      await server.describe("double", undefined, call);
      expect(await server.offers({ model: "double" }, call)).toEqual([]);
    }
  });

  it("reads the load beside the replies of a server that says nothing in them", async () => {
    const text = tritonMetrics({ finished: 10, runSeconds: 0.5, waiting: 2 });
    const metrics: Handler = () =>
      Promise.resolve({
        status: 200,
        headers: {},
        body: { kind: "parts", parts: [new TextEncoder().encode(text)] },
      });
    const clock = manualClock();
    const pages = [{ path: "/metrics", transport: memoryTransport(metrics, { clock }) }];
    const triton = connect(() => reply({}), { clock, load: metricsLoad({ clock, pages }) });
    expect(await triton.capabilities.probe?.(0, call)).toMatchObject({ queueMs: 125, inFlight: 3 });
    expect(await triton.capabilities.probe?.(1000, call)).toBeUndefined();
    await triton.close();
  });

  it("knows that a model answers several times, and requests that only where it can", async () => {
    const tensor = {
      name: "y",
      datatype: "FP32",
      shape: [1, 3],
      parameters: {},
      bytes: new Uint8Array(12),
    } as const;
    let answers: readonly InferReplyMessage[] = [];
    const handler: Handler = async ({ path, message }) => {
      if (path.endsWith("/config")) return reply({ model_transaction_policy: { decoupled: true } });
      if (!message) return reply({ name: "any", versions: ["1"], inputs: [port("x")], outputs: [port("y")] });
      const { inputs } = await message.read();
      answers = inputs.map(({ bytes }) => ({
        modelName: "any",
        parameters: {},
        outputs: [{ ...tensor, bytes }],
      }));
      const messages = (async function* () {
        yield* [...answers, { modelName: "any", parameters: {}, outputs: [{ ...tensor, shape: [1, 2] }] }];
      })();
      return { status: 200, headers: {}, body: emptyBody, messages };
    };
    const one = connect(handler);
    expect((await one.describe("any", undefined, call))?.description.decoupled).toBe(true);
    expect(one.capabilities.inferStream).toBeUndefined();
    const streams = memoryTransport(handler, { clock: manualClock() });
    const several = connect(handler, { streams });
    await several.describe("any", "1", call);
    const seen: unknown[] = [];
    const reading = async (): Promise<void> => {
      for await (const { outputs, account } of several.capabilities!.inferStream!(
        { ...asked, segment: { ...asked.segment, version: "1" } },
        call,
      )) {
        seen.push(outputs.get("y")?.spec.shape, account.receivedBytes);
      }
    };
    // An answer that does not fit the model's known outputs is a bad reply, whether it is the first or a later one.
    await expect(reading()).rejects.toMatchObject({ reason: "bad-reply" });
    expect(seen).toEqual([[1, 3], 12]);
    await several.close();
    await expect(
      streams.send({ method: "GET", path: "/", headers: {}, body: emptyBody }, call),
    ).rejects.toMatchObject({
      reason: "unreachable",
    });
  });

  it("sends ids of sequences as numbers to models that take numbers, and as texts elsewhere", async () => {
    const told: unknown[] = [];
    const asks = async (data_type: string, id: string, tenant = "local"): Promise<void> => {
      const control_input = [{ name: "ID", control: [{ kind: "CONTROL_SEQUENCE_CORRID", data_type }] }];
      const sequence_batching = data_type === "" ? {} : { control_input };
      const triton = connect(
        async ({ path, body }) => {
          if (path.endsWith("/config")) return reply({ sequence_batching });
          if (!path.endsWith("/infer"))
            return reply({ name: "any", versions: ["1"], inputs: [port("x")], outputs: [port("y")] });
          const text = new TextDecoder().decode(await readBody(body, { maxBytes: 10_000 }));
          // Digits as they came: numbers of JavaScript lose some.
          told.push(/"sequence_id":("?[^",}]+"?)/.exec(text)?.[1]);
          return reply({}, 503);
        },
        { wire: "json" },
      );
      await triton.describe("any", undefined, call);
      const sequence = { id, step: 0, end: false, wantState: false };
      const request = { ...asked, segment: { ...asked.segment, version: "1" }, sequence };
      await expect(triton.infer(request, { ...call, tenant })).rejects.toThrow("503");
    };
    await asks("TYPE_UINT64", "1007");
    await asks("TYPE_INT32", "18446744073709551615");
    await asks("TYPE_STRING", "1007");
    await asks("", "1007");
    expect(told).toEqual(["1007", "18446744073709551615", '"1007"', '"1007"']);
    // Of two tenants, of texts, and of what is no number for Triton.
    for (const [id, tenant] of [
      ["7", "acme"],
      ["7", "beta"],
      ["a"],
      ["07"],
      ["0"],
      ["9".repeat(20)],
    ] as const)
      await asks("TYPE_UINT64", id, tenant);
    const numbers = told.slice(4);
    expect(numbers).toEqual(numbers.map(() => expect.stringMatching(/^[1-9][0-9]{10,18}$/) as string));
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  it("accepts any outputs of a server that does not describe its models", async () => {
    const data = [1, 2, 3];
    const handler: Handler = ({ path, method }) => {
      if (method === "POST") {
        return reply({ model_name: "any", outputs: [{ name: "z", datatype: "FP32", shape: [1, 3], data }] });
      }
      if (path === "/v2/models/any") return reply({ name: "any", versions: null, inputs: [], outputs: [] });
      return reply({ detail: [{ msg: "Field required", loc: ["path"] }] }, 422);
    };
    const server = connect(handler, { wire: "json" });
    const knowledge = await server.describe("any", undefined, call);
    expect(declaredInputs(knowledge!.description)).toBeUndefined();
    const response = await server.infer(asked, call);
    expect([...float32View(response.outputs.get("z")!)]).toEqual(data);
    expect(response.load).toBeUndefined();
    await expect(server.describe("other", undefined, call)).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("Field required") as string,
    });
  });
});
