import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultWireLimits, LongshoreError, type WireLimits } from "@longshore/core";
import { allSteps, type InferReplyMessage, type WireTensor } from "@longshore/core/internal";
import {
  ModelInferRequestSchema,
  ModelInferResponseSchema,
  ModelStreamInferResponseSchema,
} from "../proto/inference_pb.ts";
import type { InferInit } from "../../test/client.ts";
import {
  inferRequestWork,
  streamReplyWork,
  encodeInferReply,
  encodeInferRequest,
  encodeStreamReply,
  type Parts,
  peek,
} from "./index.ts";
import { Writer } from "./writer.ts";

const encoded = (init: InferInit): Uint8Array =>
  toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, init));
const decodeInferRequest = (bytes: Uint8Array, limits: WireLimits) =>
  allSteps(inferRequestWork(bytes, limits));
const decoded = (init: InferInit) => decodeInferRequest(encoded(init), defaultWireLimits);
const decodedReply = (bytes: Uint8Array) => allSteps(streamReplyWork(bytes, defaultWireLimits));
const joined = ({ parts }: Parts): Uint8Array => new Uint8Array(Buffer.concat(parts));

function reasonOf(act: () => unknown): unknown {
  try {
    act();
  } catch (thrown) {
    return LongshoreError.is(thrown) ? thrown.reason : thrown;
  }
  return "accepted";
}

