import { settle } from "@longshore/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Datatype, datatypes, elementBytes } from "../../words/tensor/index.ts";
import { LongshoreError } from "../../words/base/index.ts";
import { readInferReplyInSteps, writeInferReply } from "./infer-reply.ts";
import { readInferRequest, writeInferRequest } from "./infer-request.ts";
import type { InferRequestMessage } from "./infer-messages.ts";
import { defaultWireLimits } from "./limits.ts";
import { headerLengthOf, type Message } from "./message.ts";
import type { WireTensor } from "./wire-tensor.ts";

const seed = 20_240_607;

const readReply = (body: Uint8Array, headerLength: number | undefined) =>
  readInferReplyInSteps(body, headerLength, defaultWireLimits, settle);

function join({ parts }: Message): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}

function text(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

function withBinary(json: unknown, binary: Uint8Array): { body: Uint8Array; length: number } {
  const head = text(json);
  const body = new Uint8Array(head.byteLength + binary.byteLength);
  body.set(head);
  body.set(binary, head.byteLength);
  return { body, length: head.byteLength };
}

function reasonOf(read: () => unknown): string {
  try {
    read();
    return "accepted";
  } catch (thrown) {
    if (!LongshoreError.is(thrown)) throw thrown;
    return thrown.reason;
  }
}

const input = (change: object): object => ({
  inputs: [{ name: "x", datatype: "FP32", shape: [2], data: [1, 2], ...change }],
});
const json = (value: unknown): string => reasonOf(() => readInferRequest(text(value), undefined));

const bytesElement = fc.uint8Array({ maxLength: 6 });
const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });

/** Random tensors of every datatype. */
const tensors: fc.Arbitrary<WireTensor> = fc
  .tuple(fc.constantFrom<Datatype>(...datatypes), shapes, fc.string({ minLength: 1, maxLength: 12 }))
  .chain(([datatype, shape, name]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    const width = elementBytes(datatype);
    const bytes =
      width > 0
        ? fc.uint8Array({ minLength: count * width, maxLength: count * width })
        : fc.array(bytesElement, { minLength: count, maxLength: count }).map((elements) => {
            const joined = elements.flatMap((element) => [element.byteLength, 0, 0, 0, ...element]);
            return Uint8Array.from(joined);
          });
    return bytes.map((data) => ({ name, datatype, shape, parameters: {}, bytes: data }));
  });

