import { float32View, numericTensor, type Tensors, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import {
  artifactOf,
  loopModel,
  manualClock,
  memoryBomb,
  onnxFile,
  onnxRuntimeContract,
} from "@longshore/testkit";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { builtFile } from "./built-file.ts";
import { childRuntime } from "./child-runtime.ts";

const call = housekeepingCall("sandbox");
const capBytes = 320 * 1024 * 1024;
const side = 16_000; // 1 GB of FP32

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-sandbox-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const open: Runtime[] = [];
afterEach(() => Promise.all(open.splice(0).map((runtime) => runtime.close())));

function sandbox(options: Parameters<typeof childRuntime>[0] = {}): Runtime {
  const runtime = childRuntime({ memoryBytes: capBytes, ...options });
  open.push(runtime);
  return runtime;
}

const trips = (count: number): Tensors =>
  tensorsOf(numericTensor("trips", "INT64", [], BigInt64Array.of(BigInt(count))));
const sized = (extent: number): Tensors =>
  tensorsOf(numericTensor("size", "INT64", [2], BigInt64Array.of(BigInt(extent), BigInt(extent))));
function value(outputs: Tensors, name: string): number | undefined {
  const tensor = outputs.get(name);
  return tensor && float32View(tensor)[0];
}

onnxRuntimeContract("childRuntime", () => childRuntime());

describe.runIf(process.platform === "linux")("childRuntime", () => {
  it("caps the memory of a model of a hundred bytes when it is loaded and run", async () => {
    const bomb = memoryBomb(side);
    expect(bomb.byteLength).toBeLessThan(200);
    const session = await sandbox().load(await artifactOf(bomb), {}, call);
    await expect(session.run(new Map(), [], call)).rejects.toMatchObject({ reason: "memory-limit" });
  });

  it("caps the memory of a run, and runs again", async () => {
    const session = await sandbox().load(await artifactOf(memoryBomb(1, true)), {}, call);
    await expect(session.run(sized(side), [], call)).rejects.toMatchObject({ reason: "memory-limit" });
    expect(value(await session.run(sized(1), [], call), "y")).toBe(1);
  });

  it("ends a process whose memory grows, where no shell sets limits, and starts another for the next run", async () => {
    const session = await sandbox({ shell: undefined }).load(await artifactOf(memoryBomb(1, true)), {}, call);
    await expect(session.run(sized(side), [], call)).rejects.toMatchObject({
      reason: "memory-limit",
      message: expect.stringContaining(String(capBytes)) as string,
    });
    expect(value(await session.run(sized(2), [], call), "y")).toBe(1);
  });

  it("does not send outputs beyond the limit", async () => {
    const session = await sandbox({ maxOutputBytes: 1000 }).load(
      await artifactOf(memoryBomb(1, true)),
      {},
      call,
    );
    await expect(session.run(sized(16), [], call)).rejects.toMatchObject({ reason: "memory-limit" });
    expect(value(await session.run(sized(15), [], call), "y")).toBe(1);
  });

  it("ends a run that never ends, and runs again", async () => {
    const clock = manualClock();
    const session = await sandbox({ clock, runDeadlineMs: 5000 }).load(
      await artifactOf(loopModel()),
      {},
      call,
    );
    const endless = session.run(trips(Number.MAX_SAFE_INTEGER), [], call);
    const waiting = session.run(trips(4), [], call);
    const refused = expect(endless).rejects.toMatchObject({ reason: "run-deadline" });
    await clock.advance(5000);
    await refused;
    expect(value(await waiting, "total")).toBe(4);
    expect(clock.armed()).toBe(0);
  });

  it("ends a load that takes too long", async () => {
    const clock = manualClock();
    const loading = sandbox({ clock, loadDeadlineMs: 2000, memoryBytes: Infinity }).load(
      await artifactOf(slowToLoad()),
      {},
      call,
    );
    const refused = expect(loading).rejects.toMatchObject({ reason: "run-deadline" });
    await clock.advance(2000);
    await refused;
    expect(clock.armed()).toBe(0);
  });

  it("ends the process at once when the call ends during the load", async () => {
    const controller = new AbortController();
    const loading = sandbox().load(
      await artifactOf(slowToLoad()),
      {},
      housekeepingCall("ending", controller.signal),
    );
    controller.abort();
    await expect(loading).rejects.toMatchObject({ reason: "cancelled" });
  });

  it("says so when the process crashes, and starts another for the next run", async () => {
    const file = join(folder, "crashes.mjs");
    writeFileSync(
      file,
      `process.on("message", ({ kind, feeds }) => {
        if (kind === "load") process.send({ kind: "loaded", inputs: [{ name: "trips", datatype: "INT64", shape: [] }],
          outputs: [{ name: "total", datatype: "FP32", shape: [] }], provider: "cpu", passedOver: [] });
        else if (kind === "run") process.abort();
        else process.send({ kind: "released" });
      });`,
    );
    const runtime = sandbox({ childUrl: pathToFileURL(file) });
    const session = await runtime.load(await artifactOf(loopModel()), {}, call);
    for (let round = 0; round < 2; round++) {
      await expect(session.run(trips(1), [], call)).rejects.toMatchObject({
        reason: "runtime-crashed",
        message: expect.stringContaining("SIGABRT") as string,
      });
    }
  });

  it("does not believe the process' answers", async () => {
    const file = join(folder, "lies.mjs");
    writeFileSync(
      file,
      `process.on("message", ({ kind, feeds }) => {
        const lies = [
          { name: "total", type: "float32", dims: [1000], data: new Float32Array(1) },
          { name: "total", type: "float64", dims: [], data: new Float64Array(1) },
          { name: "other", type: "float32", dims: [], data: new Float32Array(1) },
          { name: "total", type: "float32", dims: "no", data: new Float32Array(1) },
          { name: "total", type: "float32", dims: [], data: [1] },
        ];
        if (kind === "load") process.send({ kind: "loaded", inputs: [{ name: "trips", datatype: "INT64", shape: [] }],
          outputs: [{ name: "total", datatype: "FP32", shape: [] }], provider: "cpu", passedOver: [] });
        else if (kind === "run") process.send({ kind: "outputs", outputs: [lies[feeds[0].shape[0]]], buffer: new ArrayBuffer(0) });
        else process.send({ kind: "released" });
      });`,
    );
    const session = await sandbox({ childUrl: pathToFileURL(file) }).load(
      await artifactOf(loopModel()),
      {},
      call,
    );
    for (let lie = 0; lie < 5; lie++) {
      const feeds = tensorsOf(numericTensor("trips", "INT64", [lie], new BigInt64Array(lie)));
      await expect(session.run(feeds, ["total"], call)).rejects.toMatchObject({ reason: "bad-reply" });
    }
  });

  it("keeps the environment from the process", async () => {
    const file = join(folder, "tells.mjs");
    writeFileSync(
      file,
      `process.on("message", ({ kind }) => process.send(kind === "load"
        ? { kind: "failed", reason: "invalid-model", detail: JSON.stringify([process.env.SECRET ?? "none", process.env.NODE_OPTIONS ?? "none"]) }
        : { kind: "released" }));`,
    );
    vi.stubEnv("SECRET", "token");
    vi.stubEnv("NODE_OPTIONS", "--no-warnings");
    const loading = sandbox({ childUrl: pathToFileURL(file) }).load(await artifactOf(loopModel()), {}, call);
    await expect(loading).rejects.toMatchObject({
      reason: "invalid-model",
      message: expect.stringContaining('["none","none"]') as string,
    });
    vi.unstubAllEnvs();
  });

  it("ends its processes when the program is killed in the middle of an endless run", async () => {
    const file = join(folder, "program.mjs");
    const url = (path: string): string => JSON.stringify(builtFile(path).href);
    writeFileSync(join(folder, "loop.onnx"), loopModel());
    writeFileSync(
      file,
      `import { readFileSync } from "node:fs";
      import { childRuntime } from ${url("child-runtime.js")};
      const bytes = readFileSync(${JSON.stringify(join(folder, "loop.onnx"))});
      const call = { abort: new AbortController().signal, deadlineMs: Infinity };
      const session = await childRuntime().load({ digest: "x", byteLength: bytes.length, bytes: async () => new Uint8Array(bytes) }, {}, call);
      const trips = { spec: { name: "trips", datatype: "INT64", shape: [] }, bytes: new Uint8Array(BigInt64Array.of(2n ** 60n).buffer) };
      session.run(new Map([["trips", trips]]), [], call);
      console.log("asked");`,
    );
    const program = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => program.stdout.once("data", resolve));
    const processes = childrenOf(program.pid ?? 0);
    expect(processes.length).toBe(1);
    // A process that has loaded a model and runs nothing stays where it is.
    const ticks = usedTicks(processes[0]!);
    await vi.waitFor(() => expect(usedTicks(processes[0]!) - ticks).toBeGreaterThan(10), { timeout: 60_000 });
    program.kill("SIGKILL");
    await vi.waitFor(() => expect(processes.filter(isAlive)).toEqual([]), { timeout: 60_000 });
  });

  it("leaves no process running when the program ends before it has started", async () => {
    const child = spawn(process.execPath, [fileURLToPath(builtFile("runtime-child.js"))], {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    child.disconnect();
    expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
  });

  it("refuses limits that leave no memory", () => {
    expect(() => childRuntime({ memoryBytes: 1000 })).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }) as Error,
    );
    expect(() => childRuntime({ runDeadlineMs: NaN })).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }) as Error,
    );
  });
});

/** Constants multiplied with each other, which a runtime computes when it loads: many seconds of work. */
function slowToLoad(): Uint8Array {
  const names = Array.from({ length: 60 }, (_, index) => `m${index}`);
  return onnxFile({
    inputs: [],
    outputs: [{ name: "m59", datatype: "FP32", shape: ["a", "b"] }],
    weights: [
      {
        name: "size",
        datatype: "INT64",
        shape: [2],
        bytes: new Uint8Array(BigInt64Array.of(2500n, 2500n).buffer),
      },
    ],
    nodes: names.map((name, index) =>
      index === 0
        ? { op: "ConstantOfShape", inputs: ["size"], outputs: [name] }
        : { op: "MatMul", inputs: [`m${index - 1}`, "m0"], outputs: [name] },
    ),
  });
}

function childrenOf(parent: number): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => statusOf(pid)?.includes(`\nPPid:\t${parent}\n`));
}

/** The processor time that a process has used in user mode, in ticks of mostly 10 ms. */
function usedTicks(pid: number): number {
  const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
  return Number(fields.split(" ")[11]);
}

function isAlive(pid: number): boolean {
  const status = statusOf(pid);
  return status !== undefined && !/^State:\tZ/m.test(status);
}

function statusOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined;
  }
}
