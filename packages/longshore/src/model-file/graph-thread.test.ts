import { createHash } from "node:crypto";
import { LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Artifact } from "@longshore/engine";
import { graphBuilder, onnxSource, readModel, writeModel } from "@longshore/graph";
import { afterAll, describe, expect, it } from "vitest";
import { graphThread } from "./graph-thread.ts";
import { type MakeWhole, wholeModel } from "./whole-models.ts";

const call = housekeepingCall("test");
const width = 128;

/** Three layers with 64 KiB of weights each: too large to be read on the calling thread. */
function layers(): Uint8Array {
  const build = graphBuilder();
  let value = build.input("x", "FP32", ["n", width]);
  for (let layer = 0; layer < 3; layer++) {
    const weights = Float32Array.from(
      { length: width * width },
      (_, index) => ((index * 7919 + layer) % 13) - 6,
    );
    value = build.node("MatMul", [value, build.weights(`w${layer}`, "FP32", [width, width], weights)]);
  }
  build.output(build.node("Relu", [value], { outputs: ["y"] }), "FP32", ["n", width]);
  return writeModel(build.model({ name: "layers" }));
}

/** A file, and the bytes that were handed out for it. */
function fileOf(content: Uint8Array): { readonly file: Artifact; readonly read: Uint8Array[] } {
  const read: Uint8Array[] = [];
  const file: Artifact = {
    digest: `sha256:${createHash("sha256").update(content).digest("hex")}`,
    byteLength: content.byteLength,
    bytes() {
      const copy = new Uint8Array(content);
      read.push(copy);
      return Promise.resolve(copy);
    },
  };
  return { file, read };
}

const reasonOf = (thrown: unknown): string => (LongshoreError.is(thrown) ? thrown.reason : String(thrown));

