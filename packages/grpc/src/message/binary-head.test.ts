import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesTensor, defaultWireLimits, LongshoreError } from "@longshore/core";
import { allSteps, type InferRequestMessage, readInferRequest } from "@longshore/core/internal";
import { ModelInferRequestSchema } from "../proto/inference_pb.ts";
import type { InferInit } from "../../test/client.ts";
import { binaryHead, inferRequestWork, peek, RawContents } from "./index.ts";

const encoded = (init: InferInit): Uint8Array =>
  toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, init));

const whole = (bytes: Uint8Array): InferRequestMessage =>
  allSteps(inferRequestWork(bytes, defaultWireLimits)).message;

/** The binary form of a message that comes in these cuts; undefined if it has to be read whole. */
function passedOn(bytes: Uint8Array, headBytes: number, cuts: readonly number[]): Buffer | undefined {
  const head = binaryHead(bytes.subarray(0, headBytes), bytes.byteLength, defaultWireLimits);
  if (!head) return undefined;
  const contents = new RawContents(head);
  const parts: Uint8Array[] = [head.json];
  const places = [0, ...cuts.map((cut) => cut % (bytes.byteLength + 1)).sort((a, b) => a - b)];
  for (const [index, from] of places.entries()) {
    parts.push(...contents.take(bytes.slice(from, places[index + 1] ?? bytes.byteLength)));
  }
  contents.end();
  return Buffer.concat(parts);
}

function binary(bytes: Uint8Array, headBytes: number, cuts: readonly number[]) {
  const body = passedOn(bytes, headBytes, cuts);
  if (!body) return undefined;
  // The JSON ends where the bracket of the inputs does, with its padding.
  const head = binaryHead(bytes.subarray(0, headBytes), bytes.byteLength, defaultWireLimits);
  return readInferRequest(body, head?.json.byteLength);
}

function outcomeOf<T>(act: () => T): T | string {
  try {
    return act();
  } catch (thrown) {
    if (LongshoreError.is(thrown)) return thrown.reason;
    throw thrown;
  }
}

/** The same, as far as its receiver is concerned. */
const said = ({ id, inputs, outputs }: InferRequestMessage): object => ({
  id: id ?? "",
  inputs: inputs.map(({ name, datatype, shape, bytes }) => ({ name, datatype, shape, bytes: [...bytes] })),
  outputs: outputs ?? [],
});

const input = fc.oneof(
  fc
    .uint8Array({ maxLength: 300 })
    .map((bytes) => ({ datatype: "UINT8", shape: [BigInt(bytes.length)], bytes })),
  fc.nat(50).map((n) => ({ datatype: "FP32", shape: [1n, BigInt(n)], bytes: new Uint8Array(4 * n).fill(7) })),
  fc.array(fc.string({ maxLength: 20 }), { minLength: 1, maxLength: 5 }).map((texts) => ({
    datatype: "BYTES",
    shape: [BigInt(texts.length)],
    bytes: bytesTensor("x", texts).bytes,
  })),
);

const request = fc
  .record({
    id: fc.string({ maxLength: 10 }),
    inputs: fc.array(input, { minLength: 1, maxLength: 4 }),
    outputs: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 5, unit: "grapheme" }), { maxLength: 3 }),
  })
  .map(({ id, inputs, outputs }) =>
    encoded({
      modelName: "m",
      id,
      inputs: inputs.map(({ datatype, shape }, index) => ({ name: `x${index}`, datatype, shape })),
      outputs: outputs.map((name) => ({ name })),
      rawInputContents: inputs.map(({ bytes }) => bytes),
    }),
  );