describe("binary form", () => {
  it("brings back any tensors, byte for byte", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(tensors, { selector: (tensor) => tensor.name, maxLength: 4 }),
        fc.option(fc.string({ maxLength: 8 }), { nil: undefined }),
        (inputs, id) => {
          const request: InferRequestMessage = {
            ...(id === undefined ? {} : { id }),
            parameters: { priority: 1, custom: "ä", flag: true, most: 2n ** 64n - 1n, least: -(2n ** 63n) },
            inputs,
            outputs: [{ name: "y", binary: true, classification: 3 }, { name: "z" }],
            binaryOutputs: true,
          };
          const message = writeInferRequest(request, "binary");
          const read = readInferRequest(join(message), headerLengthOf(message.headers));
          expect(read).toEqual({
            ...request,
            parameters: { ...request.parameters, binary_data_output: true },
          });

          const reply = {
            modelName: "m",
            modelVersion: "3",
            parameters: { note: "x", long: 2n ** 53n },
            outputs: inputs,
          };
          const answered = writeInferReply(reply, () => true);
          expect(readReply(join(answered), headerLengthOf(answered.headers))).toEqual(reply);
        },
      ),
      { seed, numRuns: 300 },
    );
  });

  it("lays binary tensors out at multiples of eight bytes and does not copy them", () => {
    const bytes = new Uint8Array(16);
    const tensor: WireTensor = { name: "x", datatype: "FP64", shape: [2], parameters: {}, bytes };
    const message = writeInferRequest({ parameters: {}, inputs: [tensor], binaryOutputs: false }, "binary");
    expect((message.parts[0]?.byteLength ?? 1) % 8).toBe(0);
    expect(message.parts[1]).toBe(bytes);
  });

  it("gives views on the body", () => {
    const { body, length } = withBinary(
      { inputs: [{ name: "x", datatype: "UINT8", shape: [2], parameters: { binary_data_size: 2 } }] },
      Uint8Array.of(7, 8),
    );
    const { inputs } = readInferRequest(body, length);
    expect(inputs[0]?.bytes.buffer).toBe(body.buffer);
    expect([...(inputs[0]?.bytes ?? [])]).toEqual([7, 8]);
  });

  it("mixes JSON and binary tensors", () => {
    const { body, length } = withBinary(
      {
        inputs: [
          { name: "a", datatype: "INT16", shape: [2], data: [1, -1] },
          { name: "b", datatype: "UINT8", shape: [1], parameters: { binary_data_size: 1 } },
        ],
      },
      Uint8Array.of(9),
    );
    const { inputs } = readInferRequest(body, length);
    expect(inputs.map(({ bytes }) => [...bytes])).toEqual([[1, 0, 255, 255], [9]]);
  });

  const cases: readonly [string, number, number, string][] = [
    ["a size past the end", 12, 8, "body-mismatch"],
    ["a size that is too small for the shape", 4, 4, "body-mismatch"],
    ["bytes left over", 8, 12, "body-mismatch"],
    ["a negative size", -8, 8, "invalid-input"],
    ["a size beyond 2^53", 2 ** 60, 8, "invalid-input"],
    ["a size with a fraction", 7.5, 8, "invalid-input"],
  ];
  it.each(cases)("refuses %s", (_name, size, came, reason) => {
    const { body, length } = withBinary(
      { inputs: [{ name: "x", datatype: "FP32", shape: [2], parameters: { binary_data_size: size } }] },
      new Uint8Array(came),
    );
    expect(reasonOf(() => readInferRequest(body, length))).toBe(reason);
  });

  it("refuses tensors that would overlap, data beside binary data, and a header longer than the body", () => {
    const two = ["a", "b"].map((name) => ({
      name,
      datatype: "FP32",
      shape: [2],
      parameters: { binary_data_size: 8 },
    }));
    const { body, length } = withBinary({ inputs: two }, new Uint8Array(8));
    expect(reasonOf(() => readInferRequest(body, length))).toBe("body-mismatch");
    expect(json(input({ parameters: { binary_data_size: 8 } }))).toBe("body-mismatch");
    expect(reasonOf(() => readInferRequest(text("{}"), 1000))).toBe("body-mismatch");
    expect(reasonOf(() => headerLengthOf({ "inference-header-content-length": "-1" }))).toBe("body-mismatch");
    expect(reasonOf(() => headerLengthOf({ "inference-header-content-length": "0x10" }))).toBe(
      "body-mismatch",
    );
  });

  it("refuses a BYTES length that runs past the end, and a wrong number of elements", () => {
    const of = (bytes: readonly number[], count: number): string => {
      const { body, length } = withBinary(
        {
          inputs: [
            { name: "x", datatype: "BYTES", shape: [count], parameters: { binary_data_size: bytes.length } },
          ],
        },
        Uint8Array.from(bytes),
      );
      return reasonOf(() => readInferRequest(body, length));
    };
    expect(of([1, 0, 0, 0, 65], 1)).toBe("accepted");
    expect(of([2, 0, 0, 0, 65], 1)).toBe("body-mismatch");
    expect(of([255, 255, 255, 255, 65], 1)).toBe("body-mismatch");
    expect(of([1, 0, 0], 1)).toBe("body-mismatch");
    expect(of([1, 0, 0, 0, 65], 2)).toBe("body-mismatch");
    expect(of([1, 0, 0, 0, 65, 0, 0, 0, 0], 1)).toBe("body-mismatch");
  });

  it("refuses more texts than are allowed, which would take many times their bytes", () => {
    const count = defaultWireLimits.maxTexts + 1;
    const parameters = { binary_data_size: 4 * count };
    const { body, length } = withBinary(
      { inputs: [{ name: "x", datatype: "BYTES", shape: [1, count], parameters }] },
      new Uint8Array(4 * count),
    );
    expect(reasonOf(() => readInferRequest(body, length))).toBe("body-too-large");
    expect(json(input({ datatype: "BYTES", shape: [count], data: [] }))).toBe("body-too-large");
  });

  it("refuses a small coded body that decodes to a tensor larger than allowed", () => {
    const { body, length } = withBinary(
      {
        inputs: [
          {
            name: "x",
            datatype: "FP32",
            shape: [2 ** 28],
            parameters: { binary_data_size: 8, codec: "int8" },
          },
        ],
      },
      new Uint8Array(8),
    );
    expect(reasonOf(() => readInferRequest(body, length))).toBe("body-too-large");
  });
});

