import { afterEach, describe, expect, it } from "vitest";
import {
  bytesTensor,
  codecSet,
  float32Tensor,
  float32View,
  fp16Codec,
  type Handler,
  rawCodec,
  seededRandom,
  silentObserver,
  tensorsOf,
  textElements,
  type Tensors,
} from "@longshore/core";
import { systemClock as nodeClock } from "@longshore/nodejs";
import { createHandler, listen, type Listening } from "@longshore/server";
import { doubleDescription, type DoubleEndpoint, doubleEndpoint, untyped } from "@longshore/testkit";
import { connect } from "./connect.ts";

let listening: Listening | undefined;
afterEach(async () => {
  await listening?.close(0);
  listening = undefined;
});

async function serve(): Promise<{ address: string; double: DoubleEndpoint }> {
  const double = doubleEndpoint([
    {
      description: doubleDescription({ name: "double", version: "4" }),
      run: (inputs) => {
        const x = inputs.get("x")!;
        return tensorsOf(
          float32Tensor(
            "y",
            x.spec.shape,
            float32View(x).map((value) => value * 2),
          ),
        );
      },
    },
    {
      description: doubleDescription({
        name: "greet",
        inputs: [{ name: "who", datatype: "BYTES", shape: [-1] }],
        outputs: [{ name: "text", datatype: "BYTES", shape: [-1] }],
      }),
      run: (inputs) =>
        tensorsOf(
          bytesTensor(
            "text",
            textElements(inputs.get("who")!).map((who) => `hello ${who}`),
          ),
        ),
    },
  ]);
  const clock = nodeClock();
  const codecs = codecSet(rawCodec, fp16Codec);
  const handler = createHandler({ endpoint: double, codecs, clock, observer: silentObserver });
  listening = await listen(handler, { clock, random: seededRandom(1), port: 0 });
  return { address: listening.address, double };
}

