import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../base/index.ts";
import type { Datatype } from "../tensor/index.ts";
import { ArrayText } from "./array-text.ts";
import { readInferReplyInSteps, writeInferReply, writeInferReplyInSteps } from "../../wire/protocol/index.ts";
import { readInferRequest, readInferRequestInSteps } from "../../wire/protocol/index.ts";
import { defaultWireLimits } from "../../wire/protocol/index.ts";
import { parseMessage } from "./message-text.ts";
import { dataPieces } from "./tensor-data.ts";

const seed = 20_261;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function request(datatype: Datatype, shape: readonly number[], data: string): Uint8Array {
  return encode(
    `{"inputs":[{"name":"x","datatype":"${datatype}","shape":${JSON.stringify(shape)},"data":${data}}]}`,
  );
}

function tensorBytes(datatype: Datatype, shape: readonly number[], data: string): Uint8Array {
  return readInferRequest(request(datatype, shape, data), undefined).inputs.at(0)!.bytes;
}

function reasonOf(act: () => unknown): string {
  try {
    act();
    return "accepted";
  } catch (thrown) {
    if (!LongshoreError.is(thrown)) throw thrown;
    return thrown.reason;
  }
}

/** Decimal numbers as senders write them, and as no sender does. */
const decimal = fc.oneof(
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .map(String)
    .filter((text) => !text.includes("Infinity")),
  fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => String(value)),
  fc.double({ noNaN: true, min: -1, max: 1 }).map((value) => value.toFixed(7)),
  fc.double({ noNaN: true, min: -1e6, max: 1e6 }).map((value) => value.toPrecision(17)),
  fc
    .tuple(
      fc.constantFrom("", "-"),
      fc.stringMatching(/^(?:0|[1-9][0-9]{0,24})$/),
      fc.stringMatching(/^(?:|\.[0-9]{1,24})$/),
      fc.stringMatching(/^(?:|[eE][+-]?[0-9]{1,3})$/),
    )
    .map((parts) => parts.join("")),
);

describe("numbers in data", () => {
  it("FP64 values are those of JSON.parse, bit by bit", () => {
    fc.assert(
      fc.property(fc.array(decimal, { maxLength: 20 }), (words) => {
        const finite = words.filter((word) => Number.isFinite(Number(word)));
        const bytes = tensorBytes("FP64", [finite.length], `[${finite.join(",")}]`);
        const expected = Float64Array.from(JSON.parse(`[${finite.join(",")}]`) as number[]);
        expect(new BigUint64Array(bytes.slice().buffer)).toEqual(new BigUint64Array(expected.buffer));
      }),
      { seed, numRuns: 500 },
    );
  });

  it("FP32 values are those of JSON.parse rounded to FP32, bit by bit", () => {
    fc.assert(
      fc.property(fc.array(decimal, { maxLength: 20 }), (words) => {
        const finite = words.filter((word) => Number.isFinite(Math.fround(Number(word))));
        const bytes = tensorBytes("FP32", [finite.length], `[ ${finite.join(" ,\n")} ]`);
        const expected = Float32Array.from(JSON.parse(`[${finite.join(",")}]`) as number[]);
        expect(new Uint32Array(bytes.slice().buffer)).toEqual(new Uint32Array(expected.buffer));
      }),
      { seed, numRuns: 500 },
    );
  });

  it("rounds values between two FP32 values or beside the middle as JSON.parse does", () => {
    const middles: string[] = [];
    const float = new Float32Array(1);
    const bits = new Uint32Array(float.buffer);
    for (let step = 1; step < 0x7f7fffff; step += 8_388_593) {
      bits[0] = step;
      const low = float[0]!;
      bits[0] = step + 1;
      const middle = low + (float[0]! - low) / 2;
      middles.push(
        middle.toPrecision(17),
        middle.toPrecision(18),
        middle.toPrecision(16),
        `-${middle.toExponential(20)}`,
      );
    }
    const text = `[${middles.join(",")}]`;
    const expected = Float32Array.from(JSON.parse(text) as number[]);
    const bytes = tensorBytes("FP32", [middles.length], text);
    expect(new Uint32Array(bytes.slice().buffer)).toEqual(new Uint32Array(expected.buffer));
  });

  it("keeps all digits of 64-bit integers, as numbers and as text", () => {
    const signed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    fc.assert(
      fc.property(fc.array(signed, { maxLength: 20 }), fc.boolean(), (values, quoted) => {
        const words = values.map((value) => (quoted ? `"${value}"` : String(value)));
        const bytes = tensorBytes("INT64", [words.length], `[${words.join(",")}]`);
        expect([...new BigInt64Array(bytes.slice().buffer)]).toEqual(values);
      }),
      { seed },
    );
    const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(fc.array(unsigned, { maxLength: 20 }), (values) => {
        const bytes = tensorBytes("UINT64", [values.length], `[${values.join(",")}]`);
        expect([...new BigUint64Array(bytes.slice().buffer)]).toEqual(values);
      }),
      { seed },
    );
  });

  const integers: readonly [Datatype, string, string][] = [
    ["INT8", "[-128,127,1e2,1.0,-0]", "-128,127,100,1,0"],
    ["INT8", "[128,0,0,0,0]", "invalid-input"],
    ["UINT8", "[255,0,1,2,3]", "255,0,1,2,3"],
    ["UINT8", "[-1,0,1,2,3]", "invalid-input"],
    ["INT16", "[0.5,0,1,2,3]", "invalid-input"],
    ["UINT16", "[65535,0,1,2,3]", "255,255,0,0,1,0,2,0,3,0"],
    ["INT64", "[9223372036854775808,0,0,0,0]", "invalid-input"],
    ["UINT64", "[-1,0,0,0,0]", "invalid-input"],
    ["UINT64", "[18446744073709551616,0,0,0,0]", "invalid-input"],
    ["INT64", "[9007199254740993.0,0,0,0,0]", "invalid-input"],
    ["INT64", '["1e3",0,0,0,0]', "invalid-input"],
    ["BOOL", "[true,false,1,0,true]", "1,0,1,0,1"],
    ["BOOL", "[null,false,1,0,true]", "invalid-input"],
    ["BOOL", "[truefalse,false,1,0,true]", "invalid-input"],
    ["FP32", "[3.5e38,0,0,0,0]", "invalid-input"],
    ["FP64", "[1e309,0,0,0,0]", "invalid-input"],
    ["FP16", "[1,0,0,0,0]", "invalid-input"],
  ];
  it.each(integers)("%s %s", (datatype, data, wanted) => {
    const read = (): string => {
      const bytes = tensorBytes(datatype, [5], data);
      return (datatype === "INT8" ? new Int8Array(bytes.buffer) : bytes).join(",");
    };
    if (wanted === "invalid-input") expect(reasonOf(read)).toBe("invalid-input");
    else expect(read()).toBe(wanted);
  });
});