describe("JSON form", () => {
  it("reads nested and flat data alike", () => {
    const flat = readInferRequest(text(input({ shape: [2, 2], data: [1, 2, 3, 4] })), undefined);
    const nested = readInferRequest(text(input({ shape: [2, 2], data: [[1, 2], [3, 4]] })), undefined); // prettier-ignore
    expect(nested.inputs[0]?.bytes).toEqual(flat.inputs[0]?.bytes);
  });

  it("brings back every value of every datatype that has a JSON form", () => {
    const examples: Readonly<Record<string, readonly unknown[]>> = {
      BOOL: [true, false],
      UINT8: [0, 255],
      INT8: [-128, 127],
      UINT16: [0, 65_535],
      INT16: [-32_768, 32_767],
      UINT32: [0, 4_294_967_295],
      INT32: [-2_147_483_648, 2_147_483_647],
      UINT64: [0, 9_007_199_254_740_991],
      INT64: ["-9007199254740991", 9_007_199_254_740_991],
      FP32: [-0.5, 3.402_823_4e38],
      FP64: [-1e-308, 1.797_693_134_862_315_7e308],
      BYTES: ["", "grüße"],
    };
    for (const [datatype, data] of Object.entries(examples)) {
      const read = readInferRequest(text(input({ datatype, data })), undefined);
      const written = writeInferRequest(read, "json");
      const again = readInferRequest(join(written), undefined);
      expect(again.inputs, datatype).toEqual(read.inputs);
    }
  });

  it("reads 64-bit integers exactly from text and writes all their digits", () => {
    for (const [datatype, value] of [
      ["INT64", "-9223372036854775808"],
      ["UINT64", "18446744073709551615"],
    ]) {
      const read = readInferRequest(text(input({ datatype, data: [value, 1] })), undefined);
      const written = new TextDecoder().decode(join(writeInferRequest(read, "json")));
      expect(written).toContain(`[${value},1]`);
    }
    expect(json(input({ datatype: "UINT64", data: ["18446744073709551616", 1] }))).toBe("invalid-input");
    expect(json(input({ datatype: "INT64", data: ["1e3", 1] }))).toBe("invalid-input");
  });

  it("refuses to write values that JSON cannot carry, by name", () => {
    const writing = (datatype: Datatype, bytes: Uint8Array, shape: readonly number[]): string =>
      reasonOf(() =>
        writeInferReply(
          {
            modelName: "m",
            parameters: {},
            outputs: [{ name: "y", datatype, shape, parameters: {}, bytes }],
          },
          () => false,
        ),
      );
    expect(writing("FP16", new Uint8Array(2), [1])).toBe("unsupported");
    expect(writing("BYTES", Uint8Array.of(1, 0, 0, 0, 255), [1])).toBe("unsupported");
    expect(writing("BYTES", Uint8Array.of(1, 0, 0, 0, 65), [1])).toBe("accepted");
  });

  it("gives an output that is named twice once, in its first form", () => {
    const outputs = [
      { name: "y", parameters: { binary_data: false } },
      { name: "z" },
      { name: "y", parameters: { binary_data: true } },
    ];
    const read = readInferRequest(text({ ...input({}), outputs }), undefined);
    expect(read.outputs).toEqual([{ name: "y", binary: false }, { name: "z" }]);
  });

  const refused: readonly [string, object | string, string][] = [
    ["text that is no JSON", "{", "invalid-input"],
    ["an array", [], "invalid-input"],
    ["no inputs", {}, "invalid-input"],
    ["an unknown datatype", input({ datatype: "FLOAT" }), "invalid-input"],
    ["a datatype that every object has", input({ datatype: "constructor" }), "invalid-input"],
    ["a negative size", input({ shape: [-1] }), "invalid-input"],
    ["a size with a fraction", input({ shape: [1.5] }), "invalid-input"],
    ["a size as text", input({ shape: ["2"] }), "invalid-input"],
    ["a product beyond 2^53", input({ shape: [2 ** 30, 2 ** 30] }), "invalid-input"],
    ["a rank of 1000", input({ shape: Array(1000).fill(1) }), "invalid-input"],
    ["too few values", input({ data: [1] }), "body-mismatch"],
    ["too many values", input({ data: [1, 2, 3] }), "body-mismatch"],
    ["data nested deeper than the shape", input({ data: [[[1]], [[2]]] }), "invalid-input"],
    ["text among numbers", input({ data: [1, "2"] }), "invalid-input"],
    ["null among numbers", input({ data: [1, null] }), "invalid-input"],
    ["a fraction among integers", input({ datatype: "INT32", data: [1, 0.5] }), "invalid-input"],
    ["an integer out of range", input({ datatype: "INT8", data: [1, 128] }), "invalid-input"],
    ["an integer beyond 64 bits", input({ datatype: "INT64", data: [1, 2 ** 63] }), "invalid-input"],
    ["a BOOL that is none", input({ datatype: "BOOL", data: [1, 2] }), "invalid-input"],
    ["a number among BYTES", input({ datatype: "BYTES", data: ["a", 1] }), "invalid-input"],
    ["FP16 as JSON", input({ datatype: "FP16" }), "invalid-input"],
    ["neither data nor binary data", input({ data: undefined }), "body-mismatch"],
    ["an empty name", input({ name: "" }), "invalid-input"],
    ["a name that is no text", input({ name: 7 }), "invalid-input"],
    ["a name of 4 kB", input({ name: "x".repeat(4096) }), "invalid-input"],
    ["shared memory without a size", input({ parameters: { shared_memory_region: "r" } }), "invalid-input"],
    [
      "shared memory beside data",
      input({ parameters: { shared_memory_region: "r", shared_memory_byte_size: 8 } }),
      "body-mismatch",
    ],
    ["a parameter that is an object", input({ parameters: { a: {} } }), "invalid-input"],
    ["an id that is no text", { ...input({}), id: 7 }, "invalid-input"],
    ["a flag that is none", { ...input({}), parameters: { binary_data_output: 1 } }, "invalid-input"],
    ["an output without a name", { ...input({}), outputs: [{}] }, "invalid-input"],
  ];
  it.each(refused)("refuses %s", (_name, body, reason) => {
    expect(reasonOf(() => readInferRequest(text(body), undefined))).toBe(reason);
  });

  it("refuses numbers that overflow, nesting of 10^5, duplicate names, and too many tensors", () => {
    const overflow = '{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[1e999]}]}';
    expect(reasonOf(() => readInferRequest(text(overflow), undefined))).toBe("invalid-input");
    const deep = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":${"[".repeat(1e5)}1${"]".repeat(1e5)}}]}`;
    expect(reasonOf(() => readInferRequest(text(deep), undefined))).toBe("invalid-input");
    const one = { name: "x", datatype: "UINT8", shape: [1], data: [1] };
    expect(json({ inputs: [one, one] })).toBe("invalid-input");
    const many = Array.from({ length: 257 }, (_, index) => ({ ...one, name: `x${index}` }));
    expect(json({ inputs: many })).toBe("invalid-input");
  });

  it("refuses JSON that is larger than allowed before parsing it", () => {
    const limits = { ...defaultWireLimits, maxJsonBytes: 100 };
    expect(reasonOf(() => readInferRequest(text(" ".repeat(101)), undefined, limits))).toBe("body-too-large");
  });

  it("takes __proto__, constructor and toString as names like any others", () => {
    for (const name of ["__proto__", "constructor", "toString"]) {
      const body = `{"inputs":[{"name":"${name}","datatype":"UINT8","shape":[1],"data":[1],"parameters":{"${name}":5}}],"parameters":{"${name}":"v"}}`;
      const read = readInferRequest(text(body), undefined);
      expect(read.inputs[0]?.name).toBe(name);
      expect(Object.entries(read.inputs[0]?.parameters ?? {})).toEqual([[name, 5]]);
      expect(Object.entries(read.parameters)).toEqual([[name, "v"]]);
      expect(Object.getPrototypeOf(read.parameters)).toBe(Object.prototype);
    }
  });
});

