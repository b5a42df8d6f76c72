import {
  bytesElements,
  bytesTensor,
  type Call,
  type Datatype,
  float32Tensor,
  float32View,
  give,
  LongshoreError,
  numericTensor,
  type Tensor,
  type Tensors,
  tensorOf,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { artifactOf } from "./memory-model.ts";
import {
  externalWeightModel,
  identityModel,
  loopModel,
  matmulModel,
  memoryBomb,
  onnxFile,
} from "./onnx-fixtures.ts";
import { runtimeContract } from "./runtime-contract.ts";

/** How a runtime under test differs from others. */
export interface OnnxRuntimeContractOptions {
  /** Trips of a loop that keep this runtime busy for some tens of milliseconds. Default 30,000. */
  readonly busyTrips?: number;
}

const call = housekeepingCall("contract");

function abortableCall(): { readonly call: Call; readonly controller: AbortController } {
  const controller = new AbortController();
  return { call: housekeepingCall("contract", controller.signal), controller };
}

/** Two rows of three elements of every fixed-width type, with the extremes of the type among them. */
const samples: readonly (readonly [Datatype, ArrayBufferView])[] = [
  ["BOOL", Uint8Array.of(0, 1, 1, 0, 0, 1)],
  ["UINT8", Uint8Array.of(0, 1, 127, 128, 254, 255)],
  ["UINT16", Uint16Array.of(0, 1, 32767, 32768, 65534, 65535)],
  ["UINT32", Uint32Array.of(0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1)],
  ["UINT64", BigUint64Array.of(0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 2n, 2n ** 64n - 1n)],
  ["INT8", Int8Array.of(0, 1, -1, 127, -128, 64)],
  ["INT16", Int16Array.of(0, 1, -1, 32767, -32768, 64)],
  ["INT32", Int32Array.of(0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 64)],
  ["INT64", BigInt64Array.of(0n, 1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n))],
  ["FP16", Uint16Array.of(0x0000, 0x8000, 0x3c00, 0x7bff, 0x7c00, 0x0001)],
  ["FP32", Float32Array.of(0, -0, 1.5, 3.4028234663852886e38, Infinity, 1e-45)],
  ["FP64", Float64Array.of(0, -0, 1.5, Number.MAX_VALUE, -Infinity, Number.MIN_VALUE)],
];