/** The same message cut short, with some bytes changed. */
const mutatedOf = (seed: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(fc.nat(seed.length), fc.array(fc.tuple(fc.nat(seed.length - 1), fc.nat(255)), { maxLength: 4 }))
    .map(([length, changes]) => {
      const bytes = seed.slice(0, length);
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      return bytes;
    });

const input = (datatype: string, shape: readonly (number | bigint)[], contents?: object): InferInit => ({
  modelName: "m",
  inputs: [{ name: "x", datatype, shape: shape.map(BigInt), ...(contents ? { contents } : {}) }],
});

describe("requests", () => {
  it("give an output that is named twice once, in its first form", () => {
    const classes = { classification: { parameterChoice: { case: "int64Param" as const, value: 2n } } };
    const outputs = [{ name: "y", parameters: classes }, { name: "z" }, { name: "y" }];
    expect(decoded({ ...input("UINT8", [0]), outputs }).message.outputs).toEqual([
      { name: "y", binary: true, classification: 2 },
      { name: "z", binary: true },
    ]);
  });

  it("are read as another encoder writes them, with any content", () => {
    const text = fc.string({ maxLength: 60, unit: "grapheme" });
    const parameter = fc.oneof(
      fc.boolean().map((value) => [{ case: "boolParam" as const, value }, value] as const),
      fc.maxSafeInteger().map((n) => [{ case: "int64Param" as const, value: BigInt(n) }, n] as const),
      fc
        .constantFrom(2n ** 53n, 2n ** 63n - 1n, -(2n ** 53n), -(2n ** 63n))
        .map((value) => [{ case: "int64Param" as const, value }, value] as const),
      fc
        .constantFrom(2n ** 53n, 2n ** 64n - 1n)
        .map((value) => [{ case: "uint64Param" as const, value }, value] as const),
      text.map((value) => [{ case: "stringParam" as const, value }, value] as const),
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .map((value) => [{ case: "doubleParam" as const, value }, value] as const),
    );
    fc.assert(
      fc.property(
        text.filter((name) => name !== ""),
        text,
        text,
        fc.dictionary(text, parameter, { maxKeys: 4 }),
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 4 }),
        (model, version, id, parameters, raws) => {
          const request = decoded({
            modelName: model,
            modelVersion: version,
            id,
            parameters: Object.fromEntries(
              Object.entries(parameters).map(([key, [parameterChoice]]) => [key, { parameterChoice }]),
            ),
            inputs: raws.map((bytes, index) => ({
              name: `x${index}`,
              datatype: "UINT8",
              shape: [BigInt(bytes.byteLength)],
            })),
            rawInputContents: raws,
          });
          expect(request).toMatchObject({ model, version });
          expect(request.message.id ?? "").toBe(id);
          for (const [key, [, value]] of Object.entries(parameters)) {
            expect(Object.getOwnPropertyDescriptor(request.message.parameters, key)?.value).toBe(value);
          }
          expect(request.message.inputs.map(({ bytes }) => [...bytes])).toEqual(
            raws.map((bytes) => [...bytes]),
          );
        },
      ),
    );
  });

  it("make raw contents views, not copies", () => {
    const bytes = encoded({ ...input("UINT8", [4]), rawInputContents: [Uint8Array.of(1, 2, 3, 4)] });
    const [tensor] = decodeInferRequest(bytes, defaultWireLimits).message.inputs;
    expect(tensor?.bytes.buffer).toBe(bytes.buffer);
  });

  const typed: readonly [string, object, number[] | string][] = [
    ["BOOL", { boolContents: [true, false, true] }, [1, 0, 1]],
    ["INT8", { intContents: [-128, 0, 127] }, [128, 0, 127]],
    ["INT16", { intContents: [-2, 0, 258] }, [254, 255, 0, 0, 2, 1]],
    ["INT32", { intContents: [-1, 0, 65_536] }, [255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 1, 0]],
    ["UINT8", { uintContents: [0, 1, 255] }, [0, 1, 255]],
    ["UINT16", { uintContents: [0, 1, 65_535] }, [0, 0, 1, 0, 255, 255]],
    ["UINT32", { uintContents: [0, 1, 4_294_967_295] }, [0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255]],
    ["FP32", { fp32Contents: [0, 1, -2] }, [...new Uint8Array(Float32Array.of(0, 1, -2).buffer)]],
    ["FP64", { fp64Contents: [0, 1, -2] }, [...new Uint8Array(Float64Array.of(0, 1, -2).buffer)]],
    [
      "INT64",
      { int64Contents: [0n, -1n, 2n ** 62n] },
      [...new Uint8Array(BigInt64Array.of(0n, -1n, 2n ** 62n).buffer)],
    ],
    [
      "UINT64",
      { uint64Contents: [0n, 1n, 2n ** 64n - 1n] },
      [...new Uint8Array(BigUint64Array.of(0n, 1n, 2n ** 64n - 1n).buffer)],
    ],
    [
      "BYTES",
      { bytesContents: [Uint8Array.of(7), new Uint8Array(0), Uint8Array.of(8, 9)] },
      [1, 0, 0, 0, 7, 0, 0, 0, 0, 2, 0, 0, 0, 8, 9],
    ],
    ["INT8", { intContents: [1, 2, 128] }, "invalid-input"],
    ["UINT16", { uintContents: [1, 2, 65_536] }, "invalid-input"],
    ["INT32", { uintContents: [1, 2, 3] }, "invalid-input"],
    ["FP16", { fp32Contents: [1, 2, 3] }, "invalid-input"],
    ["FP32", { fp32Contents: [1, 2] }, "body-mismatch"],
    ["FP32", { fp32Contents: [1, 2, 3], fp64Contents: [1] }, "invalid-input"],
    ["BYTES", { bytesContents: [] }, "body-mismatch"],
    ["FLOAT", { fp32Contents: [1, 2, 3] }, "invalid-input"],
  ];
  it.each(typed)("typed contents of %s are read or refused", (datatype, contents, expected) => {
    const act = (): number[] => [...(decoded(input(datatype, [3], contents)).message.inputs[0]?.bytes ?? [])];
    if (typeof expected === "string") expect(reasonOf(act)).toBe(expected);
    else expect(act()).toEqual(expected);
  });

  it("typed contents may be merged and unpacked, as protobuf allows", () => {
    const model = Uint8Array.of(0x0a, 1, 0x6d);
    // x, INT32, [3]: two contents, the first with unpacked elements 5 and 6, the second packed with 7
    const body = [
      0x0a, 1, 0x78, 0x12, 5, 0x49, 0x4e, 0x54, 0x33, 0x32, 0x1a, 1, 3, 0x2a, 4, 0x10, 5, 0x10, 6, 0x2a, 3,
      0x12, 1, 7,
    ];
    const bytes = Uint8Array.of(...model, 0x2a, body.length, ...body);
    const [tensor] = decodeInferRequest(bytes, defaultWireLimits).message.inputs;
    expect([...new Int32Array(tensor?.bytes.slice().buffer ?? new ArrayBuffer(0))]).toEqual([5, 6, 7]);
  });

  it("long typed contents are read in steps", () => {
    const intContents = Array.from({ length: 200_000 }, (_, index) => (index % 500) - 250);
    const bytes = encoded(input("INT32", [intContents.length], { intContents }));
    const work = inferRequestWork(bytes, defaultWireLimits);
    let pauses = 0;
    let step = work.next();
    for (; step.done !== true; step = work.next()) pauses++;
    expect(pauses).toBeGreaterThan(5);
    const [tensor] = step.value.message.inputs;
    expect([...new Int32Array(tensor?.bytes.slice().buffer ?? new ArrayBuffer(0))]).toEqual(intContents);
  });

  /** A request of x, INT32 [`size`], with a field of its contents that comes `count` times. */
  function repeated(size: number, count: number, ...field: readonly number[]): Uint8Array {
    const fields = new Uint8Array(count * field.length);
    for (let at = 0; at < fields.length; at += field.length) fields.set(field, at);
    const writer = new Writer();
    writer.text(1, "m");
    writer.nested(5, () => {
      writer.text(1, "x");
      writer.text(2, "INT32");
      writer.nested(3, () => writer.varint(size));
      writer.nested(5, () => writer.bytes(fields));
    });
    return writer.slice(0, writer.at);
  }

  it.each([
    ["unpacked numbers", 20_000, [0x10, 1], 8],
    ["empty lists", 0, [0x12, 0], 4],
    ["unknown fields", 0, [0x78, 1], 4],
  ] as const)("%s are read in steps", (_, size, field, pauses) => {
    const work = inferRequestWork(repeated(size, 20_000, ...field), defaultWireLimits);
    let paused = 0;
    let step = work.next();
    for (; step.done !== true; step = work.next()) paused++;
    expect(step.value.message.inputs[0]?.bytes.byteLength).toBe(4 * size);
    expect(paused).toBeGreaterThanOrEqual(pauses);
  });

  it("unpacked numbers are read up to some hundred thousand, and refused beyond", () => {
    const read = (count: number) =>
      reasonOf(() => decodeInferRequest(repeated(2 ** 20, count, 0x10, 1), defaultWireLimits));
    expect(read(2 ** 18)).toBe("body-mismatch");
    expect(read(2 ** 18 + 1)).toBe("invalid-input");
  });

  const hostile: readonly [string, InferInit, string][] = [
    [
      "raw and typed contents",
      { ...input("UINT8", [1], { uintContents: [1] }), rawInputContents: [Uint8Array.of(1)] },
      "invalid-input",
    ],
    [
      "more raw contents than inputs",
      { ...input("UINT8", [1]), rawInputContents: [Uint8Array.of(1), Uint8Array.of(1)] },
      "body-mismatch",
    ],
    [
      "raw contents of another length",
      { ...input("FP32", [2]), rawInputContents: [new Uint8Array(7)] },
      "body-mismatch",
    ],
    ["no contents at all", input("FP32", [2]), "body-mismatch"],
    ["a negative size", { ...input("UINT8", [-1]), rawInputContents: [new Uint8Array(1)] }, "invalid-input"],
    [
      "a size beyond 2^53",
      { ...input("UINT8", [2n ** 60n]), rawInputContents: [new Uint8Array(1)] },
      "invalid-input",
    ],
    [
      "a product beyond 2^53",
      { ...input("UINT8", [2n ** 30n, 2n ** 30n]), rawInputContents: [new Uint8Array(1)] },
      "invalid-input",
    ],
    [
      "rank 33",
      {
        ...input(
          "UINT8",
          Array.from({ length: 33 }, () => 1),
        ),
        rawInputContents: [new Uint8Array(1)],
      },
      "invalid-input",
    ],
    [
      "a tensor larger than is allowed",
      { ...input("UINT8", [2 ** 30]), rawInputContents: [new Uint8Array(1)] },
      "body-too-large",
    ],
    [
      "more texts than are allowed",
      input("BYTES", [2 ** 18 + 1], { bytesContents: [new Uint8Array(0)] }),
      "body-too-large",
    ],
    [
      "more typed contents than the shape has",
      input("BYTES", [1], { bytesContents: [new Uint8Array(0), new Uint8Array(0)] }),
      "body-mismatch",
    ],
    [
      "a BYTES length past the end",
      { ...input("BYTES", [1]), rawInputContents: [Uint8Array.of(9, 0, 0, 0, 1)] },
      "body-mismatch",
    ],
    [
      "a BYTES length of 4 GiB",
      { ...input("BYTES", [1]), rawInputContents: [Uint8Array.of(255, 255, 255, 255)] },
      "body-mismatch",
    ],
    [
      "an input without a name",
      { modelName: "m", inputs: [{ datatype: "UINT8", shape: [0n] }] },
      "invalid-input",
    ],
    [
      "an input twice",
      {
        modelName: "m",
        inputs: [
          { name: "x", datatype: "UINT8", shape: [0n] },
          { name: "x", datatype: "UINT8", shape: [0n] },
        ],
      },
      "invalid-input",
    ],
    ["a parameter without a value", { ...input("UINT8", [0]), parameters: { a: {} } }, "invalid-input"],
    [
      "a parameter that is no number",
      { ...input("UINT8", [0]), parameters: { a: { parameterChoice: { case: "doubleParam", value: NaN } } } },
      "invalid-input",
    ],
    [
      "257 inputs",
      { modelName: "m", inputs: Array.from({ length: 257 }, (_, index) => ({ name: `${index}` })) },
      "invalid-input",
    ],
  ];
  it.each(hostile)("with %s are refused", (_what, init, reason) => {
    expect(reasonOf(() => decoded(init))).toBe(reason);
  });

  it("ids of sequences keep all their digits", () => {
    const id = (value: bigint, kind: "uint64Param" | "int64Param" = "uint64Param"): unknown =>
      decoded({
        ...input("UINT8", [0]),
        parameters: { sequence_id: { parameterChoice: { case: kind, value } } },
      }).message.parameters["sequence_id"];
    expect(id(7n)).toBe(7);
    expect(id(2n ** 64n - 1n)).toBe(2n ** 64n - 1n);
    // Triton's C++ client sends its unsigned ids as int64, and Triton reads them back.
    expect(id(7n, "int64Param")).toBe(7);
    expect(id(-1n, "int64Param")).toBe(2n ** 64n - 1n);
    expect(id(-(2n ** 63n), "int64Param")).toBe(2n ** 63n);
    const parameters = { p: { parameterChoice: { case: "int64Param" as const, value: -1n } } };
    expect(decoded({ ...input("UINT8", [0]), parameters }).message.parameters).toEqual({ p: -1 });
  });

  it("random and cut bytes are refused with a reason, and never otherwise", () => {
    const seed = encoded({
      ...input("FP32", [2], { fp32Contents: [1, 2] }),
      parameters: { p: { parameterChoice: { case: "int64Param", value: 5n } } },
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutatedOf(seed)), (bytes) => {
        expect(["accepted", "invalid-input", "body-mismatch", "body-too-large"]).toContain(
          reasonOf(() => decodeInferRequest(bytes, defaultWireLimits)),
        );
        expect(() => peek(bytes, [1, 2], 512)).not.toThrow();
      }),
      { numRuns: 3000 },
    );
  });
});

