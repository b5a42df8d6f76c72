import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../base/index.ts";
import { writeInferReplyInSteps } from "../../wire/protocol/index.ts";
import { readInferRequest, readInferRequestInSteps } from "../../wire/protocol/index.ts";
import { defaultWireLimits } from "../../wire/protocol/index.ts";
import { bytesTensor } from "../tensor/index.ts";
import { parseMessage } from "./message-text.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const request = (data: string, shape: string, datatype = "BYTES"): string =>
  `{"inputs":[{"name":"x","datatype":"${datatype}","shape":${shape},"data":${data}}]}`;
const list = (count: number, item: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => item(index)).join(",");

/** The error that a request gets, and how many turns it took. */
async function refused(text: string): Promise<{ readonly message: string; readonly turns: number }> {
  let turns = 1;
  try {
    await readInferRequestInSteps(encode(text), undefined, defaultWireLimits, async () => {
      turns += 1;
    });
  } catch (thrown) {
    if (!LongshoreError.is(thrown)) throw thrown;
    expect(thrown.reason).toBe("invalid-input");
    return { message: thrown.message, turns };
  }
  throw new Error("it was not refused");
}

describe("a message", () => {
  it("has as many values besides data as inputs and outputs take, and no more", async () => {
    const full = `{"id":"a","parameters":{},"inputs":[${list(
      256,
      (index) =>
        `{"name":"i${index}","datatype":"FP32","shape":[1,1,1,1],"parameters":{"p":1},"data":[${index}]}`,
    )}],"outputs":[${list(256, (index) => `{"name":"o${index}","parameters":{"classification":1}}`)}]}`;
    expect(readInferRequest(encode(full), undefined).inputs).toHaveLength(256);
    for (const text of [
      `{${list(9000, (index) => `"k${index}":1`)}}`,
      `{"parameters":{${list(9000, (index) => `"k${index}":1`)}}}`,
      `{"a":[${list(9000, () => "1")}]}`,
      `{"inputs":[${list(9000, () => "{}")}]}`,
      `{"inputs":[{"name":"x","shape":[${list(9000, () => "1")}]}]}`,
      // `data` of any other object is an ordinary value.
      `{"a":{"data":[${list(90_000, () => "1")}]}}`,
      `{"inputs":[[{"data":[${list(90_000, () => "1")}]}]]}`,
    ]) {
      expect((await refused(text)).message).toBe("the message has more than 8192 values besides data");
    }
  });

  it("keeps all digits of whole numbers of 64 bits among its parameters, and of no other numbers", () => {
    const read = (number: string): unknown =>
      readInferRequest(encode(`{"parameters":{"p":${number}},"inputs":[]}`), undefined).parameters["p"];
    expect(read("18446744073709551615")).toBe(2n ** 64n - 1n);
    expect(read("9007199254740992")).toBe(2n ** 53n);
    expect(read("-9007199254740993")).toBe(-(2n ** 53n) - 1n);
    expect(read("-9223372036854775808")).toBe(-(2n ** 63n));
    expect(read("-9223372036854775809")).toBe(-(2 ** 63));
    expect(read("9007199254740991")).toBe(9007199254740991);
    expect(read("18446744073709551616")).toBe(2 ** 64);
    expect(read("9007199254740993.0")).toBe(2 ** 53);
    const entry = '{"shape":[9007199254740993],"parameters":{"p":9007199254740993}}';
    expect(parseMessage(encode(`{"id":9007199254740993,"inputs":[${entry}]}`))).toEqual({
      id: 2 ** 53,
      inputs: [{ shape: [2 ** 53], parameters: { p: 2n ** 53n + 1n } }],
    });
  });

  it("has at most a megabyte besides data, wherever that is", async () => {
    const long = "a".repeat(2 ** 20);
    for (const text of [
      `{"a":"${long}"}`,
      `{"${long}":1}`,
      `{${" ".repeat(2 ** 20)}}`,
      `{"inputs":[{"name":"${long}"}]}`,
      `{"a":{"data":["${long}"]},"inputs":[]}`,
      `{"inputs":[{"a":{"data":["${long}"]}}]}`,
      `{"inputs":[{"data":["${long}"],"name":"${long}"}]}`,
    ]) {
      expect((await refused(text)).message).toBe("the message has more than 1048576 bytes besides data");
    }
    expect((await refused("[".repeat(100_000))).message).toBe("the message is nested more than 32 deep");
  });

  it("is read in many turns if its data is long, for any data", async () => {
    const size = 2 ** 21;
    const long: readonly (readonly [data: string, shape: string, datatype?: string])[] = [
      [`["${"a".repeat(size)}"]`, "[1]"],
      [`["${"\\n".repeat(size / 2)}"]`, "[1]"],
      [`["${"ä".repeat(size / 2)}"]`, "[1]"],
      [`[${list(size / 64, () => `"${"a".repeat(61)}"`)}]`, `[${size / 64}]`],
      [`[${list(size / 4, () => "[1]")}]`, `[${size / 4},1]`, "INT32"],
      [`[${list(size / 4096, () => `${" ".repeat(4090)}1`)}]`, `[${size / 4096}]`, "INT32"],
      [`[${list(size / 1024, () => "1".repeat(300))}]`, `[${size / 1024}]`, "FP64"],
    ];
    for (const [data, shape, datatype] of long) {
      const body = encode(request(data, shape, datatype));
      let turns = 1;
      const read = await readInferRequestInSteps(body, undefined, defaultWireLimits, async () => {
        turns += 1;
      });
      const [input] = read.inputs;
      // No turn goes through much more than a megabyte.
      expect(turns, shape).toBeGreaterThanOrEqual(Math.floor(body.byteLength / 2 ** 20));
      expect(input?.bytes.byteLength, shape).toBeGreaterThan(0);
    }
  });

  it("is read in more turns where its numbers take longer than others", async () => {
    const turns = async (one: string, datatype: string): Promise<number> => {
      let count = 0;
      const text = request(`[${list(100_000, () => one)}]`, "[100000]", datatype);
      await readInferRequestInSteps(encode(text), undefined, defaultWireLimits, async () => void count++);
      return count;
    };
    const plain = await turns("0.1234567890123", "FP32");
    for (const [one, datatype] of [
      ["0.12345678901234567", "FP64"],
      ["0.1234567890123456789012e-30", "FP32"],
      ["9223372036854775807", "INT64"],
      ['"9223372036854775807"', "INT64"],
    ] as const) {
      expect(await turns(one, datatype), one).toBeGreaterThan(3 * plain);
    }
  });

  it("has neither blanks, empty rows nor digits without end in its data", async () => {
    const long = 2 ** 20;
    const between = "x: the data has more than 4096 bytes between two values";
    expect((await refused(request(`[${" ".repeat(long)}"a"]`, "[1]"))).message).toBe(between);
    expect((await refused(request(`[${list(long, () => "[]")}]`, "[1,1]"))).message).toBe(between);
    expect((await refused(request(`[${"1".repeat(long)}]`, "[1]", "FP32"))).message).toBe(
      "x: the data holds a number of 1100 or more characters",
    );
    expect((await refused(request(`[0.${"1".repeat(long)}]`, "[1]", "FP64"))).message).toContain("1100");
    expect((await refused(request(`[1e${"1".repeat(long)}]`, "[1]", "INT64"))).message).toContain("1100");
  });

  it("has long texts as JSON.parse gives them, wherever they are cut", async () => {
    const unit = fc.oneof(
      fc.constantFrom("\\ud83d\\ude00", "\\\\ud83d", "\\u00e4", "😀", "語", "ä", "\\n", "\\\\", '\\"', "/"),
      fc.string({ unit: "grapheme-ascii", maxLength: 9 }).map((text) => JSON.stringify(text).slice(1, -1)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(unit, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 200_000 }),
        async (units, length) => {
          const once = units.join("");
          const json = `["${once.repeat(Math.ceil(length / Math.max(1, once.length)))}","b"]`;
          const read = await readInferRequestInSteps(
            encode(request(json, "[2]")),
            undefined,
            defaultWireLimits,
            async () => undefined,
          );
          const meant = bytesTensor("x", JSON.parse(json) as string[]);
          expect(Buffer.compare(read.inputs[0]?.bytes ?? new Uint8Array(0), meant.bytes)).toBe(0);
          const outputs = [{ ...meant.spec, parameters: {}, bytes: meant.bytes }];
          const reply = { modelName: "m", parameters: {}, outputs };
          const { parts } = await writeInferReplyInSteps(
            reply,
            () => false,
            async () => undefined,
          );
          const written = JSON.parse(Buffer.concat(parts).toString()) as { outputs: [{ data: unknown }] };
          expect(written.outputs[0].data).toEqual(JSON.parse(json));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("refuses a long text that is not JSON or not UTF-8, wherever that is", async () => {
    const long = "z".repeat(100_000);
    for (const wrong of ["\\ud83d", "\\ude00\\ud83d", "\\x", "\\u12", "\n"]) {
      expect((await refused(request(`["${long}${wrong}"]`, "[1]"))).message, wrong).toMatch(
        /text|JSON|half of/,
      );
      expect((await refused(request(`["${wrong}${long}"]`, "[1]"))).message, wrong).toMatch(
        /text|JSON|half of/,
      );
    }
    const bytes = encode(request(`["${long}${long}"]`, "[1]"));
    bytes[150_000] = 0xff;
    expect(() => readInferRequest(bytes, undefined)).toThrow("x: the data holds text that is not UTF-8");
  });
});
