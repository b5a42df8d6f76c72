import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import { keptBody } from "./kept-body.ts";
import type { StreamBody } from "./body.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A body in pieces, and how many of them were read. */
function source(
  pieces: readonly Uint8Array[],
  end?: Error,
): { body: StreamBody; asked: () => number; freed: Uint8Array[] } {
  let asked = 0;
  const freed: Uint8Array[] = [];
  const total = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const body: StreamBody = {
    kind: "stream",
    byteLength: total,
    free: (chunk) => void freed.push(chunk),
    async *read() {
      for (const piece of pieces) {
        asked += 1;
        if (asked % 3 === 0) await turn();
        yield piece;
      }
      if (end) throw end;
    },
  };
  return { body, asked: () => asked, freed };
}

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index * 7);

function torn(whole: Uint8Array, cuts: readonly number[]): readonly Uint8Array[] {
  const at = [...new Set(cuts.map((cut) => cut % (whole.byteLength + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => whole.slice(from, at[index] ?? whole.byteLength));
}

async function all(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = [];
  for await (const chunk of chunks) {
    read.push(chunk.slice());
    await turn();
  }
  return Buffer.concat(read);
}

const cuts = fc.array(fc.nat(400), { maxLength: 12 });

describe("a body on its way", () => {
  it("is the same for every reader, however it is torn and whenever they begin", async () => {
    const scene = fc.tuple(
      fc.nat(300),
      cuts,
      fc.array(fc.nat(6), { minLength: 1, maxLength: 4 }),
      fc.nat(300),
    );
    await fc.assert(
      fc.asyncProperty(scene, async ([length, at, delays, head]) => {
        const whole = bytesOf(length);
        const kept = keptBody(source(torn(whole, at)).body, length, { maxKeptBytes: 1000 });
        const readers = delays.map(async (delay) => {
          for (let count = 0; count < delay; count++) await turn();
          return all(kept.read());
        });
        const first = Math.min(head, length);
        expect(Buffer.from(await kept.first(first))).toEqual(Buffer.from(whole.subarray(0, first)));
        for (const read of await Promise.all(readers)) expect(read).toEqual(Buffer.from(whole));
        expect(Buffer.from(await kept.whole({ maxBytes: length }))).toEqual(Buffer.from(whole));
        expect(kept.again).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("longer than the limit is read once, holds its sender back, and refuses later readers", async () => {
    const whole = bytesOf(1000);

    const { body, asked } = source(torn(whole, [100, 200, 300, 390]));
    const kept = keptBody(body, 1000, { maxKeptBytes: 250 });
    for (let count = 0; count < 20; count++) await turn();
    expect(asked()).toBe(3);
    expect(await all(kept.read())).toEqual(Buffer.from(whole));

    expect(kept.again).toBe(false);
    await expect(all(kept.read())).rejects.toMatchObject({ reason: "body-too-large" });
  });

  it.each([
    ["too few", 10],
    ["too many", 4],
  ])("of %s bytes is an error to all of its readers", async (_, announced) => {
    const kept = keptBody(source([bytesOf(3), bytesOf(4)]).body, announced, { maxKeptBytes: 100 });
    const readers = await Promise.allSettled([all(kept.read()), all(kept.read()), kept.first(announced)]);
    for (const reader of readers.slice(0, 2)) {
      expect(reader).toMatchObject({ status: "rejected", reason: { reason: "body-mismatch" } });
    }
    expect(kept.again).toBe(false);
  });

  it("that breaks off gives the error of its sender's connection, after the earlier bytes", async () => {
    const broken = new LongshoreError("body-mismatch", "transport", "planted");
    const kept = keptBody(source([bytesOf(3)], broken).body, 9, { maxKeptBytes: 100 });
    const got: number[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of kept.read()) got.push(chunk.byteLength);
    };
    await expect(read()).rejects.toBe(broken);
    expect(got).toEqual([3]);
  });

  it("returns its memory when all readers have finished, and otherwise leaves it alone", async () => {
    const well = source([bytesOf(3), bytesOf(4)]);
    const kept = keptBody(well.body, 7, { maxKeptBytes: 100 });
    await all(kept.read());
    expect(well.freed).toHaveLength(0);
    kept[Symbol.dispose]();
    expect(well.freed).toHaveLength(2);
    await expect(all(kept.read())).rejects.toMatchObject({ reason: "cancelled" });

    const left = source([bytesOf(3), bytesOf(4)]);
    const other = keptBody(left.body, 7, { maxKeptBytes: 100 });
    for await (const _ of other.read()) break;
    other[Symbol.dispose]();
    expect(left.freed).toHaveLength(0);
  });
});
