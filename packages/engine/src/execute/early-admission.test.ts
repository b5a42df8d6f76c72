import { setMaxListeners } from "node:events";
import { describe, expect, it } from "vitest";
import {
  type Call,
  endCut,
  float32Tensor,
  type InferenceResponse,
  type LongshoreError,
  type Segment,
  startCut,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  manualClock,
  type ManualClock,
  memoryFile,
  type MemoryModels,
  memoryRuntime,
  type MemoryRuntime,
  memoryStore,
  oneStage,
  memoryEngineParts,
} from "@longshore/testkit";
import { createEngine, type Engine } from "./engine.ts";
import type { EngineLimits } from "./engine-parts.ts";

const base = housekeepingCall("test");
setMaxListeners(0, base.abort);
const x = { name: "x", datatype: "FP32", shape: [-1, 2] } as const;
const timed = (runMs: number): MemoryModels[string] =>
  oneStage([x], [{ ...x, name: "y" }], runMs, (feeds) => new Map([["y", { ...feeds.get("x")! }]]));
const models: MemoryModels = { slow: timed(100), fast: timed(10), rough: timed(1) };

interface World {
  readonly clock: ManualClock;
  readonly engine: Engine;
  readonly runtime: MemoryRuntime;
}

function world(limits: Partial<EngineLimits> = {}): World {
  const clock = manualClock();
  const runtime = memoryRuntime({ models, clock });
  const store = memoryStore({
    "m/model.yaml": `variants:
  - { name: exact, graph: model.onnx }
  - { name: rough, graph: rough.onnx, agreement: 0.9 }
  - { name: near, graph: near.onnx, agreement: 0.99 }
`,
    "m/1/model.onnx": memoryFile("slow"),
    "m/1/near.onnx": memoryFile("fast"),
    "m/1/rough.onnx": memoryFile("rough"),
  });
  const engine = createEngine({ ...memoryEngineParts({ clock, models, store, runtime }), limits });
  return { clock, engine, runtime };
}

const segment: Segment = {
  model: "m",
  version: "1",
  digest: "",
  variant: "exact",
  from: startCut,
  to: endCut,
};
const within = ({ clock }: World, ms: number, change: Partial<Call> = {}): Call => ({
  ...base,
  deadlineMs: clock.nowMs() + ms,
  ...change,
});
const ask = (
  { engine }: World,
  call: Call,
  change: {
    readonly leastAgreementRatio?: number;
    readonly pass?: Disposable;
    readonly variant?: string;
  } = {},
): Promise<InferenceResponse> => {
  const { variant = "exact", ...rest } = change;
  const inputs = tensorsOf(float32Tensor("x", [1, 2], Float32Array.of(1, 2)));
  return engine.infer({ segment: { ...segment, variant }, inputs, codecs: {}, ...rest }, call);
};
const admit = ({ engine }: World, call: Call, least?: number): Disposable | string => {
  try {
    return engine.capabilities.admit?.(segment, call, least) ?? "no early admission";
  } catch (error) {
    return (error as LongshoreError).reason;
  }
};

/** An engine that knows how long each variant takes. */
async function learned(): Promise<World> {
  const here = world();
  for (const variant of ["exact", "near", "rough"]) {
    for (let run = 0; run < 3; run++) await here.clock.finish(ask(here, base, { variant }));
  }
  return here;
}