describe("the thread for model files", () => {
  const thread = graphThread(0, 32_768);
  afterAll(() => thread.close());

  it("reads and cuts like a source on this thread, and reads a file once", async () => {
    const { file, read } = fileOf(layers());
    const here = onnxSource({
      sha256: (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
    });
    const { source } = thread;
    expect(await source.inspect(file, call)).toEqual(await here.inspect(file, call));
    const cuts = await source.cuts(file, call);
    expect(cuts).toEqual(await here.cuts(file, call));
    expect(cuts.length).toBeGreaterThan(1);
    const middle = cuts[1]?.id ?? "";
    for (const [from, to] of [
      ["start", middle],
      [middle, "end"],
    ] as const) {
      const there = await source.extract(file, from, to, call);
      const same = await here.extract(file, from, to, call);
      expect([there.digest, there.byteLength]).toEqual([same.digest, same.byteLength]);
      const bytes = await same.bytes(call);
      // The second reader has it written again.
      expect(await there.bytes(call)).toEqual(bytes);
      expect(await there.bytes(call)).toEqual(bytes);
    }
    expect(await source.extract(file, "start", "end", call)).toBe(file);
    // One reader is the source on this thread; the bytes for the other one have moved.
    expect(read.map(({ byteLength }) => byteLength)).toEqual([0, file.byteLength]);
  });

  it("says why a file or a cut is refused", async () => {
    const broken = fileOf(new Uint8Array(40_000)).file;
    expect(await thread.source.inspect(broken, call).catch(reasonOf)).toBe("invalid-model");
    const { file } = fileOf(layers());
    expect(await thread.source.extract(file, "start", "c99", call).catch(reasonOf)).toBe("unknown-cut");
  });

  it("makes a model whole with the weights beside it, and leaves others as they are", async () => {
    const model = readModel(layers());
    const [large] = model.graph?.initializer ?? [];
    if (!large) throw new Error("no weights");
    const weights = new Uint8Array(large.rawData);
    large.rawData = new Uint8Array();
    large.dataLocation = 1;
    large.externalData = [{ $typeName: "onnx.StringStringEntryProto", key: "location", value: "w.bin" }];
    const outside = writeModel(model);
    const beside = (file: string) => Promise.resolve(file === "w.bin" ? new Uint8Array(weights) : undefined);
    const expected = await wholeModel(new Uint8Array(outside), beside);
    expect(await thread.makeWhole(new Uint8Array(outside), beside)).toEqual(expected);
    const missing = thread.makeWhole(new Uint8Array(outside), () => Promise.resolve(undefined));
    expect(await missing.catch(reasonOf)).toBe("invalid-model");
    const whole = layers();
    expect(await thread.makeWhole(new Uint8Array(whole), beside)).toEqual(whole);
  });

  it("makes a small file whole there when the weights beside it are not small", async () => {
    const model = readModel(layers());
    const weights = new Map<string, Uint8Array>();
    for (const one of model.graph?.initializer ?? []) {
      weights.set(one.name, new Uint8Array(one.rawData));
      one.rawData = new Uint8Array();
      one.dataLocation = 1;
      one.externalData = [{ $typeName: "onnx.StringStringEntryProto", key: "location", value: one.name }];
    }
    const outside = writeModel(model);
    expect(outside.byteLength).toBeLessThan(32_768);
    const made = async (by: MakeWhole): Promise<readonly [Uint8Array, readonly number[]]> => {
      const handed: Uint8Array[] = [];
      const whole = await by(new Uint8Array(outside), (file) => {
        const copy = weights.get(file)?.slice();
        if (copy) handed.push(copy);
        return Promise.resolve(copy);
      });
      return [whole, handed.map(({ byteLength }) => byteLength)];
    };
    const [expected, kept] = await made(wholeModel);
    expect(kept).toEqual([65_536, 65_536, 65_536]);
    // Bytes that have moved to the thread are gone from here.
    expect(await made(thread.makeWhole)).toEqual([expected, [0, 0, 0]]);
    const larger = graphThread();
    expect(await made(larger.makeWhole)).toEqual([expected, kept]);
    await larger.close();
  });

  it("reads a small file here, for any first request, and one of many nodes not", async () => {
    const build = graphBuilder();
    let value = build.input("x", "FP32", ["n", 4]);
    for (let node = 0; node < 600; node++) value = build.node("Relu", [value]);
    build.output(build.node("Relu", [value], { outputs: ["y"] }), "FP32", ["n", 4]);
    const many = fileOf(writeModel(build.model({ name: "many" })));
    const few = fileOf(layers());
    const other = graphThread();
    for (const { file } of [many, few]) {
      expect((await other.source.inspect(file, call)).inputs).toHaveLength(1);
      expect((await other.source.cuts(file, call)).length).toBeGreaterThan(1);
      expect(await other.source.extract(file, "start", "end", call)).toBe(file);
    }
    // Bytes that have moved to the thread are gone from here.
    expect(many.read.map(({ byteLength }) => byteLength)).toEqual([0]);
    expect(few.read.map(({ byteLength }) => byteLength)).toEqual([few.file.byteLength]);
    await other.close();
  });

  it("reads a file once for all callers at the same time", async () => {
    const { file, read } = fileOf(layers());
    const other = graphThread(0, 32_768);
    const { source } = other;
    const asked = [source.inspect(file, call), source.cuts(file, call), source.inspect(file, call)] as const;
    const [first, cuts, last] = await Promise.all(asked);
    expect(last).toEqual(first);
    expect(cuts.length).toBeGreaterThan(1);
    expect(read).toHaveLength(1);
    await other.close();
  });

  it("reads a file for a caller that waited for another reader that failed", async () => {
    const { file, read } = fileOf(layers());
    const gone: Artifact = { ...file, bytes: () => Promise.reject(new Error("gone")) };
    const other = graphThread(0, 32_768);
    const both = [other.source.cuts(gone, call).catch(String), other.source.cuts(file, call)] as const;
    const [failed, cuts] = await Promise.all(both);
    expect(failed).toContain("gone");
    expect(cuts.length).toBeGreaterThan(1);
    expect(read).toHaveLength(1);
    await other.close();
  });

  it("fails only the question that it died of, and answers the rest with a thread that is started again", async () => {
    const other = graphThread(0, 32_768);
    // The thread dies of giving back memory that cannot be moved.
    const deadly = new Uint8Array(new SharedArrayBuffer(40_000));
    const none = (): Promise<undefined> => Promise.resolve(undefined);
    const whole = layers();
    const ends = [
      other.makeWhole(new Uint8Array(whole), none),
      other.makeWhole(deadly, none),
      other.makeWhole(new Uint8Array(whole), none),
    ].map((end) => end.catch(reasonOf));
    const closed = other.close();
    expect(await Promise.all(ends)).toEqual([whole, "runtime-crashed", whole]);
    await closed;
  });

  it("refuses requests after its end, and answers earlier ones", async () => {
    const other = graphThread(0, 32_768);
    const { file } = fileOf(layers());
    await other.source.inspect(file, call);
    const before = other.source.cuts(file, call);
    await other.close();
    expect((await before).length).toBeGreaterThan(1);
    expect(await other.source.inspect(file, call).catch(reasonOf)).toBe("shutting-down");
  });
});
