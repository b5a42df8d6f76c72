import { crc32 } from "node:zlib";
import { expect, it } from "vitest";
import { ArrivingBody } from "./arriving-body.ts";
import type { StreamBody } from "./body.ts";
import { followedByChecksum, followedCheck, withoutChecksum } from "./followed-body.ts";
import { readBody } from "./read-body.ts";

const bytes = Uint8Array.from({ length: 50 }, (_, index) => index);

/** A body in pieces of that size, whose memory is written over once the next piece is read. */
function streamOf(all: Uint8Array, size: number): StreamBody {
  return {
    kind: "stream",
    byteLength: all.byteLength,
    async *read() {
      const memory = new Uint8Array(size);
      for (let at = 0; at < all.byteLength; at += size) {
        const piece = all.subarray(at, at + size);
        memory.set(piece);
        yield memory.subarray(0, piece.byteLength);
        memory.fill(255);
      }
    },
  };
}

async function allOf(body: StreamBody): Promise<Uint8Array> {
  const pieces: number[] = [];
  for await (const piece of body.read()) pieces.push(...piece);
  return Uint8Array.from(pieces);
}

it.each([1, 3, 8, 50, 58, 100])(
  "a body comes back from before its checksum, in pieces of %i",
  async (size) => {
    for (const length of [0, 1, 50]) {
      const all = bytes.subarray(0, length);
      const sent = followedByChecksum(streamOf(all, size), length, crc32);
      const on = await allOf(sent);
      expect(on.byteLength).toBe(sent.byteLength);
      const back = withoutChecksum(streamOf(on, size), followedCheck(on.byteLength, crc32, "the body"));
      expect(back.byteLength).toBe(length);
      expect(await allOf(back)).toEqual(all);
    }
  },
);

it("no reader gets the end of a body with a flipped bit, in it or in the checksum", async () => {
  const on = await allOf(followedByChecksum(streamOf(bytes, 7), 50, crc32));
  for (let bit = 0; bit < on.byteLength * 8; bit += 5) {
    const flipped = on.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    let read = 0;
    const reading = async (): Promise<void> => {
      const check = followedCheck(flipped.byteLength, crc32, "the body");
      for await (const piece of withoutChecksum(streamOf(flipped, 7), check).read()) read += piece.byteLength;
    };
    await expect(reading()).rejects.toMatchObject({ reason: "checksum-mismatch", retryable: true });
    expect(read).toBeLessThan(50);
  }
});

it.each([50, 54, 58])(
  "is not copied if its reader owns the pieces, and all of it is freed, %i bytes first",
  async (cut) => {
    const sent = await allOf(followedByChecksum(streamOf(bytes, 50), 50, crc32));
    const pieces = [sent.slice(0, cut), sent.slice(cut)].filter(({ byteLength }) => byteLength > 0);
    const freed: ArrayBufferLike[] = [];
    const body: StreamBody = {
      kind: "stream",
      byteLength: sent.byteLength,
      async *read() {
        yield* pieces;
      },
      free: (piece) => {
        expect(piece.byteLength).toBe(piece.buffer.byteLength);
        freed.push(piece.buffer);
      },
    };
    const back = withoutChecksum(body, followedCheck(sent.byteLength, crc32, "the body"));
    for await (const piece of back.read()) {
      expect(pieces.some(({ buffer }) => buffer === piece.buffer)).toBe(true);
      back.free?.(piece);
    }
    expect(new Set(freed)).toEqual(new Set(pieces.map(({ buffer }) => buffer)));
  },
);

it("is checked in its place while it arrives there, and refused with a flipped bit", async () => {
  const body = Uint8Array.from({ length: 100_000 }, (_, index) => index * 31);
  const sent = await allOf(followedByChecksum(streamOf(body, 65_536), body.byteLength, crc32));
  for (const flip of [undefined, 5, 70_000, sent.byteLength - 1]) {
    const came = sent.slice();
    if (flip !== undefined) came[flip]! ^= 4;
    const arriving = new ArrivingBody({
      byteLength: came.byteLength,
      pause: () => undefined,
      resume: () => undefined,
    });
    const check = followedCheck(came.byteLength, crc32, "the body");
    const reading = readBody(arriving.body, { maxBytes: came.byteLength, check });
    arriving.came(came.subarray(0, 40_000));
    for (let at = 40_000; at < came.byteLength;) {
      await new Promise((resolve) => setImmediate(resolve));
      const { room } = arriving;
      const bytes = Math.min(45_000, came.byteLength - at);
      room?.set(came.subarray(at, at + bytes));
      arriving.filled(bytes);
      at += bytes;
    }
    if (flip === undefined) expect((await reading).subarray(0, check.byteLength)).toEqual(body);
    else await expect(reading).rejects.toMatchObject({ reason: "checksum-mismatch" });
  }
});

it("refuses a body that is too short for its checksum, or has no length", () => {
  for (const byteLength of [7, undefined])
    expect(() => followedCheck(byteLength, crc32, "the body")).toThrow(
      expect.objectContaining({ reason: "checksum-mismatch" }) as Error,
    );
});