describe("admission from headers", () => {
  it("admits requests while it knows nothing, and refuses by learned times before any input is there", async () => {
    expect(admit(world(), base)).toMatchObject({});
    const here = await learned();
    expect(admit(here, within(here, 50))).toBe("rejected");
    expect(admit(here, within(here, 150))).not.toBe("rejected");
  });

  it("keeps zones and trust of a request, at admission, at a run and at a stream", async () => {
    const store = memoryStore({ "m/model.yaml": "{}", "m/1/model.onnx": memoryFile("fast") });
    const parts = memoryEngineParts({ clock: manualClock(), models, store });
    const info = { ...parts.info, zone: "eu/de", trust: "listed" } as const;
    const engine = createEngine({ ...parts, info });
    const whole = { ...segment, variant: "" };
    const request = { segment: whole, inputs: new Map(), codecs: {} };
    const denied = { reason: "policy-denied" };
    for (const rule of [{ zones: ["us"] }, { zones: [] }, { leastTrust: "operated" as const }]) {
      const call = { ...base, rules: { ...base.rules, ...rule } };
      expect(() => engine.capabilities.admit?.(whole, call)).toThrow(
        /^.* must not run the request by its (zone|trust) rule: it /,
      );
      await expect(engine.infer(request, call)).rejects.toMatchObject(denied);
      const answers = engine.capabilities.inferStream?.(request, call)[Symbol.asyncIterator]();
      await expect(answers?.next()).rejects.toMatchObject(denied);
    }
    const call = { ...base, rules: { ...base.rules, zones: ["eu"], leastTrust: "listed" as const } };
    engine.capabilities.admit?.(whole, call)[Symbol.dispose]();
  });

  it("takes nothing that would wait for longer than its sender believes, and keeps nothing of it", async () => {
    const here = await learned();
    const bounded = (mostWaitMs: number): Call => ({ ...base, mostWaitMs });
    (admit(here, bounded(0)) as Disposable)[Symbol.dispose]();
    const running = ask(here, base);
    const waiting = ask(here, base);
    // One runs for 100 ms, and one waits.
    for (let tries = 0; tries < 20; tries++) expect(admit(here, bounded(190))).toBe("busier");
    expect(here.engine.loadReport()).toMatchObject({ inFlight: 2, queueMs: 200 });
    await expect(ask(here, bounded(190))).rejects.toMatchObject({ reason: "busier", retryAfterMs: 10 });
    expect(here.engine.loadReport()).toMatchObject({ inFlight: 2, queueMs: 200 });
    const kept = admit(here, bounded(201));
    expect(kept).not.toBe("busier");
    (kept as Disposable)[Symbol.dispose]();
    await here.clock.finish(Promise.all([running, waiting]));
    expect(admit(here, bounded(0))).not.toBe("busier");
  });

  it("reserves capacity for an admitted request, so that the next one is refused", async () => {
    const here = await learned();
    const kept = admit(here, within(here, 150));
    expect(admit(here, within(here, 150))).toBe("rejected");
    (kept as Disposable)[Symbol.dispose]();
    expect(admit(here, within(here, 150))).not.toBe("rejected");
  });

  it("takes the pass for the request's admission, once", async () => {
    const here = await learned();
    using pass = admit(here, within(here, 150)) as Disposable;
    const { account } = await here.clock.finish(ask(here, within(here, 150), { pass }));
    expect(account.segment.variant).toBe("exact");
    expect(admit(here, within(here, 150))).not.toBe("rejected");
  });

  it("ignores passes that another endpoint granted", async () => {
    const [here, other] = [await learned(), await learned()];
    using pass = admit(other, within(other, 150)) as Disposable;
    const refused = ask(here, within(here, 50), { pass });
    await expect(here.clock.finish(refused)).rejects.toMatchObject({ reason: "rejected" });
  });

  it("takes back capacity reserved for inputs that do not come, when other requests want it", async () => {
    const here = world({ maxQueued: 1 });
    for (let run = 0; run < 3; run++) await here.clock.finish(ask(here, base));
    const kept = [admit(here, base), admit(here, base)];
    expect(kept).not.toContain("queue-full");
    expect(admit(here, base)).toBe("queue-full");
    await here.clock.advance(1001);
    expect(admit(here, base)).not.toBe("queue-full");
  });

  it("keeps no model from going for inputs that do not come, and judges them again when they do", async () => {
    const here = world();
    const { clock, engine } = here;
    for (let run = 0; run < 3; run++) await clock.finish(ask(here, base));
    using pass = admit(here, base) as Disposable;
    await clock.finish(engine.unload("m", base));
    expect(here.runtime.open()).toBe(0);
    await clock.finish(engine.load("m", undefined, base));
    expect((await clock.finish(ask(here, base, { pass }))).account.segment.variant).toBe("exact");
    using _pass = admit(here, base) as Disposable;
    await clock.finish(engine.close());
  });

  it("is closed while the engine drains, and for deadlines that have passed", async () => {
    const here = await learned();
    expect(admit(here, within(here, -1))).toBe("deadline-past");
    await here.engine.drain();
    expect(admit(here, base)).toBe("shutting-down");
  });
});

describe("a cheaper variant before shedding", () => {
  it("runs the most alike that makes the deadline, when the caller takes another", async () => {
    const here = await learned();
    const ran = async (ms: number, leastAgreementRatio: number): Promise<string> => {
      const outcome = ask(here, within(here, ms), { leastAgreementRatio });
      const response = await here.clock.finish(outcome);
      return response.account.segment.variant;
    };
    expect(await ran(150, 0.5)).toBe("exact");
    expect(await ran(50, 0.5)).toBe("near");
    expect(await ran(5, 0.5)).toBe("rough");
    await expect(ran(5, 0.95)).rejects.toMatchObject({ reason: "rejected" });
  });

  it("keeps to the requested variant otherwise", async () => {
    const here = await learned();
    await expect(here.clock.finish(ask(here, within(here, 50)))).rejects.toMatchObject({
      reason: "rejected",
    });
  });

  it("decides at admission, too, and hands the choice on with the pass", async () => {
    const here = await learned();
    using pass = admit(here, within(here, 50), 0.9) as Disposable;
    const outcome = ask(here, within(here, 50), { pass, leastAgreementRatio: 0.9 });
    expect((await here.clock.finish(outcome)).account.segment.variant).toBe("near");
  });

  it("loads variants that might have helped for the next request", async () => {
    const here = world();
    for (let run = 0; run < 3; run++) await here.clock.finish(ask(here, base));
    const first = ask(here, within(here, 50), { leastAgreementRatio: 0.95 });
    await expect(here.clock.finish(first)).rejects.toMatchObject({ reason: "rejected" });
    await here.clock.advance(1);
    const second = ask(here, within(here, 50), { leastAgreementRatio: 0.95 });
    expect((await here.clock.finish(second)).account.segment.variant).toBe("near");
  });
});
