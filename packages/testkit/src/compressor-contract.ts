import { createInflateRaw, deflateRawSync } from "node:zlib";
import { type Compressor, seededRandom } from "@longshore/core";
import { describe, expect, it } from "vitest";

/** A compressor without threads, for tests of its callers. */
export function memoryCompressor(): Compressor {
  return {
    deflate: async (bytes) => new Uint8Array(deflateRawSync(bytes)),
    async inflate(bytes, length) {
      const inflater = createInflateRaw();
      const chunks: Buffer[] = [];
      let made = 0;
      inflater.end(bytes);
      for await (const chunk of inflater as AsyncIterable<Buffer>) {
        made += chunk.byteLength;
        if (made > length) throw new Error("another length");
        chunks.push(chunk);
      }
      if (made !== length || inflater.bytesWritten !== bytes.byteLength) throw new Error("another length");
      return new Uint8Array(Buffer.concat(chunks));
    },
  };
}

/** The contract of every compressor. */
export function compressorContract(name: string, make: () => Compressor): void {
  describe(`${name}, a compressor`, () => {
    const compressor = make();
    const random = seededRandom(3);
    const sizes = [0, 1, 100, 4000, 40_000, 700_000];
    const sampleOf = (size: number): Uint8Array => Uint8Array.from({ length: size }, () => random.next() * 9);

    it.each(sizes)("inflates a stream of %i bytes", async (size) => {
      const bytes = sampleOf(size);
      const body = new Uint8Array(deflateRawSync(bytes));
      expect(Buffer.compare(await compressor.inflate(body, size), bytes)).toBe(0);
    });

    it("inflates its own output", async () => {
      if (!compressor.deflate) return;
      for (const bytes of sizes.map(sampleOf)) {
        const before = bytes.slice();
        const body = await compressor.deflate(bytes);
        expect(Buffer.compare(bytes, before)).toBe(0);
        expect(Buffer.compare(await compressor.inflate(body, bytes.byteLength), bytes)).toBe(0);
      }
    });

    it.each([100, 40_000])("refuses a stream that makes more or fewer than %i bytes", async (length) => {
      const body = new Uint8Array(deflateRawSync(new Uint8Array(length)));
      for (const other of [length - 1, length + 1, 1, 0]) {
        await expect(compressor.inflate(body, other)).rejects.toThrow();
      }
    });

    it("stops at the stated length of a stream that would become 32 MiB", async () => {
      const body = new Uint8Array(deflateRawSync(new Uint8Array(2 ** 25)));
      const before = process.memoryUsage().arrayBuffers;
      await expect(compressor.inflate(body, 1000)).rejects.toThrow();
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 23);
    });

    it.each([4000, 40_000])("refuses a stream of %i bytes that is cut or malformed", async (size) => {
      const bytes = sampleOf(size);
      const body = new Uint8Array(deflateRawSync(bytes));
      const faulty = {
        cut: body.subarray(0, 700),
        empty: new Uint8Array(0),
        malformed: Uint8Array.of(7, 7, 7),
      };
      for (const [name, one] of Object.entries(faulty)) {
        const refused = await compressor.inflate(one, size).then(
          () => undefined,
          () => name,
        );
        expect(refused).toBe(name);
      }
    });
  });
}