describe("requests to others", () => {
  it("are read here as they were written", () => {
    const message = {
      id: "i",
      parameters: {
        flag: true,
        ratio: 0.5,
        most: 2n ** 64n - 1n,
        large: 2n ** 53n,
        least: -(2n ** 63n),
        one: -1,
      },
      inputs: [
        { name: "x", datatype: "FP32" as const, shape: [2], parameters: {}, bytes: new Uint8Array(8) },
        {
          name: "long",
          datatype: "UINT8" as const,
          shape: [20_000],
          parameters: {},
          bytes: new Uint8Array(20_000),
        },
      ],
      outputs: [{ name: "y", binary: true }],
      binaryOutputs: true,
    };
    const parts = encodeInferRequest({ model: "m", version: "3", message });
    expect(parts.byteLength).toBe(joined(parts).byteLength);
    expect(decodeInferRequest(joined(parts), defaultWireLimits)).toEqual({
      model: "m",
      version: "3",
      message,
    });
  });
});

describe("replies", () => {
  const tensor = (name: string, bytes: Uint8Array): WireTensor => ({
    name,
    datatype: "UINT8",
    shape: [bytes.byteLength],
    parameters: {},
    bytes,
  });

  it("are read by another decoder as they were written", () => {
    const value = fc.oneof(
      fc.string(),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => (Object.is(one, -0) ? 0 : one)),
    );
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.dictionary(fc.string(), value, { maxKeys: 4 }),
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.constant(new Uint8Array(20_000).fill(7))), {
          maxLength: 4,
        }),
        (id, parameters, outputs) => {
          const reply: InferReplyMessage = {
            modelName: "m",
            modelVersion: "1",
            id,
            parameters,
            outputs: outputs.map((bytes, index) => tensor(`y${index}`, bytes)),
          };
          const parts = encodeInferReply(reply, { triton_final_response: true });
          const whole = joined(parts);
          expect(whole.byteLength).toBe(parts.byteLength);
          const read = fromBinary(ModelInferResponseSchema, whole);
          expect(read).toMatchObject({ modelName: "m", modelVersion: "1", id });
          expect(read.rawOutputContents.map((bytes) => [...bytes])).toEqual(
            outputs.map((bytes) => [...bytes]),
          );
          expect(read.outputs.map(({ shape }) => shape.map(Number))).toEqual(
            outputs.map((bytes) => [bytes.byteLength]),
          );
          for (const [key, wanted] of Object.entries(parameters)) {
            const choice = Object.getOwnPropertyDescriptor(read.parameters, key)?.value as
              | { parameterChoice: { value: unknown } }
              | undefined;
            const got = choice?.parameterChoice.value;
            expect(typeof got === "bigint" ? Number(got) : got).toBe(wanted);
          }
          const streamed = encodeStreamReply(parts, "no");
          const inner = fromBinary(ModelStreamInferResponseSchema, joined(streamed));
          expect(streamed.byteLength).toBe(joined(streamed).byteLength);
          expect(inner.errorMessage).toBe("no");
          expect(inner.inferResponse?.outputs.length).toBe(outputs.length);
        },
      ),
    );
  });

  it("say where a tensor lies in shared memory, beside an empty entry", () => {
    const shared = { ...tensor("y", new Uint8Array(0)), shared: { region: "r", offset: 8, byteSize: 16 } };
    const read = fromBinary(
      ModelInferResponseSchema,
      joined(encodeInferReply({ modelName: "m", parameters: {}, outputs: [shared] })),
    );
    expect(read.outputs[0]?.parameters["shared_memory_region"]?.parameterChoice.value).toBe("r");
    expect(read.rawOutputContents).toHaveLength(1);
  });

  it("are read here as they were written, or say why there is none", () => {
    const reply: InferReplyMessage = {
      modelName: "m",
      modelVersion: "2",
      parameters: { triton_final_response: false, words: "x".repeat(10_000) },
      outputs: [tensor("y", Uint8Array.of(1, 2)), tensor("long", new Uint8Array(20_000).fill(7))],
    };
    const whole = (error?: string): Uint8Array => joined(encodeStreamReply(encodeInferReply(reply), error));
    const { reply: read, error } = decodedReply(whole());
    expect(error).toBe("");
    expect({ ...read, outputs: [] }).toEqual({ ...reply, outputs: [] });
    expect(read?.outputs.map(({ name, bytes }) => [name, bytes.byteLength, bytes[0]])).toEqual([
      ["y", 2, 1],
      ["long", 20_000, 7],
    ]);
    expect(decodedReply(whole("no"))).toEqual({ error: "no" });
  });

  it("with long typed contents are read in steps", () => {
    const intContents = Array.from({ length: 200_000 }, (_, index) => index);
    const outputs = [{ name: "y", datatype: "INT32", shape: [200_000n], contents: { intContents } }];
    const init = { inferResponse: { modelName: "m", outputs } };
    const bytes = toBinary(ModelStreamInferResponseSchema, create(ModelStreamInferResponseSchema, init));
    const work = streamReplyWork(bytes, defaultWireLimits);
    let pauses = 0;
    let step = work.next();
    for (; step.done !== true; step = work.next()) pauses++;
    expect(pauses).toBeGreaterThan(5);
    expect(step.value.reply?.outputs[0]?.bytes.byteLength).toBe(800_000);
  });

  it("that lie in unregistered shared memory are refused", () => {
    const shared = { ...tensor("y", new Uint8Array(0)), shared: { region: "r", offset: 8, byteSize: 16 } };
    const bytes = joined(
      encodeStreamReply(encodeInferReply({ modelName: "m", parameters: {}, outputs: [shared] })),
    );
    expect(reasonOf(() => decodedReply(bytes))).toBe("invalid-input");
  });

  it("of random and cut bytes are refused with a reason, and never otherwise", () => {
    const seed = joined(
      encodeStreamReply(
        encodeInferReply({ modelName: "m", parameters: { a: 1 }, outputs: [tensor("y", Uint8Array.of(1))] }),
      ),
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutatedOf(seed)), (bytes) => {
        expect(["accepted", "invalid-input", "body-mismatch", "body-too-large"]).toContain(
          reasonOf(() => decodedReply(bytes)),
        );
      }),
      { numRuns: 3000 },
    );
  });
});
