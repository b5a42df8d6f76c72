import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, seededRandom } from "../../base/index.ts";
import { affineOf, finiteRange, keysOf } from "../eight-bits.ts";
import { encodeLevels } from "../entropy.ts";
import { symbolCounts, type Work } from "../level-counts.ts";
import { restoreEach } from "../predict.ts";
import { quantisedRunsSource, quantisedSource } from "../quantised-source.ts";
import { kernels } from "./index.ts";

/** Values of many kinds and lengths: noise, slow waves, mostly zeros as behind a ReLU, all equal. */
const valuesOf = fc
  .tuple(
    fc.integer(),
    fc.nat({ max: 3 }),
    fc.oneof(fc.integer({ min: 256, max: 700 }), fc.integer({ min: 65_000, max: 66_000 })),
  )
  .map(([seed, kind, count]) => {
    const random = seededRandom(seed);
    return Float32Array.from({ length: count }, (_, index) => {
      const draw = gaussian(random) * 3;
      if (kind === 0) return draw;
      if (kind === 1) return 100 * Math.sin(index / 60) + 0.2 * draw;
      return kind === 2 ? Math.max(0, draw - 2) : 4.5;
    });
  });

const byHand = (): Work => ({ symbols: new Uint8Array(65_536), counts: symbolCounts() });

describe("the kernels", () => {
  it("are there, and are what is written in kernels.wat", () => {
    expect(kernels()).toBeDefined();
    const tool = fileURLToPath(new URL("../../../../../tools/assemble-kernels.mjs", import.meta.url));
    expect(String(execFileSync(process.execPath, [tool, "--check"]))).toContain("is kernels.wat");
  });

  it("find the range that is found without them, of values that are none, too", () => {
    const odd = [NaN, Infinity, -Infinity, -0, 0, 3.4e38, -3.4e38, 1e-45];
    fc.assert(
      fc.property(valuesOf, fc.array(fc.tuple(fc.nat(), fc.constantFrom(...odd))), (values, changes) => {
        for (const [at, value] of changes) values[at % values.length] = value;
        expect(kernels()!.range(values)).toEqual(keysOf(values));
      }),
      { numRuns: 60 },
    );
  });

  it("code to the same bytes as is done without them", async () => {
    await fc.assert(
      fc.asyncProperty(valuesOf, async (values) => {
        const range = finiteRange(values)!;
        const affine = affineOf(range);
        const source = quantisedSource(values, range, affine);
        const body = await encodeLevels(source, affine.zero);
        expect(Buffer.compare(body, await encodeLevels(source, affine.zero, undefined, byHand()))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("do so where channels are quantised apart, wherever they begin and end", async () => {
    const scene = fc.tuple(valuesOf, fc.integer({ min: 200, max: 1000 }), fc.integer({ min: 1, max: 3 }));
    await fc.assert(
      fc.asyncProperty(scene, async ([values, run, channels]) => {
        const range = finiteRange(values)!;
        const affines = Array.from({ length: channels }, (_, channel) =>
          affineOf({ least: range.least * (1 + channel), most: range.most * (1 + channel) }),
        );
        const most = new Float64Array(channels).fill(range.most);
        const source = quantisedRunsSource(values, { run, affines, most });
        const body = await encodeLevels(source, 7);
        expect(Buffer.compare(body, await encodeLevels(source, 7, undefined, byHand()))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("go back from differences to levels, and from levels to values, as is done without them", () => {
    const bytes = fc
      .tuple(
        fc.integer(),
        fc.oneof(fc.integer({ min: 1, max: 700 }), fc.integer({ min: 65_000, max: 140_000 })),
      )
      .map(([seed, count]) => {
        const random = seededRandom(seed);
        return Uint8Array.from({ length: count }, () => random.next() * 256);
      });
    fc.assert(
      fc.property(bytes, fc.nat({ max: 255 }), (differences, before) => {
        const levels = differences.slice();
        const expected = differences.slice();
        kernels()!.restore(levels, before);
        restoreEach(expected, before);
        expect(Buffer.compare(levels, expected)).toBe(0);
        const table = Float32Array.from({ length: 256 }, (_, level) => (level - before) * 0.37);
        const values = new Float32Array(levels.length);
        kernels()!.values(levels, table, values);
        expect(values.every((value, index) => value === table[levels[index]!])).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("serve several tensors at once, each of which lets others have their turn", async () => {
    const draws = [1, 2, 3].map((seed) => {
      const random = seededRandom(seed);
      return Float32Array.from({ length: 600_000 }, () => gaussian(random) * seed);
    });
    const coded = async (values: Float32Array, breathe?: () => Promise<void>): Promise<Uint8Array> => {
      const range = finiteRange(values)!;
      const affine = affineOf(range);
      return encodeLevels(quantisedSource(values, range, affine), affine.zero, breathe);
    };
    const alone: Uint8Array[] = [];
    for (const values of draws) alone.push(await coded(values));
    const beside = await Promise.all(draws.map((values) => coded(values, () => Promise.resolve())));
    for (const [index, body] of beside.entries()) expect(Buffer.compare(body, alone[index]!)).toBe(0);
  });

  it("are done without where there is no WebAssembly", async () => {
    // In a thread of its own, for this one has its kernels already.
    const built = (room: string): string => JSON.stringify(new URL(`../../../dist/${room}`, import.meta.url));
    const worker = new Worker(
      `delete globalThis.WebAssembly;
      (async () => {
        const { kernels } = await import(${built("codec/kernels/kernels.js")});
        const { int8EntropyCodec } = await import(${built("codec/int8-entropy.js")});
        const { float32Tensor, float32View } = await import(${built("tensor/index.js")});
        const { housekeepingCall } = await import(${built("base/index.js")});
        const { parentPort, workerData } = require("node:worker_threads");
        const codec = int8EntropyCodec();
        const call = housekeepingCall("kernels");
        const encoded = await codec.encode(float32Tensor("x", [5000], workerData), call);
        const back = float32View(await codec.decode(encoded, call));
        parentPort.postMessage({ kernels: kernels(), back });
      })();`,
      { eval: true, workerData: Float32Array.from({ length: 5000 }, (_, index) => Math.sin(index / 50)) },
    );
    const [{ kernels: found, back }] = (await once(worker, "message")) as [
      { kernels: undefined; back: Float32Array },
    ];
    await worker.terminate();
    expect(found).toBeUndefined();
    expect(back).toHaveLength(5000);
    for (const [index, value] of back.entries())
      expect(Math.abs(value - Math.sin(index / 50))).toBeLessThan(0.01);
  });
});