describe("a request that is passed on while it arrives", () => {
  it("says the same to its receiver wherever it is cut", () => {
    fc.assert(
      fc.property(request, fc.array(fc.nat(), { maxLength: 30 }), (bytes, cuts) => {
        const passed = binary(bytes, bytes.byteLength, cuts);
        expect(passed && said(passed)).toEqual(said(whole(bytes)));
      }),
    );
  });

  it("says the same byte by byte", () => {
    fc.assert(
      fc.property(request, (bytes) => {
        const each = Array.from({ length: bytes.byteLength }, (_, index) => index);
        expect(passedOn(bytes, bytes.byteLength, each)).toEqual(passedOn(bytes, bytes.byteLength, []));
      }),
      { numRuns: 30 },
    );
  });

  it("is refused where the whole of it is, and nowhere else", () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        request,
        fc.array(change, { maxLength: 3 }),
        fc.double({ min: 0, max: 1 }),
        (seed, changes, part) => {
          const bytes = seed.slice();
          for (const [at, value] of changes) bytes[at % bytes.byteLength] = value;
          const passed = outcomeOf(() => binary(bytes, Math.ceil(part * bytes.byteLength), []));
          if (passed === undefined) return;
          const read = outcomeOf(() => whole(bytes));
          if (typeof passed === "string" || typeof read === "string")
            expect([typeof passed, typeof read]).toEqual(["string", "string"]);
          else expect(said(passed)).toEqual(said(read));
        },
      ),
      { numRuns: 5000 },
    );
  });

  const bytesOf = (length: number, value = 1): Uint8Array => new Uint8Array(length).fill(value);
  const two = (first: number, second: number): Uint8Array =>
    encoded({
      modelName: "m",
      inputs: ["a", "b"].map((name) => ({ name, datatype: "UINT8", shape: [1000n] })),
      rawInputContents: [bytesOf(first), bytesOf(second)],
    });

  it("begins with its first bytes, as soon as they name all inputs", () => {
    const bytes = two(1000, 1000);
    const { rawAt = 0 } = peek(bytes, [1], 512);
    expect(passedOn(bytes, rawAt, [700])?.subarray(-2000)).toEqual(Buffer.alloc(2000, 1));
    for (let length = 0; length < rawAt - 3; length++) expect(passedOn(bytes, length, [])).toBeUndefined();
  });

  it("tells how many bytes of a long beginning are missing", () => {
    const inputs = Array.from({ length: 100 }, (_, index) => ({
      name: `${"long".repeat(20)}${index}`,
      datatype: "UINT8",
      shape: [1n],
    }));
    const bytes = encoded({ modelName: "m", inputs, rawInputContents: inputs.map(() => bytesOf(1)) });
    let length = 1024;
    for (let looks = 0; looks < 200; looks++) {
      const { rawAt, moreAt } = peek(bytes.subarray(0, length), [1], 512);
      if (rawAt !== undefined) break;
      expect(moreAt).toBeGreaterThan(length);
      length = moreAt ?? 0;
    }
    expect(passedOn(bytes, length, [])).toBeDefined();
  });

  it("breaks off where contents have another length than their input, though all together have theirs", () => {
    const bytes = two(1001, 999);
    const { rawAt = 0 } = peek(bytes, [1], 512);
    expect(passedOn(bytes, rawAt, [])).toBeUndefined();
    const late = two(1000, 1000);
    late[late.byteLength - 1001] = (late[late.byteLength - 1001] ?? 0) - 1;
    expect(outcomeOf(() => passedOn(late, rawAt, []))).toBe("body-mismatch");
  });

  const one = (change: InferInit): InferInit => ({
    modelName: "m",
    inputs: [{ name: "x", datatype: "UINT8", shape: [4n] }],
    rawInputContents: [bytesOf(4)],
    ...change,
  });
  const x = { name: "x", datatype: "UINT8", shape: [4n] };
  const number = (value: bigint) => ({ parameterChoice: { case: "int64Param" as const, value } });
  it.each<[string, Uint8Array]>([
    [
      "typed contents",
      encoded(one({ inputs: [{ ...x, contents: { uintContents: [1, 2, 3, 4] } }], rawInputContents: [] })),
    ],
    [
      "shared memory",
      encoded(
        one({
          inputs: [
            {
              ...x,
              parameters: {
                shared_memory_region: { parameterChoice: { case: "stringParam", value: "r" } },
                shared_memory_byte_size: number(4n),
              },
            },
          ],
        }),
      ),
    ],
    ["an input that has parameters", encoded(one({ inputs: [{ ...x, parameters: { own: number(1n) } }] }))],
    [
      "an output whose best classes are asked for",
      encoded(one({ outputs: [{ name: "y", parameters: { classification: number(2n) } }] })),
    ],
    [
      "as many parameters as there may be",
      encoded(
        one({
          parameters: Object.fromEntries(Array.from({ length: 256 }, (_, at) => [`p${at}`, number(1n)])),
        }),
      ),
    ],
    ["too few contents", encoded(one({ rawInputContents: [] }))],
    ["too many contents", encoded(one({ rawInputContents: [bytesOf(4), bytesOf(4)] }))],
    ["contents of another length", encoded(one({ rawInputContents: [bytesOf(5)] }))],
    ["an unknown datatype", encoded(one({ inputs: [{ ...x, datatype: "FP99" }] }))],
    ["an input twice", encoded(one({ inputs: [x, x], rawInputContents: [bytesOf(4), bytesOf(4)] }))],
    ["something behind the contents", Uint8Array.from([...encoded(one({})), 0x1a, 1, 0x37])],
    [
      "a length in more bytes than it needs",
      Uint8Array.from([...encoded(one({})).subarray(0, -5), 0x84, 0x80, 0, 1, 1, 1, 1]),
    ],
  ])("is read whole with %s", (_, bytes) => {
    expect(passedOn(bytes, bytes.byteLength, [])).toBeUndefined();
  });

  it("is read whole if texts come after the present bytes", () => {
    const texts = bytesTensor("t", ["one", "two"]).bytes;
    const bytes = encoded({
      modelName: "m",
      inputs: [x, { name: "t", datatype: "BYTES", shape: [2n] }].map((one) => ({
        ...one,
        shape: one === x ? [500n] : one.shape,
      })),
      rawInputContents: [bytesOf(500), texts],
    });
    expect(passedOn(bytes, 200, [])).toBeUndefined();
    expect(passedOn(bytes, bytes.byteLength, [])).toBeDefined();
  });
});