describe("text in data", () => {
  it("BYTES elements are those of JSON.parse", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "binary", maxLength: 10 }), { maxLength: 5 }),
        fc.boolean(),
        (words, ascii) => {
          let text = JSON.stringify(words);
          if (ascii) {
            text = text.replaceAll(
              /[\u007f-\uffff]/g,
              (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
            );
          }
          const bytes = tensorBytes("BYTES", [words.length], text);
          const expected = words.flatMap((word) => {
            const own = encode(word);
            return [own.length & 255, own.length >> 8, 0, 0, ...own];
          });
          expect([...bytes]).toEqual(expected);
        },
      ),
      { seed },
    );
  });

  const wrong: readonly [string, string][] = [
    ["half of a surrogate pair", '["\\ud83d"]'],
    ["the other half", '["\\udca9 \\ud83d"]'],
    ["an unknown escape", '["\\x"]'],
    ["a short escape", '["\\u12"]'],
    ["a line end", '["a\nb"]'],
    ["no end", '["abc'],
    ["a number", "[7]"],
  ];
  it.each(wrong)("refuses %s", (_name, data) => {
    expect(reasonOf(() => tensorBytes("BYTES", [1], data))).toBe("invalid-input");
  });

  it("refuses bytes that are not UTF-8", () => {
    const bytes = request("BYTES", [1], '["a?"]');
    bytes[bytes.indexOf(0x3f)] = 0xc3;
    expect(reasonOf(() => readInferRequest(bytes, undefined))).toBe("invalid-input");
  });
});

