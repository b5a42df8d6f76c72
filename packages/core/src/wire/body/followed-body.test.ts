import { crc32 } from "node:zlib";
import { expect, it } from "vitest";
import type { StreamBody } from "./body.ts";
import { followedByChecksum, withoutChecksum } from "./followed-body.ts";

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
      const back = withoutChecksum(streamOf(on, size), crc32, "the body");
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
      for await (const piece of withoutChecksum(streamOf(flipped, 7), crc32, "the body").read())
        read += piece.byteLength;
    };
    await expect(reading()).rejects.toMatchObject({ reason: "checksum-mismatch", retryable: true });
    expect(read).toBeLessThan(50);
  }
});

it("refuses a body that is too short for its checksum, or has no length", () => {
  for (const byteLength of [7, undefined])
    expect(() => withoutChecksum({ ...streamOf(bytes, 7), byteLength }, crc32, "the body")).toThrow(
      expect.objectContaining({ reason: "checksum-mismatch" }) as Error,
    );
});