describe("remote client", () => {
  it("runs models with an app's values: numbers, text, bytes, tensors", async () => {
    const { address, double } = await serve();
    const client = connect(address, { codecs: codecSet(rawCodec, fp16Codec) });
    const doubled = await client.infer("double", { x: Float32Array.of(1, 2, 3, 4, 5, 6) });
    expect([...float32View(doubled.outputs.get("y")!)]).toEqual([2, 4, 6, 8, 10, 12]);
    expect(doubled.outputs.get("y")?.spec.shape).toEqual([2, 3]);
    const greeted = await client.infer("greet", { who: ["Ada", "Alan"] });
    expect(textElements(greeted.outputs.get("text")!)).toEqual(["hello Ada", "hello Alan"]);
    const bytes = await client.infer("greet", { who: new TextEncoder().encode("Grace") });
    expect(textElements(bytes.outputs.get("text")!)).toEqual(["hello Grace"]);
    const tensor = float32Tensor("any", [1, 3], Float32Array.of(0.5, 1, 2));
    const coded = await client.infer("double", { x: tensor }, { codecs: { x: "fp16" }, deadlineMs: 10_000 });
    expect([...float32View(coded.outputs.get("y")!)]).toEqual([1, 2, 4]);
    expect(double.requests.at(-1)?.call.rules.dataClass).toBe("unknown");
    await client.close();
  });

  it("works with a server of the plain protocol, in JSON too", async () => {
    const { address } = await serve();
    const client = connect(address, { plain: true, wire: "json" });
    const doubled = await client.infer("double", { x: Float32Array.of(1, 2, 3) });
    expect([...float32View(doubled.outputs.get("y")!)]).toEqual([2, 4, 6]);
    expect((await client.describe("double")).version).toBe("4");
    await client.close();
  });

  it("names the problem of inputs before it sends them", async () => {
    const { address, double } = await serve();
    const client = connect(address);
    const refused: readonly [Parameters<typeof client.infer>[1], string][] = [
      [{}, "invalid-input"],
      [{ x: Float32Array.of(1, 2, 3), z: "?" }, "invalid-input"],
      [{ x: "text" }, "invalid-input"],
      [{ x: Float32Array.of(1, 2) }, "invalid-input"],
      [untyped(null), "invalid-input"],
      [{ x: untyped(null) }, "invalid-input"],
      [{ x: untyped({ spec: 1 }) }, "invalid-input"],
    ];
    for (const [inputs, reason] of refused) {
      await expect(client.infer("double", inputs)).rejects.toMatchObject({ reason });
    }
    await expect(client.infer("greet", { who: Float32Array.of(1) })).rejects.toMatchObject({
      reason: "invalid-input",
    });
    expect(double.requests).toEqual([]);
    await client.close();
  });

  it("does not remember that a model was missing", async () => {
    const { address } = await serve();
    const client = connect(address);
    await expect(client.infer("none", {})).rejects.toMatchObject({ reason: "unknown-model" });
    await expect(client.describe("none")).rejects.toMatchObject({ reason: "unknown-model" });
    await client.close();
    await expect(client.describe("double")).rejects.toMatchObject({ reason: "unreachable" });
  });

  it("ends with the caller's abort and with the deadline", async () => {
    const { address } = await serve();
    const client = connect(address);
    await client.describe("double");
    const abort = new AbortController();
    abort.abort();
    const x = Float32Array.of(1, 2, 3);
    await expect(client.infer("double", { x }, { signal: abort.signal })).rejects.toMatchObject({
      reason: "cancelled",
    });
    await expect(client.infer("double", { x }, { deadlineMs: -1 })).rejects.toMatchObject({
      reason: "deadline-exceeded",
    });
    await client.close();
  });

  it("names the problem of inputs also when the server is away", async () => {
    const { address } = await serve();
    const client = connect(address);
    await client.infer("double", { x: Float32Array.of(1, 2, 3) });
    await listening?.close(0);
    await expect(client.infer("double", { x: "text" })).rejects.toMatchObject({ reason: "invalid-input" });
    await client.close();
  });

  it("keeps deadline and abort while it reads the model's description", async () => {
    const never = (): Promise<never> => new Promise(() => undefined);
    const transport = { progress: "none", send: never, close: () => Promise.resolve() } as const;
    const client = connect("http://127.0.0.1:1", { transport });
    const x = Float32Array.of(1);
    await expect(client.infer("double", { x }, { deadlineMs: 20 })).rejects.toMatchObject({
      reason: "deadline-exceeded",
    });
    const abort = new AbortController();
    const asked = client.infer("double", { x }, { signal: abort.signal });
    abort.abort();
    await expect(asked).rejects.toMatchObject({ reason: "cancelled" });
  });

  it.each([{}, { plain: true }])("goes on with the version that replaced another (%o)", async (options) => {
    const clock = nodeClock();
    const [first, second] = ["1", "2"].map((version) => {
      const description = doubleDescription({ name: "version", version, digest: `sha256:${version}` });
      const run = (): Tensors =>
        tensorsOf(float32Tensor("y", [1, 3], new Float32Array(3).fill(Number(version))));
      const endpoint = doubleEndpoint([{ description, run }]);
      return createHandler({ endpoint, codecs: codecSet(rawCodec), clock, observer: silentObserver });
    }) as [Handler, Handler];
    let served = first;
    listening = await listen((...asked) => served(...asked), { clock, random: seededRandom(1), port: 0 });
    const client = connect(listening.address, options);
    const answer = async (): Promise<number | undefined> => {
      const { outputs } = await client.infer("version", { x: Float32Array.of(1, 2, 3) });
      return float32View(outputs.get("y")!)[0];
    };
    expect(await answer()).toBe(1);
    served = second;
    expect(await answer()).toBe(2);
    await client.close();
  });

  it.each<[string, () => unknown]>([
    ["connect takes an address such as https://host:8000; given: undefined", () => connect(undefined!)],
    ["connect takes an address such as https://host:8000; given: edge", () => connect("edge")],
    [
      "connect's options have no plan; they have plain, wire, codecs",
      () => connect("http://127.0.0.1:1", { plan: true } as object),
    ],
  ])("refuses with %s", (words, opening) => {
    expect(opening).toThrow(words);
  });

  it.each<[string, object]>([
    ["limits have no deadline; they have deadlineMs, version", { deadline: 5 }],
    ["limits.deadlineMs must be a number", { deadlineMs: "5" }],
    ["limits.signal must be an AbortSignal", { signal: 5 }],
  ])("refuses a call where %s", async (words, limits) => {
    const client = connect("http://127.0.0.1:1");
    await expect(client.infer("double", {}, limits)).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining(words),
    });
  });
});