describe("the shape of data", () => {
  it("may be flat or nested, at one depth", () => {
    const values = "1,2,3,4,5,6".split(",");
    const forms = ["[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", "[[1,2,3,4,5,6]]"];
    for (const form of forms) {
      expect([...new Float32Array(tensorBytes("FP32", [2, 3], form).buffer)].map(String)).toEqual(values);
    }
    expect(tensorBytes("FP32", [2, 0], "[[],[]]")).toHaveLength(0);
    expect([...tensorBytes("UINT8", [], "[7]")]).toEqual([7]);
  });

  it("reads numbers that are not finite as Python and Triton write them, and writes them so", () => {
    const data = "[NaN,Infinity,-Infinity,-0,1.5]";
    for (const datatype of ["FP32", "FP64"] as const) {
      const bytes = tensorBytes(datatype, [5], data.replaceAll(",", " , "));
      const view = datatype === "FP32" ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
      expect([...view]).toEqual([NaN, Infinity, -Infinity, -0, 1.5]);
      const spec = { name: "x", datatype, shape: [5] };
      expect([...dataPieces({ spec, bytes })].join("")).toBe(data);
      expect(reasonOf(() => tensorBytes(datatype, [1], "[1e999]"))).toBe("invalid-input");
    }
    for (const datatype of ["INT32", "INT64", "BOOL"] as const) {
      expect(reasonOf(() => tensorBytes(datatype, [1], "[NaN]"))).toBe("invalid-input");
    }
  });

  const wrong: readonly [string, string][] = [
    ["[[1,2],[3,4],[5,6]]", "invalid-input"],
    ["[[1,2,3],4,5,6]", "invalid-input"],
    ["[1,2,3,[4,5,6]]", "invalid-input"],
    ["[[[1,2,3],[4,5,6]]]", "invalid-input"],
    ["[1,2,3,4,5]", "body-mismatch"],
    ["[1,2,3,4,5,6,7]", "body-mismatch"],
    ["[]", "body-mismatch"],
    ["[[1,2,3][4,5,6]]", "invalid-input"],
    ["[[1,2,3],[4,5,6]", "invalid-input"],
    ["[1,2,3,4,5,6,]", "invalid-input"],
    ["[,1,2,3,4,5,6]", "invalid-input"],
    ["[1,,2,3,4,5,6]", "invalid-input"],
    ["[1 2,3,4,5,6]", "invalid-input"],
    ["[+NaN,2,3,4,5,6]", "invalid-input"],
    ["[1,2,3,4,5,Infinit]", "invalid-input"],
    ["[1,2,3,4,5,NaN6]", "invalid-input"],
    ["[1,2,3,4,5,-]", "invalid-input"],
    ["[1,2,3,4,5,+6]", "invalid-input"],
    ["[01,2,3,4,5,6]", "invalid-input"],
    ["[1.,2,3,4,5,6]", "invalid-input"],
    ["[.1,2,3,4,5,6]", "invalid-input"],
    ["[1e,2,3,4,5,6]", "invalid-input"],
    ["[0x1,2,3,4,5,6]", "invalid-input"],
    ["[1,2,3,4,5,null]", "invalid-input"],
    ['[1,2,3,4,5,"6"]', "invalid-input"],
    ["[1,2,3,4,5,{}]", "invalid-input"],
    ['{"length":6}', "invalid-input"],
    ["5", "invalid-input"],
    [`${"[".repeat(100_000)}1${"]".repeat(100_000)}`, "invalid-input"],
  ];
  it.each(wrong)("refuses %s", (data, reason) => {
    expect(reasonOf(() => tensorBytes("FP32", [2, 3], data))).toBe(reason);
  });

  it("says once of which tensor it speaks", () => {
    for (const data of ["[1,2]", "[1,2,3,4,5,6,7]", "[1,2,3,4,5,-]", "[]"]) {
      expect(() => tensorBytes("FP32", [2, 3], data)).toThrow(/^(?!.*x: .*x: )/);
    }
    const more = request("FP32", [6], "[1,2,3,4,5,6,7]");
    expect(() => readInferRequest(more, undefined)).toThrow(/^x: its shape takes 6 values, but more came$/);
  });

  it("does not allocate for a shape that the text cannot fill", () => {
    const body = request("FP64", [2 ** 20, 32], "[1]");
    expect(reasonOf(() => readInferRequest(body, undefined))).toBe("body-mismatch");
  });
});

