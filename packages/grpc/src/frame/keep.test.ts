import { describe, expect, it } from "vitest";
import { keep } from "./keep.ts";

const joined = (chunks: readonly Uint8Array[]): Buffer => Buffer.concat(chunks);

describe("chunks that are kept", () => {
  it("are few, however short the client cuts them", () => {
    const all = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < all.length; at++) keep(chunks, all.subarray(at, at + 1));
    expect(chunks.length).toBeLessThan(40);
    expect(joined(chunks).equals(all)).toBe(true);
  });

  it("hold no large buffers of which they are a small part", () => {
    const chunks: Uint8Array[] = [];
    for (let round = 0; round < 100; round++)
      keep(chunks, new Uint8Array(65_536).subarray(round, round + 10));
    const held = new Set(chunks.map(({ buffer }) => buffer));
    expect([...held].reduce((sum, buffer) => sum + buffer.byteLength, 0)).toBe(1000);
  });

  it("stay as they are if they are long and have no other owner", () => {
    const chunks: Uint8Array[] = [];
    const long = [new Uint8Array(20_000), new Uint8Array(60_000)];
    for (const chunk of long) keep(chunks, chunk, false);
    expect(chunks.every((chunk, index) => chunk === long[index])).toBe(true);
    keep(chunks, long[0] ?? new Uint8Array(0));
    expect(chunks.at(-1)?.buffer).not.toBe(long[0]?.buffer);
  });
});
