import { describe, expect, it } from "vitest";
import { KeptMemory, SpareMemory } from "./kept-memory.ts";

const released: Uint8Array[] = [];
const release = (memory: Uint8Array): void => void released.push(memory);

describe("memory of a body that is kept while it arrives", () => {
  it("is one for all pieces, and serves the next body of its length once all of them were freed", () => {
    const spare = new SpareMemory();
    const kept = new KeptMemory(spare, release);
    const pieces: Uint8Array[] = [];
    for (const [left, bytes] of [
      [100_000, 70_000],
      [30_000, 30_000],
    ] as const) {
      const memory = kept.next(left);
      expect(memory?.byteLength).toBe(left);
      memory?.fill(pieces.length + 1);
      kept.filled(bytes);
      pieces.push(memory?.subarray(0, bytes) ?? new Uint8Array(0));
    }
    expect(pieces.map((piece) => piece.byteOffset)).toEqual([0, 70_000]);
    kept.free(pieces[0] ?? new Uint8Array(0));
    kept.complete();
    expect(pieces[1]?.[0]).toBe(2);
    kept.free(pieces[1] ?? new Uint8Array(0));
    // Moved, so that an old view shows nothing of the next body.
    expect(pieces.map(({ byteLength }) => byteLength)).toEqual([0, 0]);
    const next = new KeptMemory(spare, release).next(100_000);
    expect(next?.[0]).toBe(1);
    expect(new KeptMemory(spare, release).next(100_000)?.[0]).toBe(0);
  });

  it("stays while the body is arriving, even if parts of it were freed", () => {
    const kept = new KeptMemory(new SpareMemory(), release);
    const memory = kept.next(100_000) ?? new Uint8Array(0);
    kept.filled(50_000);
    kept.free(memory.subarray(0, 50_000));
    expect(kept.next(50_000)?.buffer).toBe(memory.buffer);
    const other = new Uint8Array(10);
    kept.free(other);
    expect(released).toEqual([other]);
  });

  it("is not taken for bodies of more than four megabytes, and little waits for later ones", () => {
    const spare = new SpareMemory();
    expect(new KeptMemory(spare, release).next(5 * 2 ** 20)).toBeUndefined();
    for (let at = 0; at < 8; at++) {
      const memory = new ArrayBuffer(3 * 2 ** 20);
      new Uint8Array(memory)[0] = 1;
      spare.give(memory);
    }
    const taken = Array.from({ length: 8 }, () => new Uint8Array(spare.take(3 * 2 ** 20))[0]);
    expect(taken).toEqual([1, 1, 1, 1, 1, 0, 0, 0]);
  });
});