describe("messages", () => {
  it("reads the same as JSON.parse, if there is no data", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (text) => {
        expect(parseMessage(encode(text))).toEqual(JSON.parse(text));
      }),
      { seed },
    );
  });

  it("leaves the data of inputs and outputs, and only theirs, as text", () => {
    const parsed = parseMessage(
      encode('{"data":[1],"inputs":[{"data":[2],"parameters":{"data":[3]}}],"x":[{"data":[4]}]}'),
    );
    expect(parsed).toMatchObject({ data: [1], x: [{ data: [4] }] });
    const [input] = (parsed as { inputs: [{ data: unknown; parameters: unknown }] }).inputs;
    expect(input.data).toBeInstanceOf(ArrayText);
    expect(input.parameters).toEqual({ data: [3] });
  });

  const hostile: readonly [string, string][] = [
    ["nothing", ""],
    ["blanks", " \n"],
    ["two values", "{}{}"],
    ["a key twice", '{"id":"1","id":"2"}'],
    ["a key twice, once escaped", '{"id":"1","\\u0069d":"2"}'],
    ["a comma at the end", '{"id":"1",}'],
    ["a comment", '{"id":"1"/**/}'],
    ["single quotes", "{'id':1}"],
    ["NaN", '{"id":NaN}'],
    ["deep arrays", `{"id":${"[".repeat(50_000)}`],
    ["deep objects", '{"a":'.repeat(50_000)],
    ["a byte order mark", "\ufeff{}"],
    ["a long number", `{"id":${"1".repeat(1000)}}`],
    ["a word cut short", '{"id":tru}'],
    ["half of a surrogate pair", '{"id":"\\ud800"}'],
  ];
  it.each(hostile)("refuses %s", (_name, text) => {
    expect(reasonOf(() => parseMessage(encode(text)))).toBe("invalid-input");
  });

  it("takes __proto__ and constructor for names", () => {
    const parsed = parseMessage(encode('{"__proto__":{"polluted":1},"constructor":2}')) as object;
    expect(Object.keys(parsed)).toEqual(["__proto__", "constructor"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it("any bytes are either a message or refused, and nothing else", () => {
    const token = fc.constantFrom(
      '{"inputs":[', '"name":"x"', '"datatype":"FP32"', '"shape":[2]', '"data":', "[1,2]", "[", "]", "{", "}", ",", ":", '"', "\\", "1", "-", "e9", ".", "null", "\u0000", "é",
    ); // prettier-ignore
    fc.assert(
      fc.property(fc.array(token, { maxLength: 30 }), (tokens) => {
        expect(["accepted", "invalid-input", "body-mismatch"]).toContain(
          reasonOf(() => readInferRequest(encode(tokens.join("")), undefined)),
        );
      }),
      { seed, numRuns: 1000 },
    );
  });

  it("lets others have their turn while it writes a large array, and writes the same", async () => {
    const bytes = new Uint8Array(Float32Array.from({ length: 100_000 }, (_, index) => index / 7).buffer);
    const tensor = { datatype: "FP32", shape: [100_000], parameters: {}, bytes } as const;
    const outputs = [
      { ...tensor, name: "y" },
      { ...tensor, name: "z" },
    ];
    const reply = { modelName: "m", parameters: {}, outputs };
    for (const binary of [() => false, (output: { readonly name: string }) => output.name === "z"]) {
      let pauses = 0;
      const inSteps = await writeInferReplyInSteps(reply, binary, async () => {
        pauses += 1;
      });
      const atOnce = writeInferReply(reply, binary);
      expect(pauses).toBeGreaterThan(3);
      expect(inSteps.headers).toEqual(atOnce.headers);
      expect(Buffer.compare(Buffer.concat(inSteps.parts), Buffer.concat(atOnce.parts))).toBe(0);
      const length = inSteps.headers["inference-header-content-length"];
      pauses = 0;
      const whole = Buffer.concat(inSteps.parts);
      const headerLength = length === undefined ? undefined : Number(length);
      const readLater = await readInferReplyInSteps(whole, headerLength, defaultWireLimits, async () => {
        pauses += 1;
      });
      expect(readLater.outputs.map((output) => Buffer.compare(output.bytes, bytes))).toEqual([0, 0]);
      expect(pauses).toBeGreaterThan(0);
    }
  });

  it("lets others have their turn while it reads many arrays of which none is large", async () => {
    const numbers = JSON.stringify(Array.from({ length: 9000 }, (_, index) => index));
    const texts = JSON.stringify(Array.from({ length: 300 }, (_, index) => String(index)));
    const outputs = Array.from({ length: 32 }, (_, index) =>
      index % 2 === 0
        ? `{"name":"y${index}","datatype":"FP32","shape":[9000],"data":${numbers}}`
        : `{"name":"y${index}","datatype":"BYTES","shape":[300],"data":${texts}}`,
    );
    const body = new TextEncoder().encode(`{"model_name":"m","outputs":[${outputs.join(",")}]}`);
    let pauses = 0;
    const read = await readInferReplyInSteps(body, undefined, defaultWireLimits, async () => {
      pauses += 1;
    });
    expect(pauses).toBe(5);
    expect(read.outputs.map(({ bytes }) => bytes.byteLength)).toEqual(
      outputs.map((_, index) => (index % 2 === 0 ? 36_000 : 300 * 4 + 10 + 90 * 2 + 200 * 3)),
    );
  });

  it("lets others have their turn while it reads a large array, and reads the same", async () => {
    const values = Array.from({ length: 200_000 }, (_, index) => index / 8);
    const body = request("FP32", [values.length], JSON.stringify(values));
    let pauses = 0;
    const { inputs } = await readInferRequestInSteps(body, undefined, defaultWireLimits, async () => {
      pauses += 1;
    });
    expect(pauses).toBe(4);
    expect(inputs).toEqual(readInferRequest(body, undefined).inputs);
  });
});
