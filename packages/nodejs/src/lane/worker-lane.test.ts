import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bytesTensor, float32Tensor, give, LongshoreError, tensorsOf, textElements } from "@longshore/core";
import { childCall, housekeepingCall } from "@longshore/core/internal";
import type { ChainStep, Lane } from "@longshore/engine";
import { laneContract, manualClock, untyped } from "@longshore/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { builtFile } from "../runtime/built-file.ts";
import { workerLane } from "./worker-lane.ts";

laneContract("worker threads", () => workerLane({ workers: 2 }));

const call = housekeepingCall("worker lane");

/**
 * Transforms that misbehave: `gate` ends when its flag is raised, `die` kills its thread, `throw` fails outside of any
 * promise, `thread` tells in which thread it runs.
 */
const source = `
import { parentPort, threadId } from "node:worker_threads";
import { bytesTensor, tensorsOf } from ${JSON.stringify(import.meta.resolve("@longshore/core").replace("/src/index.ts", "/dist/index.js"))};
import { transformSet } from ${JSON.stringify(import.meta.resolve("@longshore/engine").replace("/src/index.ts", "/dist/index.js"))};
import { serveLane } from ${JSON.stringify(builtFile("serve-lane.js", import.meta.url).href)};
const odd = (name, run) => ({ name, inputs: [], outputs: ["out"], parse: (x) => x, specs: () => [], run });
const out = (text) => tensorsOf(bytesTensor("out", [text]));
serveLane(parentPort, transformSet(
  odd("gate", (_, { flag }) => { const view = new Int32Array(flag); Atomics.store(view, 1, 1); Atomics.notify(view, 1); Atomics.wait(view, 0, 0); return out("open"); }),
  odd("die", () => process.exit(3)),
  odd("throw", () => new Promise(() => setImmediate(() => { throw new Error("loose"); }))),
  odd("thread", () => out(String(threadId))),
  odd("rubbish", () => out("x").set("more", { spec: {}, bytes: new Uint8Array(1), rows: () => 0 })),
));
`;

/** A gate that a transform waits at: flag 0 opens it, flag 1 tells that it is waited at. */
function gate(): { step: ChainStep; open(): void; reached(): Promise<void> } {
  const flag = new SharedArrayBuffer(8);
  const view = new Int32Array(flag);
  return {
    // shared memory is no JSON, but a message port carries it, which lets a test hold a thread without timing
    step: { id: "gate", transform: "gate", parameters: untyped({ flag }), inputs: {} },
    open() {
      Atomics.store(view, 0, 1);
      Atomics.notify(view, 0);
    },
    async reached() {
      await Atomics.waitAsync(view, 1, 0).value;
    },
  };
}

const step = (transform: string): ChainStep => ({ id: "a", transform, parameters: {}, inputs: {} });

