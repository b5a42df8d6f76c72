import { type Call, LongshoreError } from "@longshore/core";
import { housekeepingCall, untilAborted } from "@longshore/core/internal";
import { createEngine } from "@longshore/engine";
import {
  manualClock,
  memoryEngineParts,
  memoryFile,
  memoryRuntime,
  memoryStore,
  oneStage,
  settle,
} from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { loadAll } from "./load-all.ts";

const call = housekeepingCall("test");

/** An engine whose loads end on command, and their outcomes. */
function world(made: Readonly<Record<string, readonly string[]>> = {}) {
  const begun: string[] = [];
  const reported: string[] = [];
  const missing: string[] = [];
  const ends = new Map<string, (problem?: LongshoreError) => void>();
  const engine = {
    load: (model: string, _version: string | undefined, own: Call) => {
      begun.push(model);
      const loading = new Promise<void>((resolve, reject) =>
        ends.set(model, (problem) => (problem ? reject(problem) : resolve())),
      );
      return untilAborted(loading, own.abort, "execute");
    },
    uses: (model: string) =>
      model === "unread" ? Promise.reject(new Error("unread")) : Promise.resolve(made[model] ?? []),
  };
  const parts = {
    engine,
    missing: { failed: (model: string) => void missing.push(model), isSettled: () => false },
    report: (text: string) => void reported.push(text),
  };
  const end = async (model: string, problem?: string, reason: "internal" | "memory-limit" = "internal") => {
    ends.get(model)!(problem === undefined ? undefined : new LongshoreError(reason, "resolve", problem));
    await settle();
  };
  return { begun, reported, missing, parts, end };
}

describe("models that are loaded at the start", () => {
  it("are loaded four at a time, and failures do not stop the others and are reported in order", async () => {
    const { begun, reported, missing, parts, end } = world();
    const all = loadAll(["a", "b", "unread", "d", "e"], false, parts, call);
    await settle();
    expect(begun).toEqual(["a", "b", "unread", "d"]);
    await end("unread", "unread failed");
    expect([reported, missing]).toEqual([[], ["unread"]]);
    expect(begun).toEqual(["a", "b", "unread", "d", "e"]);
    await end("b", "b failed");
    await end("a");
    expect(reported).toEqual(["b failed", "unread failed"]);
    for (const model of ["d", "e"]) await end(model);
    await all;
  });

  it("come after the models that they use, in any order of names", async () => {
    const uses = { outer: ["middle", "b"], middle: ["a"], ring: ["gnir"], gnir: ["ring"] };
    const { begun, parts, end } = world(uses);
    const all = loadAll(["outer", "b", "ring", "gnir", "a", "a"], false, parts, call);
    await settle();
    // The middle one is loaded with the outer one.
    expect(begun).toEqual(["a", "b", "gnir"]);
    await end("a");
    await end("b");
    expect(begun).toEqual(["a", "b", "gnir", "outer"]);
    await end("gnir");
    expect(begun).toEqual(["a", "b", "gnir", "outer", "ring"]);
    await end("outer");
    await end("ring");
    await all;
  });

  it("end with the first that fails where all are needed, once none is being loaded any more", async () => {
    const { begun, reported, missing, parts, end } = world();
    const all = loadAll(["a", "b", "c", "d", "e"], true, parts, call);
    const failure = expect(all).rejects.toMatchObject({
      message: expect.stringMatching(/^b failed; nothing/) as string,
    });
    await settle();
    await end("b", "b failed");
    await failure;
    expect([begun, reported, missing]).toEqual([["a", "b", "c", "d"], [], []]);
  });

  it("evict each other as they would one after the other", async () => {
    const clock = manualClock();
    const models = { one: oneStage([], [], 1, () => new Map()) };
    const runtime = memoryRuntime({ models, clock, loadMs: 50 });
    const names = ["a", "b", "c"];
    const store = memoryStore(
      Object.fromEntries(names.map((name) => [`${name}/1/model.onnx`, memoryFile("one")])),
    );
    const parts = memoryEngineParts({ clock, models, store, runtime });
    const engine = createEngine({ ...parts, limits: { ...parts.limits, maxModelBytes: 60 * 2 ** 20 } });
    const reported: string[] = [];
    const missing = { failed: (model: string) => void reported.push(model), isSettled: () => false };
    const report = (text: string): void => void reported.push(text);
    await clock.finish(loadAll(names, true, { engine, missing, report }, call));
    expect(reported).toEqual([]);
    expect(runtime.loads).toHaveLength(3);
    // Two fit beside each other.
    expect(runtime.open()).toBe(2);
    expect(clock.nowMs()).toBe(100);
  });
});
