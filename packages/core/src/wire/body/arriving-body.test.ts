import { describe, expect, it } from "vitest";
import { settle } from "@longshore/testkit";
import { LongshoreError } from "../../words/base/index.ts";
import { ArrivingBody } from "./arriving-body.ts";

const chunk = new Uint8Array(65_536);

function arriving(byteLength: number) {
  const asked: string[] = [];
  const released: Uint8Array[] = [];
  const body = new ArrivingBody({
    byteLength,
    release: (memory) => void released.push(memory),
    pause: () => void asked.push("pause"),
    resume: () => void asked.push("resume"),
  });
  const { read, each, into } = body.body;
  if (!each || !into) throw new Error("a stream of known length was expected");
  return { asked, released, arriving: body, read, each, into };
}

describe("a body on its way", () => {
  it("reads on while bytes are missing, and never beyond its end", async () => {
    const { asked, arriving: body, read } = arriving(6 * chunk.byteLength);
    const chunks = read()[Symbol.asyncIterator]();
    for (let count = 0; count < 5; count++) body.came(chunk);
    expect(asked).toEqual(["pause"]);
    await chunks.next();
    expect(asked).toEqual(["pause", "resume"]);
    body.came(chunk);
    for (let count = 0; count < 5; count++) await chunks.next();
    expect(await chunks.next()).toMatchObject({ done: true });
    expect(asked).toEqual(["pause", "resume"]);
  });

  it("takes memory for the whole body after 32 KiB, and reports the earlier bytes", async () => {
    const whole = 3 * chunk.byteLength;
    const { arriving: body, into } = arriving(whole);
    const taken: Uint8Array[] = [];
    const told: number[] = [];
    const done = into(
      () => (taken[0] = new Uint8Array(whole)),
      (bytes) => void told.push(bytes),
    );
    body.came(new Uint8Array(1000).fill(1));
    await settle();
    expect([taken.length, told]).toEqual([0, [1000]]);
    body.came(new Uint8Array(31_768).fill(2));
    await settle();
    expect(body.room?.byteLength).toBe(whole - 32_768);
    body.room?.fill(3);
    body.filled(whole - 32_768);
    await done;
    expect([0, 999, 1000, 32_767, 32_768, whole - 1].map((at) => taken[0]?.[at])).toEqual([1, 1, 2, 2, 3, 3]);
    expect(told.at(-1)).toBe(whole);
    const short = arriving(10);
    const filled = short.into(() => (taken[1] = new Uint8Array(10)));
    short.arriving.came(new Uint8Array(10).fill(4));
    await filled;
    expect(taken[1]?.[9]).toBe(4);
  });

  it("gathers small waiting pieces, which would each take hundreds of times their content", async () => {
    const count = 10_000;
    const { arriving: body, read, released } = arriving(count + chunk.byteLength);
    for (let index = 0; index < count; index++) body.came(Uint8Array.of(index % 251));
    body.came(chunk);
    expect(released.length).toBe(count - 1);
    const pieces: Uint8Array[] = [];
    for await (const piece of read()) pieces.push(piece);
    expect(pieces.length).toBeLessThan(6);
    expect(pieces.at(-1)).toBe(chunk);
    const drops = Buffer.concat(pieces.slice(0, -1));
    expect(drops.every((value, index) => value === index % 251)).toBe(true);
    expect(drops.byteLength).toBe(count);
  });

  it("takes no memory if it breaks off before, or if no reader wants that much", async () => {
    const broken = arriving(3 * chunk.byteLength);
    const none = (): Uint8Array => {
      throw new Error("memory was taken");
    };
    const outcome = expect(broken.into(none)).rejects.toMatchObject({ reason: "body-mismatch" });
    broken.arriving.came(new Uint8Array(1000));
    broken.arriving.gone();
    await outcome;
    const refused = arriving(3 * chunk.byteLength);
    const refusal = expect(
      refused.into(none, () => {
        throw new LongshoreError("rejected", "admission", "no more fits");
      }),
    ).rejects.toMatchObject({ reason: "rejected" });
    refused.arriving.came(new Uint8Array(1000));
    await refusal;
    expect(refused.asked.at(-1)).toBe("pause");
  });

  it("hands nothing over any more once it was dropped", async () => {
    const { arriving: body, each } = arriving(3 * chunk.byteLength);
    let taken = 0;
    const outcome = expect(each(() => void taken++)).rejects.toMatchObject({ reason: "body-mismatch" });
    body.came(chunk);
    body.drop();
    body.came(chunk);
    await settle();
    await outcome;
    expect(taken).toBe(1);
  });

  it("frees copied chunks, chunks that wait when it is dropped and later ones, with the head before them", async () => {
    const { released, arriving: body, each } = arriving(4 * chunk.byteLength);
    const [first, second, third] = [1, 2, 3].map((value) => new Uint8Array(chunk.byteLength).fill(value));
    body.came(first!.subarray(500), first);
    const outcome = expect(each(() => undefined)).rejects.toMatchObject({ reason: "body-mismatch" });
    body.drop();
    body.came(second!);
    await settle();
    await outcome;
    expect(released.map((memory) => memory[0])).toEqual([1, 2]);
    const unread = arriving(4 * chunk.byteLength);
    unread.arriving.came(third!);
    unread.arriving.drop();
    expect(unread.released.map((memory) => memory[0])).toEqual([3]);
  });
});
