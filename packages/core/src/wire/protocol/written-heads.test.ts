import { describe, expect, it } from "vitest";
import { headerLengthOf, type Message } from "./message.ts";
import { writeInferReply } from "./infer-reply.ts";
import type { InferReplyMessage } from "./infer-messages.ts";
import type { WireTensor } from "./wire-tensor.ts";
import { writtenHeads } from "./written-heads.ts";

const tensor = (name: string, values: readonly number[], more: Partial<WireTensor> = {}): WireTensor => ({
  name,
  datatype: "FP32",
  shape: [1, values.length],
  parameters: {},
  bytes: new Uint8Array(Float32Array.from(values).buffer),
  ...more,
});

const reply = (outputs: readonly WireTensor[], more: Partial<InferReplyMessage> = {}): InferReplyMessage => ({
  modelName: "m",
  modelVersion: "1",
  parameters: {},
  outputs,
  ...more,
});

const allBinary = (): boolean => true;
const noneBinary = (): boolean => false;

/** The bytes of a message, one after another. */
const bytesOf = ({ parts }: Message): Buffer => Buffer.concat(parts);

describe("written heads", () => {
  const first = reply([tensor("y", [1, 2])]);

  it("writes the head of replies that differ in elements only once", async () => {
    const heads = writtenHeads();
    let written = 0;
    const write = () => (written++, writeInferReply(first, allBinary));
    await heads.layOut(first, allBinary, write);
    const second = reply([tensor("y", [3, 4])]);
    const again = await heads.layOut(second, allBinary, write);
    expect(written).toBe(1);
    const afresh = writeInferReply(second, allBinary);
    expect(bytesOf(again)).toEqual(bytesOf(afresh));
    expect(headerLengthOf(again.headers)).toBe(headerLengthOf(afresh.headers));
  });

  const others: readonly (readonly [what: string, message: InferReplyMessage, binary: () => boolean])[] = [
    ["another model", reply([tensor("y", [1, 2])], { modelName: "n" }), allBinary],
    ["another version", reply([tensor("y", [1, 2])], { modelVersion: "2" }), allBinary],
    ["an id", reply([tensor("y", [1, 2])], { id: "7" }), allBinary],
    ["a parameter", reply([tensor("y", [1, 2])], { parameters: { a: 1 } }), allBinary],
    ["another name", reply([tensor("z", [1, 2])]), allBinary],
    ["another datatype", reply([tensor("y", [1, 2], { datatype: "INT32" })]), allBinary],
    ["another shape of as many bytes", reply([tensor("y", [1, 2], { shape: [2, 1] })]), allBinary],
    ["another length", reply([tensor("y", [1, 2, 3])]), allBinary],
    ["a parameter of a tensor", reply([tensor("y", [1, 2], { parameters: { a: 1 } })]), allBinary],
    ["two tensors", reply([tensor("y", [1, 2]), tensor("z", [3])]), allBinary],
    ["no tensor", reply([]), allBinary],
    ["an empty tensor", reply([tensor("y", [])]), allBinary],
    ["its elements as JSON", reply([tensor("y", [1, 2])]), noneBinary],
  ];

  it.each(others)(
    "distinguishes a reply that has %s, also when it comes again",
    async (_, message, binary) => {
      const heads = writtenHeads();
      await heads.layOut(first, allBinary, () => writeInferReply(first, allBinary));
      const afresh = writeInferReply(message, binary);
      for (let time = 0; time < 2; time++) {
        const laidOut = await heads.layOut(message, binary, () => writeInferReply(message, binary));
        expect(bytesOf(laidOut)).toEqual(bytesOf(afresh));
        expect(laidOut.headers).toEqual(afresh.headers);
      }
    },
  );
});
