import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import { type AnswerFrame, readAnswerFrames, writeAnswerFrame } from "./answer-frames.ts";

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncIterable<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.byteLength; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function all(body: AsyncIterable<Uint8Array>, maxBytes = 1000): Promise<AnswerFrame[]> {
  const frames: AnswerFrame[] = [];
  for await (const frame of readAnswerFrames(body, maxBytes)) frames.push(frame);
  return frames;
}

const joined = (frames: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(frames.flatMap((one) => [...one]));
const reasonOf = (body: Uint8Array): Promise<unknown> =>
  all(cut(body, [7])).then(
    () => "nothing",
    (thrown: unknown) => LongshoreError.is(thrown) && thrown.reason,
  );

describe("frames of answers", () => {
  it("come back from any cut of their body, tensors at a multiple of 8", async () => {
    const answers = fc.array(
      fc.record({ json: fc.uint8Array({ maxLength: 40 }), rest: fc.uint8Array({ maxLength: 80 }) }),
    );
    const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(answers, sizes, async (given, pieces) => {
        const body = joined([
          ...given.map(({ json, rest }) => writeAnswerFrame("answer", [json, rest], json.byteLength)),
          writeAnswerFrame("end"),
        ]);
        const frames = await all(cut(body, pieces));
        expect(frames).toEqual(
          given.map(({ json, rest }) => ({
            kind: "answer",
            headerLength: json.byteLength,
            bytes: joined([json, rest]),
          })),
        );
        for (const frame of frames) {
          if (frame.kind === "answer") expect((frame.bytes.byteOffset + frame.headerLength) % 8).toBe(0);
        }
      }),
    );
  });

  it("end with an error, and are refused when they end with nothing or make no sense", async () => {
    const answer = writeAnswerFrame("answer", [new Uint8Array(9)]);
    const error = writeAnswerFrame("error", [new TextEncoder().encode("{}")]);
    const after = await all(cut(joined([answer, error, answer]), [5]));
    expect(after.map(({ kind }) => kind)).toEqual(["answer", "error"]);
    expect(await reasonOf(joined([answer]))).toBe("body-mismatch");
    expect(await reasonOf(joined([answer]).subarray(0, 15))).toBe("body-mismatch");
    expect(await reasonOf(writeAnswerFrame("answer", [new Uint8Array(1001)]))).toBe("body-mismatch");
    expect(await reasonOf(writeAnswerFrame("answer", [new Uint8Array(3)], 4))).toBe("body-mismatch");
    expect(await reasonOf(Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).toBe("body-mismatch");
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        expect(["nothing", "body-mismatch"]).toContain(await reasonOf(bytes));
      }),
    );
  });

  it("close their body when the reader leaves", async () => {
    let closed = false;
    async function* body(): AsyncIterable<Uint8Array> {
      try {
        for (;;) yield writeAnswerFrame("answer", [new Uint8Array(2)]);
      } finally {
        closed = true;
      }
    }
    for await (const frame of readAnswerFrames(body(), 10)) {
      expect(frame.bytes.byteLength).toBe(2);
      break;
    }
    expect(closed).toBe(true);
  });
});
