import { describe, expect, it } from "vitest";
import { settle } from "@longshore/testkit";
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
  if (body.body.kind !== "stream" || !body.body.each) throw new Error("a stream was expected");
  return { asked, released, arriving: body, read: body.body.read, each: body.body.each };
}

describe("a body on its way", () => {
  it("asks for more while some is missing, and never for what lies behind its end", async () => {
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

  it("frees what was copied, what waits when it is dropped and what comes then, with the head before it", async () => {
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
