import { settle } from "@longshore/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import { readInferReplyInSteps } from "./infer-reply.ts";
import { readInferHeadInSteps, readInferRequest } from "./infer-request.ts";
import { defaultWireLimits } from "./limits.ts";
import { knownHeads, knownReplyHeads } from "./known-heads.ts";

const text = new TextEncoder();

function bodyOf(json: string, binary: readonly number[]): { body: Uint8Array; headerLength: number } {
  const head = text.encode(json);
  const body = new Uint8Array(head.byteLength + binary.length);
  body.set(head);
  body.set(binary, head.byteLength);
  return { body, headerLength: head.byteLength };
}

const input = (name: string, datatype: string, bytes: number): string =>
  `{"name":"${name}","datatype":"${datatype}","shape":[${bytes}],"parameters":{"binary_data_size":${bytes}}}`;

describe("heads that are known", () => {
  it("give the same as reading the body again, or nothing, in any order", () => {
    const heads = fc.constantFrom(
      `{"inputs":[${input("a", "UINT8", 3)}]}`,
      `{"id":"7","inputs":[${input("a", "UINT8", 3)}],"outputs":[{"name":"y"}]}`,
      `{"inputs":[${input("a", "INT8", 1)},${input("b", "UINT8", 2)}],"parameters":{"binary_data_output":true}}`,
      `{"inputs":[{"name":"a","datatype":"UINT8","shape":[1],"data":[5]},${input("b", "UINT8", 2)}]}`,
      '{"inputs":[{"name":"t","datatype":"BYTES","shape":[0],"parameters":{"binary_data_size":0}}]}',
      `{"inputs":[${input("\u00fc", "UINT8", 3)}]} `,
      '{"inputs":[',
    );
    const binary = fc.uint8Array({ maxLength: 4 });
    fc.assert(
      fc.property(fc.array(fc.tuple(heads, binary), { maxLength: 40 }), (bodies) => {
        const known = knownHeads();
        for (const [json, bytes] of bodies) {
          const { body, headerLength } = bodyOf(json, [...bytes]);
          const found = known.find(body, headerLength);
          let read: ReturnType<typeof readInferRequest> | undefined;
          try {
            read = readInferRequest(body, headerLength);
          } catch (thrown) {
            expect(LongshoreError.is(thrown)).toBe(true);
          }
          if (found) expect(found).toEqual(read);
          if (read) known.learn(body, headerLength, read);
        }
      }),
    );
  });

  it("of replies are found again, unless they carry an account, which is another each time", async () => {
    const known = knownReplyHeads();
    for (const parameters of ["{}", '{"longshore_account":"{}"}']) {
      const json = `{"model_name":"m","parameters":${parameters},"outputs":[${input("y", "UINT8", 2)}]}`;
      const { body, headerLength } = bodyOf(json, [1, 2]);
      const read = await readInferReplyInSteps(body, headerLength, defaultWireLimits, settle, known);
      expect(known.find(body, headerLength)).toEqual(parameters === "{}" ? read : undefined);
    }
  });

  it("are found again with the bytes of the new body, and not with another length", () => {
    const known = knownHeads();
    const json = `{"inputs":[${input("a", "UINT8", 2)}]}`;
    const first = bodyOf(json, [1, 2]);
    known.learn(first.body, first.headerLength, readInferRequest(first.body, first.headerLength));
    const again = bodyOf(json, [3, 4]);
    expect(known.find(again.body, again.headerLength)?.inputs[0]?.bytes).toEqual(Uint8Array.of(3, 4));
    const longer = bodyOf(json, [3, 4, 5]);
    expect(known.find(longer.body, longer.headerLength)).toBeUndefined();
  });

  it("are found again for a body that is on its way, whether one was read whole before or not", async () => {
    const json = `{"inputs":[${input("a", "INT8", 1)},${input("b", "UINT8", 2)}]}`;
    const { body, headerLength } = bodyOf(json, [1, 2, 3]);
    const head = body.subarray(0, headerLength);
    const fresh = await readInferHeadInSteps(head, 3, defaultWireLimits, settle, knownHeads());
    expect(fresh.inputs.map(({ awaitedBytes }) => awaitedBytes)).toEqual([1, 2]);
    const known = knownHeads();
    expect(await readInferHeadInSteps(head, 3, defaultWireLimits, settle, known)).toEqual(fresh);
    expect(known.find(head, headerLength, 3)).toEqual(fresh);
    expect(known.find(head, headerLength, 4)).toBeUndefined();
    expect(known.find(body, headerLength)).toEqual(readInferRequest(body, headerLength));
    const whole = knownHeads();
    whole.learn(body, headerLength, readInferRequest(body, headerLength));
    expect(whole.find(head, headerLength, 3)).toEqual(fresh);
  });

  it("are not remembered if texts have to be read, and only up to a limit", () => {
    const known = knownHeads();
    const texts = bodyOf(
      '{"inputs":[{"name":"t","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":4}}]}',
      [0, 0, 0, 0],
    );
    known.learn(texts.body, texts.headerLength, readInferRequest(texts.body, texts.headerLength));
    expect(known.find(texts.body, texts.headerLength)).toBeUndefined();
    const one = (id: number): ReturnType<typeof bodyOf> =>
      bodyOf(`{"id":"${id}","inputs":[${input("a", "UINT8", 1)}]}`, [9]);
    for (let id = 0; id < 300; id++) {
      const { body, headerLength } = one(id);
      known.learn(body, headerLength, readInferRequest(body, headerLength));
    }
    expect(known.find(one(0).body, one(0).headerLength)).toBeUndefined();
    expect(known.find(one(299).body, one(299).headerLength)?.id).toBe("299");
  });
});