const a = float32Tensor("a", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
const b = float32Tensor("b", [3, 2], Float32Array.of(1, 0, 0, 1, 1, 1));
const product = [4, 5, 10, 11];

function trips(count: number): Tensors {
  return tensorsOf(numericTensor("trips", "INT64", [], BigInt64Array.of(BigInt(count))));
}

function found(outputs: Tensors, name: string): Tensor {
  const tensor = outputs.get(name);
  if (!tensor) throw new Error(`the run gave no '${name}'`);
  return tensor;
}

function values(outputs: Tensors, name: string): readonly number[] {
  return [...float32View(found(outputs, name))];
}

/**
 * The contract of a runtime, and what a runtime of real ONNX files has to do beyond it: carry every datatype bit by bit,
 * tell what was wrong with a model or a run, and never change or keep memory that is not its own. Call it in a test file of
 * the runtime; it registers its tests. `make` gives a fresh runtime, which is closed afterwards.
 */
export function onnxRuntimeContract(
  name: string,
  make: () => Runtime,
  options: OnnxRuntimeContractOptions = {},
): void {
  const busyTrips = options.busyTrips ?? 30_000;

  runtimeContract(name, async () => ({
    runtime: make(),
    identity: await artifactOf(identityModel("FP32", ["rows", 3])),
    slow: { artifact: await artifactOf(loopModel()), feeds: trips(busyTrips), fetch: "total" },
    invalid: await artifactOf(new TextEncoder().encode("this is not a model")),
    finish: (promise) => promise,
  }));

  describe(`${name} runs ONNX files`, () => {
    let runtime: Runtime;
    beforeAll(() => {
      runtime = make();
    });
    afterAll(() => runtime.close());
    const load = async (bytes: Uint8Array): Promise<InferenceSession> =>
      runtime.load(await artifactOf(bytes), {}, call);

    it("reports names, datatypes and shapes, with -1 where a size varies", async () => {
      const session = await load(matmulModel());
      expect(session.inputs).toEqual([
        { name: "a", datatype: "FP32", shape: [-1, 3] },
        { name: "b", datatype: "FP32", shape: [3, 2] },
      ]);
      expect(session.outputs).toEqual([
        { name: "product", datatype: "FP32", shape: [-1, 2] },
        { name: "doubled", datatype: "FP32", shape: [-1, 2] },
      ]);
      await session.release();
    });

    it("takes any size where the model says nothing of it, and any shape where it gives none", async () => {
      const session = await load(identityModel("FP32", ["", 3, ""]));
      expect(session.inputs).toEqual([{ name: "x", datatype: "FP32", shape: [-1, 3, -1] }]);
      const x = float32Tensor("x", [1, 3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));
      expect(values(await session.run(tensorsOf(x), ["y"], call), "y")).toEqual([1, 2, 3, 4, 5, 6]);
      await session.release();
      const open = onnxFile({
        inputs: [{ name: "x", datatype: "FP32" }],
        outputs: [{ name: "y", datatype: "FP32" }],
        nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
      });
      const any = await load(open);
      expect(found(await any.run(tensorsOf(x), ["y"], call), "y").spec.shape).toEqual([1, 3, 2]);
      await any.release();
    });

    it("computes, and gives exactly the outputs that are fetched; all when none is named", async () => {
      const session = await load(matmulModel());
      const one = await session.run(tensorsOf(a, b), ["doubled"], call);
      expect([...one.keys()]).toEqual(["doubled"]);
      expect(values(one, "doubled")).toEqual(product.map((value) => value * 2));
      expect(one.get("doubled")?.spec).toEqual({ name: "doubled", datatype: "FP32", shape: [2, 2] });
      const all = await session.run(tensorsOf(b, a), [], call);
      expect([...all.keys()].sort()).toEqual(["doubled", "product"]);
      await session.release();
    });

    it.each(samples)("carries %s bit by bit", async (datatype, elements) => {
      const session = await load(identityModel(datatype));
      const x = numericTensor("x", datatype, [2, 3], elements);
      const y = found(await session.run(tensorsOf(x), ["y"], call), "y");
      expect(y.spec).toEqual({ name: "y", datatype, shape: [2, 3] });
      expect([...y.bytes]).toEqual([...x.bytes]);
      await session.release();
    });

    it("carries text, the empty one and the one beyond ASCII included", async () => {
      const session = await load(identityModel("BYTES"));
      const texts = ["", "plain", "Grüße, 世界 🚢", "\uFEFFmarked"];
      const y = found(await session.run(tensorsOf(bytesTensor("x", texts, [2, 2])), ["y"], call), "y");
      expect(y.spec).toEqual({ name: "y", datatype: "BYTES", shape: [2, 2] });
      expect(
        bytesElements(y).map((element) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(element)),
      ).toEqual(texts);
      await session.release();
    });

    it("carries tensors with no elements and views at odd offsets", async () => {
      const session = await load(identityModel("FP32"));
      const empty = await session.run(tensorsOf(float32Tensor("x", [0, 3], new Float32Array())), ["y"], call);
      expect(empty.get("y")?.spec.shape).toEqual([0, 3]);
      const room = new Uint8Array(4 * 6 + 1);
      room.set(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer), 1);
      const odd = await session.run(tensorsOf(tensorOf("x", "FP32", [2, 3], room.subarray(1))), ["y"], call);
      expect(values(odd, "y")).toEqual([1, 2, 3, 4, 5, 6]);
      await session.release();
    });

    it("takes sizes that change from run to run", async () => {
      const session = await load(matmulModel());
      for (const rows of [1, 5, 2]) {
        const many = float32Tensor("a", [rows, 3], new Float32Array(rows * 3).fill(1));
        const outputs = await session.run(tensorsOf(many, b), ["product"], call);
        expect(outputs.get("product")?.spec.shape).toEqual([rows, 2]);
        expect(values(outputs, "product")).toEqual(Array.from({ length: rows * 2 }, () => 2));
      }
      await session.release();
    });

    const wrong: readonly (readonly [string, Tensors, readonly string[], RegExp])[] = [
      ["a missing input", tensorsOf(a), [], /input 'b' is missing/],
      ["an unknown input", tensorsOf(a, b, { ...b, spec: { ...b.spec, name: "c" } }), [], /no input 'c'/],
      ["an unknown output", tensorsOf(a, b), ["sum"], /no output 'sum'/],
      [
        "another datatype",
        tensorsOf(numericTensor("a", "FP64", [2, 3], new Float64Array(6)), b),
        [],
        /'a' is FP64; the model takes FP32/,
      ],
      ["another rank", tensorsOf(float32Tensor("a", [6], new Float32Array(6)), b), [], /'a' has shape \[6\]/],
      [
        "another size",
        tensorsOf(float32Tensor("a", [3, 2], new Float32Array(6)), b),
        [],
        /'a' has shape \[3, 2\]; the model takes \[any, 3\]/,
      ],
      [
        "a negative size",
        tensorsOf({ ...a, spec: { ...a.spec, shape: [-2, 3] } }, b),
        [],
        /'a' has shape \[-2, 3\]/,
      ],
      ["a ragged input", tensorsOf({ ...a, rows: Int32Array.of(3, 3) }, b), [], /'a' is ragged/],
    ];
    it.each(wrong)("refuses %s and names the problem", async (_, feeds, fetches, message) => {
      const session = await load(matmulModel());
      await expect(session.run(feeds, fetches, call)).rejects.toMatchObject({
        reason: "invalid-input",
        message: expect.stringMatching(message) as string,
      });
      // and goes on
      expect(values(await session.run(tensorsOf(a, b), ["product"], call), "product")).toEqual(product);
      await session.release();
    });

    it("refuses bytes that do not make the shape", async () => {
      const session = await load(matmulModel());
      const short: Tensor = { ...a, bytes: a.bytes.subarray(4) };
      await expect(session.run(tensorsOf(short, b), [], call)).rejects.toMatchObject({
        reason: "body-mismatch",
      });
      await session.release();
    });

    const broken: readonly (readonly [string, Uint8Array])[] = [
      ["nothing", new Uint8Array()],
      ["text", new TextEncoder().encode("this is not a model")],
      ["a truncated file", matmulModel().subarray(0, 70)],
      [
        "an operator that does not exist",
        onnxFile({
          inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
          outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
          nodes: [{ op: "NoSuchOperator", inputs: ["x"], outputs: ["y"] }],
        }),
      ],
      ["weights in another file", externalWeightModel("package.json", 10)],
    ];
    it.each(broken)("refuses to load %s", async (_, bytes) => {
      await expect(load(bytes)).rejects.toMatchObject({ reason: "invalid-model" });
    });

    it("refuses element types that it cannot carry", async () => {
      await expect(load(identityModel("BF16"))).rejects.toMatchObject({ reason: "unsupported" });
    });

    it("says that a run failed, without paths, and goes on", async () => {
      const session = await load(memoryBomb(1, true));
      const size = (side: bigint): Tensors =>
        tensorsOf(numericTensor("size", "INT64", [2], BigInt64Array.of(side, side)));
      const failed = await session.run(size(-5n), ["y"], call).catch((thrown: unknown) => thrown);
      expect(failed).toMatchObject({ reason: "run-failed" });
      expect((failed as Error).message).not.toMatch(/\/\w+\/|\.cc\b/);
      expect(values(await session.run(size(1n), ["y"], call), "y")).toEqual([1]);
      await session.release();
    });

    it("loads nothing when the call has ended before", async () => {
      const { call: over, controller } = abortableCall();
      controller.abort();
      await expect(runtime.load(await artifactOf(matmulModel()), {}, over)).rejects.toMatchObject({
        reason: "cancelled",
      });
    });

    it("rejects at once when the call ends during the load, and stays usable", async () => {
      const { call: ending, controller } = abortableCall();
      const loading = runtime.load(await artifactOf(matmulModel()), {}, ending);
      controller.abort();
      await expect(loading).rejects.toMatchObject({ reason: "cancelled" });
      const session = await load(matmulModel());
      expect(values(await session.run(tensorsOf(a, b), ["product"], call), "product")).toEqual(product);
      await session.release();
    });

    it("rejects at once when the call ends during a run, and is idle only when the run has ended", async () => {
      const session = await load(loopModel());
      const { call: ending, controller } = abortableCall();
      let idle = false;
      const run = session.run(trips(busyTrips), ["total"], ending);
      const becameIdle = session.idle().then(() => {
        idle = true;
      });
      controller.abort(new LongshoreError("deadline-exceeded", "execute", "too late"));
      await expect(run).rejects.toMatchObject({ reason: "deadline-exceeded" });
      expect(idle).toBe(false);
      await becameIdle;
      expect(values(await session.run(trips(3), ["total"], call), "total")).toEqual([3]);
      await session.release();
    });

    it("runs one at a time, in order, and lets go of a waiting run whose call ends", async () => {
      const session = await load(loopModel());
      const order: number[] = [];
      const run = async (count: number, under: Call): Promise<readonly number[]> => {
        const outputs = await session.run(trips(count), ["total"], under);
        order.push(count);
        return values(outputs, "total");
      };
      const { call: ending, controller } = abortableCall();
      const all = [run(2000, call), run(7, ending), run(5, call), run(1, call)];
      controller.abort();
      const settled = await Promise.allSettled(all);
      expect(settled.map((one) => (one.status === "fulfilled" ? one.value[0] : "ended"))).toEqual([
        2000,
        "ended",
        5,
        1,
      ]);
      expect(order).toEqual([2000, 5, 1]);
      await session.idle();
      await session.release();
    });

    it("gives outputs that belong to the caller and stay as they are", async () => {
      const session = await load(matmulModel());
      const first = await session.run(tensorsOf(a, b), ["product"], call);
      const twice = float32Tensor(
        "a",
        [2, 3],
        float32View(a).map((value) => value * 2),
      );
      const second = await session.run(tensorsOf(twice, b), ["product"], call);
      expect(values(first, "product")).toEqual(product);
      found(first, "product").bytes.fill(0);
      expect(values(second, "product")).toEqual(product.map((value) => value * 2));
      await session.release();
    });

    it("leaves borrowed inputs whole, and takes given ones", async () => {
      const session = await load(identityModel("FP32"));
      const elements = new Float32Array(128 * 128).map((_, index) => index);
      const borrowed = float32Tensor("x", [128, 128], elements);
      for (let round = 0; round < 3; round++) {
        expect(values(await session.run(tensorsOf(borrowed), ["y"], call), "y")).toEqual([...elements]);
      }
      const part = float32Tensor("x", [1, 128], elements.subarray(128, 256));
      expect(values(await session.run(tensorsOf(give(part)), ["y"], call), "y")).toEqual([
        ...elements.subarray(128, 256),
      ]);
      expect(elements.length).toBe(128 * 128);
      const whole = float32Tensor("x", [128, 128], elements.slice());
      expect(values(await session.run(tensorsOf(give(whole)), ["y"], call), "y")).toEqual([...elements]);
      await session.release();
    });

    it("takes one memory given for two inputs", async () => {
      const square = onnxFile({
        inputs: ["l", "r"].map((name) => ({ name, datatype: "FP32" as const, shape: [100, 100] })),
        outputs: [{ name: "y", datatype: "FP32", shape: [100, 100] }],
        nodes: [{ op: "Add", inputs: ["l", "r"], outputs: ["y"] }],
      });
      const session = await load(square);
      const elements = new Float32Array(10_000).fill(2);
      const feeds = tensorsOf(
        give(float32Tensor("l", [100, 100], elements)),
        give(float32Tensor("r", [100, 100], elements)),
      );
      expect(values(await session.run(feeds, ["y"], call), "y")).toEqual(
        Array.from({ length: 10_000 }, () => 4),
      );
      await session.release();
    });

    it("closes with its sessions and loads no more", async () => {
      const closing = make();
      const session = await closing.load(await artifactOf(loopModel()), {}, call);
      const run = session.run(trips(1000), ["total"], call);
      await closing.close();
      await closing.close();
      expect(values(await run, "total")).toEqual([1000]);
      await expect(session.run(trips(1), ["total"], call)).rejects.toMatchObject({ reason: "run-failed" });
      await expect(closing.load(await artifactOf(loopModel()), {}, call)).rejects.toMatchObject({
        reason: "shutting-down",
      });
    });
  });
}
