import { numericTensor, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import { artifactOf, onnxFile } from "@longshore/testkit";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { childRuntime } from "./child-runtime.ts";
import { joinPieces, sendInPieces } from "./in-pieces.ts";
import type { FromRunner } from "./runner-message.ts";

const call = housekeepingCall("pieces");
const mebibyte = 1024 * 1024;
const floats = 1_000_000;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-pieces-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const open: Runtime[] = [];
afterEach(() => Promise.all(open.splice(0).map((runtime) => runtime.close())));

function sandbox(options: Parameters<typeof childRuntime>[0] = {}): Runtime {
  const runtime = childRuntime(options);
  open.push(runtime);
  return runtime;
}

/** `y = x + w`, whose file has 4 MB of weights. */
function sum(): Uint8Array {
  const w = Float32Array.from({ length: floats }, (_, index) => index % 1000);
  return onnxFile({
    inputs: [{ name: "x", datatype: "FP32", shape: ["size"] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["size"] }],
    weights: [{ name: "w", datatype: "FP32", shape: [floats], bytes: new Uint8Array(w.buffer) }],
    nodes: [{ op: "Add", inputs: ["x", "w"], outputs: ["y"] }],
  });
}

function script(name: string, text: string): URL {
  const file = join(folder, name);
  writeFileSync(file, text);
  return pathToFileURL(file);
}

/** The parts of a message as they travel, without a connection. */
async function parts(message: FromRunner): Promise<readonly unknown[]> {
  const sent: unknown[] = [];
  await sendInPieces(message, (part, written) => {
    sent.push(part);
    written(null);
  });
  return sent;
}

const outputs = (...data: readonly ArrayBufferView[]): FromRunner => ({
  kind: "outputs",
  ranMs: 1,
  outputs: data.map((one, index) => ({ name: `y${index}`, type: "float32", dims: [-1], data: one })),
});

describe("messages to and from a sandbox process", () => {
  it("carry models, inputs and outputs of megabytes whole", async () => {
    const runtime = sandbox();
    const session = await runtime.load(await artifactOf(sum()), {}, call);
    const x = Float32Array.from({ length: floats }, (_, index) => index);
    const given = await session.run(tensorsOf(numericTensor("x", "FP32", [floats], x)), [], call);
    const y = given.get("y")!.bytes;
    const right = x.map((value) => value + (value % 1000));
    expect(Buffer.compare(y, new Uint8Array(right.buffer))).toBe(0);
  });

  it("hold no more than a piece each, however large the model", async () => {
    const childUrl = script(
      "counts.mjs",
      `const sizes = [];
      process.on("message", (part) => {
        if (part.kind === "release") return process.send({ kind: "released" });
        const { bytes = part } = part;
        if (bytes instanceof Uint8Array) sizes.push(bytes.byteLength);
        if (sizes.reduce((sum, size) => sum + size, 0) < ${sum().byteLength}) return;
        process.send({ kind: "failed", reason: "invalid-model", detail: JSON.stringify(Math.max(...sizes)) });
      });`,
    );
    const runtime = sandbox({ childUrl });
    await expect(runtime.load(await artifactOf(sum()), {}, call)).rejects.toMatchObject({
      reason: "invalid-model",
      message: expect.stringMatching(new RegExp(`: ${mebibyte}$`)) as string,
    });
  });

  it("come out as they went in: views, empty ones and shared memory included", async () => {
    const buffer = new Float32Array(300_000).fill(2).buffer;
    const message = outputs(
      new Float32Array(buffer, 0, 10),
      new Float32Array(buffer, 40),
      new Float32Array(0),
      new Float32Array(1),
    );
    const received: unknown[] = [];
    const take = joinPieces(Infinity, (whole) => received.push(whole));
    for (const part of [...(await parts(message)), ...(await parts({ kind: "released" }))]) take(part);
    expect(isDeepStrictEqual(received, [message, { kind: "released" }])).toBe(true);
  });
});

describe("the announcements of a sandbox process", () => {
  const announced = (sizes: unknown, rest: unknown = new Uint8Array(4)): object => ({
    kind: "pieces",
    sizes,
    rest,
  });
  const wrong: readonly (readonly [what: string, parts: readonly unknown[]])[] = [
    ["more than it may send", [announced([900, 200])]],
    ["a size that is none", [announced([-1])]],
    ["sizes that are none", [announced("1000")]],
    ["nothing", [announced([])]],
    ["no message besides", [announced([10], null)]],
    ["a piece that is longer than what is left", [announced([10]), new Uint8Array(6), new Uint8Array(6)]],
    ["an empty piece", [announced([10]), new Uint8Array(0)]],
    ["another message between pieces", [announced([10]), { kind: "released" }]],
    ["a message that cannot be read", [announced([10]), new Uint8Array(10)]],
  ];

  it.each(wrong)("is refused: %s", (_, sent) => {
    const take = joinPieces(1000, () => undefined);
    expect(() => sent.forEach(take)).toThrow();
  });

  it("ends the process where it is wrong, and the next run has another", async () => {
    const childUrl = script(
      "announces.mjs",
      `process.on("message", ({ kind }) => {
        if (kind === "load") process.send({ kind: "loaded", inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
          outputs: [{ name: "y", datatype: "FP32", shape: [1] }], provider: "cpu", passedOver: [] });
        else if (kind === "run") process.send({ kind: "pieces", sizes: [1e12], rest: new Uint8Array(1) });
        else process.send({ kind: "released" });
      });`,
    );
    const runtime = sandbox({ childUrl });
    const session = await runtime.load(await artifactOf(new Uint8Array(8)), {}, call);
    const x = tensorsOf(numericTensor("x", "FP32", [1], Float32Array.of(1)));
    for (let round = 0; round < 2; round++) {
      await expect(session.run(x, [], call)).rejects.toMatchObject({ reason: "bad-reply" });
    }
  });
});