describe("any bytes", () => {
  it("reading a request or a reply gives tensors or a LongshoreError, nothing else", () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json({ maxDepth: 6 }).map(text),
      fc
        .record({
          inputs: fc.array(
            fc.record(
              {
                name: fc.oneof(fc.string(), fc.jsonValue()),
                datatype: fc.oneof(fc.constantFrom(...datatypes), fc.jsonValue()),
                shape: fc.oneof(
                  fc.array(fc.integer()),
                  fc.array(fc.integer({ min: 0, max: 3 })),
                  fc.jsonValue(),
                ),
                data: fc.oneof(fc.array(fc.jsonValue()), fc.array(fc.double()), fc.jsonValue()),
                parameters: fc.oneof(
                  fc.record({ binary_data_size: fc.integer() }),
                  fc.record({ binary_data_size: fc.nat(16), codec: fc.string() }),
                  fc.jsonValue(),
                ),
              },
              { requiredKeys: [] },
            ),
            { maxLength: 3 },
          ),
          outputs: fc.oneof(fc.array(fc.jsonValue()), fc.jsonValue()),
          parameters: fc.jsonValue(),
          model_name: fc.oneof(fc.string(), fc.jsonValue()),
        })
        .map(text),
    );
    fc.assert(
      fc.property(anything, fc.option(fc.nat(250), { nil: undefined }), (body, length) => {
        reasonOf(() => readInferRequest(body, length));
        reasonOf(() => readReply(body, length));
      }),
      { seed, numRuns: 3000 },
    );
  });
});