describe("worker lane", () => {
  let folder: string;
  let workerUrl: URL;
  let lane: Lane;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "longshore-lane-"));
    const file = join(folder, "worker.mjs");
    writeFileSync(file, source);
    workerUrl = pathToFileURL(file);
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => lane.close());

  it("starts in a program that was started with options of the whole process", () => {
    lane = workerLane({ workers: 1, workerUrl });
    const program = `
      import { workerLane } from ${JSON.stringify(builtFile("worker-lane.js", import.meta.url).href)};
      const lane = workerLane({ workers: 1, workerUrl: new URL(${JSON.stringify(workerUrl.href)}) });
      const step = ${JSON.stringify(step("thread"))};
      const call = { abort: new AbortController().signal, deadlineMs: Infinity };
      console.log((await lane.run([step], new Map(), ["a.out"], call)).values.size);
      await lane.close();`;
    const file = join(folder, "program.mjs");
    writeFileSync(file, program);
    const options = ["--max-semi-space-size=32", file];
    const { stdout, stderr } = spawnSync(process.execPath, options, { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: "1\n", stderr: "" });
  });

  const thread = async (): Promise<string | undefined> => {
    const { values } = await lane.run([step("thread")], tensorsOf(), ["a.out"], call);
    const out = values.get("a.out");
    return out && textElements(out)[0];
  };

  it("starts threads at a prepare or a chain, and not before", async () => {
    let started = 0;
    const count = (): void => void started++;
    process.on("worker", count);
    try {
      lane = workerLane({ workers: 3, workerUrl });
      await new Promise(setImmediate);
      expect(started).toBe(0);
      await thread();
      expect(started).toBe(1);
      lane.prepare?.();
      await new Promise(setImmediate);
      expect(started).toBe(3);
      lane.prepare?.();
      await new Promise(setImmediate);
      expect(started).toBe(3);
    } finally {
      process.off("worker", count);
    }
  });

  it.each(["die", "throw"])("fails the chain whose thread dies (%s) and replaces the thread", async (how) => {
    lane = workerLane({ workers: 1, workerUrl });
    const first = await thread();
    await expect(lane.run([step(how)], tensorsOf(), [], call)).rejects.toMatchObject({
      reason: "runtime-crashed",
    });
    const second = await thread();
    expect(second).toMatch(/^\d+$/u);
    expect(second).not.toBe(first);
  });

  it("runs waiting chains when the thread before died", async () => {
    lane = workerLane({ workers: 1, workerUrl });
    const dying = lane.run([step("die")], tensorsOf(), [], call);
    const waiting = thread();
    await expect(dying).rejects.toMatchObject({ reason: "runtime-crashed" });
    expect(await waiting).toMatch(/^\d+$/u);
  });

  it("fails every chain, without trying for ever, when its file is not there", async () => {
    lane = workerLane({ workers: 2, workerUrl: pathToFileURL(join(folder, "missing.mjs")) });
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(thread()).rejects.toMatchObject({ reason: "runtime-crashed" });
    }
  });

  it("refuses more waiting chains than it may hold", async () => {
    lane = workerLane({ workers: 1, workerUrl, maxWaiting: 1 });
    const held = gate();
    const first = lane.run([held.step], tensorsOf(), [], call);
    const second = thread();
    await expect(thread()).rejects.toMatchObject({ reason: "queue-full", retryable: true });
    held.open();
    await first;
    expect(await second).toMatch(/^\d+$/u);
  });

  it("rejects a cancelled chain at once and frees its thread at the next step", async () => {
    lane = workerLane({ workers: 1, workerUrl });
    const held = gate();
    const after = gate();
    using child = childCall(call);
    const running = lane.run([held.step, { ...after.step, id: "b" }], tensorsOf(), [], child.call);
    await held.reached();
    child.cancel(new LongshoreError("cancelled", "plan", "no longer wanted"));
    await expect(running).rejects.toMatchObject({ reason: "cancelled" });
    held.open();
    // the second gate stays shut: were it reached, this would never end
    expect(await thread()).toMatch(/^\d+$/u);
  });

  it("takes a cancelled chain out of the queue", async () => {
    lane = workerLane({ workers: 1, workerUrl, maxWaiting: 1 });
    const held = gate();
    const first = lane.run([held.step], tensorsOf(), [], call);
    using child = childCall(call);
    const waiting = lane.run([step("die")], tensorsOf(), [], child.call);
    child.cancel(new LongshoreError("cancelled", "plan", "no longer wanted"));
    await expect(waiting).rejects.toMatchObject({ reason: "cancelled" });
    const next = thread();
    held.open();
    await first;
    expect(await next).toMatch(/^\d+$/u);
  });

  it("refuses waiting chains when it is closed and lets the chain under way end", async () => {
    lane = workerLane({ workers: 1, workerUrl });
    const held = gate();
    const first = lane.run([held.step], tensorsOf(), ["gate.out"], call);
    const waiting = thread();
    const closing = lane.close();
    await expect(waiting).rejects.toMatchObject({ reason: "shutting-down" });
    held.open();
    expect((await first).values.has("gate.out")).toBe(true);
    await closing;
  });

  it.runIf(process.platform === "linux")("leaves no file open when it is closed at once", async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    await workerLane({ workers: 1 }).close();
    const before = open();
    for (let count = 0; count < 8; count++) await workerLane({ workers: 1 }).close();
    // Others in this process may have one open briefly.
    await expect.poll(open).toBeLessThanOrEqual(before + 1);
  });

  it("does not start a queued chain after its deadline", async () => {
    const clock = manualClock();
    lane = workerLane({ workers: 1, workerUrl, clock });
    const held = gate();
    const first = lane.run([held.step], tensorsOf(), [], call);
    const late = lane.run([step("die")], tensorsOf(), [], { ...call, deadlineMs: clock.nowMs() + 10 });
    await clock.advance(20);
    held.open();
    await expect(late).rejects.toMatchObject({ reason: "deadline-exceeded" });
    await first;
  });

  it("moves given tensors, so that the giver's view is empty", async () => {
    lane = workerLane({ workers: 1 });
    const values = new Float32Array(1000);
    const chain = [{ ...step("threshold"), parameters: { above: 1 }, inputs: { scores: "x" } }];
    await lane.run(chain, tensorsOf(give(float32Tensor("x", [1000], values))), ["a.above"], call);
    expect(values).toHaveLength(0);
  });

  it("never moves a buffer that a lent tensor looks into", async () => {
    lane = workerLane({ workers: 1 });
    const values = Float32Array.of(1, 2);
    const [given, lent] = [give(float32Tensor("x", [2], values)), float32Tensor("y", [2], values)];
    const chain = [
      { ...step("threshold"), parameters: { above: 1 }, inputs: { scores: "x" } },
      { ...step("threshold"), id: "b", parameters: { above: 0 }, inputs: { scores: "y" } },
    ];
    await lane.run(chain, tensorsOf(given, lent), ["a.above", "b.above"], call);
    expect([...values]).toEqual([1, 2]);
  });

  it("reports values that cannot leave a thread, or parameters that cannot enter it, and goes on", async () => {
    lane = workerLane({ workers: 1, workerUrl });
    await expect(lane.run([step("rubbish")], tensorsOf(), ["a.more"], call)).rejects.toMatchObject({
      reason: "internal",
    });
    const unsendable: ChainStep = { ...step("thread"), parameters: untyped({ call: () => 0 }) };
    await expect(lane.run([unsendable], tensorsOf(), ["a.out"], call)).rejects.toMatchObject({
      reason: "internal",
    });
    expect(await thread()).toMatch(/^\d+$/u);
  });

  it("forgets parameters that have not been used for long, and learns them again", async () => {
    lane = workerLane({ workers: 1 });
    const texts = tensorsOf(bytesTensor("t", ["a", "b"]));
    const joining = Array.from({ length: 600 }, (_, index) => ({ separator: `${index}` }));
    for (const parameters of [...joining, ...joining.slice(0, 2)]) {
      const chain = [{ ...step("join-text"), parameters, inputs: { texts: "t" } }];
      const { values } = await lane.run(chain, texts, ["a.text"], call);
      expect(values.get("a.text")?.bytes.byteLength).toBe(4 + 2 + parameters.separator.length);
    }
  });

  it.each([{ workers: 0 }, { workers: 1.5 }, { workers: 1, maxWaiting: -1 }])("refuses %o", (options) => {
    lane = workerLane({ workers: 1, workerUrl });
    expect(() => workerLane(options)).toThrowError(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
  });
});
