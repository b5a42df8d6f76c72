import { float32Tensor, float32View, give, numericTensor, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { artifactOf, identityModel, loopModel, onnxFile, onnxRuntimeContract } from "@longshore/testkit";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { builtFile } from "./built-file.ts";
import { onnxRuntime } from "./onnx-runtime.ts";

const call = housekeepingCall("native");

onnxRuntimeContract("onnxRuntime", () => onnxRuntime());

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-native-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A worker that loads any model and runs `run` for a run. */
const worker = (run: string): URL =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`
      import { parentPort } from "node:worker_threads";
      parentPort.on("message", ({ kind, buffer }) => {
        if (kind === "run") { ${run} }
        else if (kind === "load") parentPort.postMessage({ kind: "loaded", provider: "cpu", passedOver: [],
          inputs: [], outputs: [{ name: "y", datatype: "FP32", shape: [-1] }] });
        else parentPort.postMessage({ kind: "released" });
      });`)}`,
  );

describe("onnxRuntime", () => {
  it("tries execution providers in order and says which it passed over", async () => {
    const runtime = onnxRuntime({ providers: ["no-such-provider", "cpu"] });
    const session = await runtime.load(await artifactOf(identityModel("FP32")), {}, call);
    expect(session.provider).toBe("cpu");
    expect(session.passedOver).toMatchObject([{ provider: "no-such-provider" }]);
    expect(session.passedOver[0]?.detail).not.toBe("");
    await runtime.close();
  });

  it("distinguishes a missing provider from a wrong model", async () => {
    const runtime = onnxRuntime({ providers: ["no-such-provider"] });
    await expect(runtime.load(await artifactOf(identityModel("FP32")), {}, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    await expect(runtime.load(await artifactOf(Uint8Array.of(1, 2, 3)), {}, call)).rejects.toMatchObject({
      reason: "invalid-model",
    });
    await runtime.close();
  });

  it.runIf(process.platform === "linux")(
    "lets others have the cores before its workers, this thread first",
    async () => {
      const own = getPriority();
      const tasks = "/proc/self/task";
      const before = new Set(readdirSync(tasks));
      const ofThread = (thread: string): number => {
        try {
          return getPriority(Number(thread));
        } catch {
          // It has ended since it was listed.
          return -Infinity;
        }
      };
      const nicest = (): number =>
        Math.max(...readdirSync(tasks).map((thread) => (before.has(thread) ? -Infinity : ofThread(thread))));
      const runtime = onnxRuntime({ niceness: 3 });
      const session = await runtime.load(await artifactOf(identityModel("FP32")), { threads: 2 }, call);
      expect(nicest()).toBe(own + 3);
      expect(getPriority()).toBe(own);
      await session.release();
      await runtime.close();
      expect(() => onnxRuntime({ niceness: 20 })).toThrow(
        expect.objectContaining({ reason: "invalid-configuration" }),
      );
    },
  );

  it("moves all of the memory of an input whose giver wants it back, and gives it back", async () => {
    const runtime = onnxRuntime();
    const session = await runtime.load(await artifactOf(identityModel("FP32", ["n", 8])), {}, call);
    const came: ArrayBuffer[] = [];
    const run = (shape: readonly number[], memory: ArrayBuffer): Promise<Uint8Array | undefined> => {
      const values = new Float32Array(memory, 64, 8192).fill(came.length + 1);
      const x = give(float32Tensor("x", shape, values), (back) => void came.push(back));
      return session.run(tensorsOf(x), [], call).then((outputs) => outputs.get("y")?.bytes);
    };
    const first = new ArrayBuffer(64 + 32_768 + 8);
    const y = await run([1024, 8], first);
    expect(first.byteLength).toBe(0);
    expect(new Set(new Float32Array(y?.buffer ?? first, y?.byteOffset, 8192))).toEqual(new Set([1]));
    expect(came.map(({ byteLength }) => byteLength)).toEqual([32_840]);
    const second = came[0] ?? first;
    expect((await run([1024, 8], second))?.byteLength).toBe(32_768);
    expect(came.map(({ byteLength }) => byteLength)).toEqual([0, 32_840]);
    await runtime.close();
  });

  it("runs on several threads if configured, and refuses a senseless number of them", async () => {
    const runtime = onnxRuntime();
    const artifact = await artifactOf(identityModel("FP32"));
    const session = await runtime.load(artifact, { threads: 2 }, call);
    const x = float32Tensor("x", [1, 2], Float32Array.of(1, 2));
    expect((await session.run(tensorsOf(x), ["y"], call)).get("y")?.bytes).toEqual(x.bytes);
    for (const threads of [0, 1.5, NaN, 1e6]) {
      await expect(runtime.load(artifact, { threads }, call)).rejects.toMatchObject({
        reason: "invalid-configuration",
      });
    }
    await runtime.close();
  });

  it("leaves out outputs that are not tensors, and refuses inputs that are not", async () => {
    const runtime = onnxRuntime();
    const x = { name: "x", datatype: "FP32", shape: [2] } as const;
    const list = { name: "list", datatype: "FP32", sequence: true } as const;
    const y = { ...x, name: "y" };
    const gives = onnxFile({
      inputs: [x],
      outputs: [y, list],
      nodes: [
        { op: "Identity", inputs: ["x"], outputs: ["y"] },
        { op: "SequenceConstruct", inputs: ["x"], outputs: ["list"] },
      ],
    });
    const session = await runtime.load(await artifactOf(gives), {}, call);
    expect(session.outputs.map(({ name }) => name)).toEqual(["y"]);
    const feeds = tensorsOf(float32Tensor("x", [2], Float32Array.of(1, 2)));
    expect([...(await session.run(feeds, [], call)).keys()]).toEqual(["y"]);
    const takes = onnxFile({
      inputs: [list],
      outputs: [{ name: "n", datatype: "INT64", shape: [] }],
      nodes: [{ op: "SequenceLength", inputs: ["list"], outputs: ["n"] }],
    });
    await expect(runtime.load(await artifactOf(takes), {}, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    await runtime.close();
  });

  it("refuses text that it would change: a zero byte, and bytes that are not UTF-8", async () => {
    const runtime = onnxRuntime();
    const session = await runtime.load(await artifactOf(identityModel("BYTES", ["n"])), {}, call);
    for (const bytes of [Uint8Array.of(1, 0, 0, 0, 0), Uint8Array.of(1, 0, 0, 0, 0xff)]) {
      const x = { spec: { name: "x", datatype: "BYTES", shape: [1] }, bytes } as const;
      await expect(session.run(tensorsOf(x), [], call)).rejects.toMatchObject({
        reason: "invalid-input",
        message: expect.stringContaining("element 0") as string,
      });
    }
    await runtime.close();
  });

  it.each([
    ["ends", "process.exit(3)"],
    ["throws", "throw new Error('broken')"],
  ])(
    "says that the runtime crashed when a worker %s, for the run under way, those that wait and later ones",
    async (_, run) => {
      const runtime = onnxRuntime({ workerUrl: worker(run) });
      const session = await runtime.load(await artifactOf(Uint8Array.of(1)), {}, call);
      const settled = await Promise.allSettled([1, 2].map(() => session.run(new Map(), [], call)));
      settled.push(...(await Promise.allSettled([session.run(new Map(), [], call)])));
      expect(
        settled.map((one) => one.status === "rejected" && (one.reason as { reason: string }).reason),
      ).toEqual(["runtime-crashed", "runtime-crashed", "runtime-crashed"]);
      await session.idle();
      await runtime.close();
    },
  );

  it("says that the runtime crashed when a worker ends during the load", async () => {
    const runtime = onnxRuntime({ workerUrl: new URL("data:text/javascript,process.exit(1)") });
    await expect(runtime.load(await artifactOf(Uint8Array.of(1)), {}, call)).rejects.toMatchObject({
      reason: "runtime-crashed",
    });
    await runtime.close();
  });

  it("loads a file several times from bytes of its own each time", async () => {
    const runtime = onnxRuntime();
    const bytes = loopModel();
    const artifact = {
      digest: "sha256:same",
      byteLength: bytes.byteLength,
      bytes: () => Promise.resolve(bytes.slice()),
    };
    const sessions = await Promise.all([runtime.load(artifact, {}, call), runtime.load(artifact, {}, call)]);
    for (const session of sessions) {
      const trips = tensorsOf(numericTensor("trips", "INT64", [], BigInt64Array.of(2n)));
      const total = (await session.run(trips, [], call)).get("total");
      expect([...float32View(total!)]).toEqual([2]);
    }
    await runtime.close();
  });

  /** Runs a program that has loaded the loop, and gives its exit status and what it printed. */
  async function program(body: string): Promise<{ readonly code: number | null; readonly text: string }> {
    const file = join(folder, "program.mjs");
    writeFileSync(join(folder, "loop.onnx"), loopModel());
    writeFileSync(
      file,
      `import { readFileSync } from "node:fs";
      import { onnxRuntime } from ${JSON.stringify(builtFile("onnx-runtime.js").href)};
      const bytes = readFileSync(${JSON.stringify(join(folder, "loop.onnx"))});
      const call = { abort: new AbortController().signal, deadlineMs: Infinity };
      const runtime = onnxRuntime();
      const session = await runtime.load({ digest: "x", byteLength: bytes.length, bytes: async () => new Uint8Array(bytes) }, {}, call);
      const trips = (count) => new Map([["trips", { spec: { name: "trips", datatype: "INT64", shape: [] },
        bytes: new Uint8Array(BigInt64Array.of(BigInt(count)).buffer) }]]);
      ${body}`,
    );
    const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += String(chunk)));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, text };
  }

  it("lets a program end while a session is loaded", async () => {
    expect(await program("console.log('done')")).toEqual({ code: 0, text: "done\n" });
  });

  it("keeps a program alive until a run has ended, and lets it close at the end", async () => {
    const { code, text } = await program(
      "console.log((await session.run(trips(20000), [], call)).size); await runtime.close(); console.log('closed')",
    );
    expect({ code, text }).toEqual({ code: 0, text: "1\nclosed\n" });
  });

  it("lets a program that exits in the middle of a run end as it said, not by an abort", async () => {
    const { code, text } = await program(
      // The run alone uses the processor by now.
      `session.run(trips(500000), [], call);
      const { user } = process.cpuUsage();
      setInterval(() => process.cpuUsage().user - user > 50_000 && process.exit(7), 1)`,
    );
    expect({ code, text }).toEqual({ code: 7, text: "" });
  });
});
