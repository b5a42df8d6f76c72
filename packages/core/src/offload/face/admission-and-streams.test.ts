import { simulatedEndpoint, type SimulatedModel, virtualClock, type VirtualClock } from "@longshore/lab";
import { doubleDescription } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
  sleep,
} from "../../words/base/index.ts";
import { chunksOf, emptyBody, type StreamBody } from "../../wire/body/index.ts";
import type {
  Endpoint,
  EndpointInfo,
  InferenceRequest,
  InferenceResponse,
} from "../../wire/endpoint/index.ts";
import type { Profile } from "../../words/model/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { numericTensor, numericView, tensorsOf, type Tensors } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({
  name: "toy",
  digest: `sha256:${"3".repeat(64)}`,
  inputs: [{ name: "x", datatype: "INT32", shape: [-1] }],
  outputs: [{ name: "y", datatype: "INT32", shape: [1] }],
  dataClass: "internal",
});
const ends = (["start", "end"] as const).map((id, index) => ({
  cut: {
    id,
    crossing: id === "end" ? description.outputs : description.inputs,
    reveals: id === "end" ? ("answer" as const) : ("input" as const),
  },
  headMs: [100 * index],
  tailMs: [100 - 100 * index],
  headMemoryBytes: 0,
  codings: [{ codecs: {}, bytes: 12, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
}));
const profile: Profile = {
  schemaVersion: 1,
  model: "toy",
  version: "1",
  digest: description.digest,
  measuredOn: { runtime: "made up", threads: 1, description: "made up" },
  variants: [
    {
      variant: "default",
      agreementRatio: 1,
      buckets: [{ upTo: { bytes: 1e9 }, typical: { bytes: 12 }, runs: 3, legalCuts: 2, cuts: ends }],
    },
  ],
};
const out = (value: number): Tensors => tensorsOf(numericTensor("y", "INT32", [1], Int32Array.of(value)));

function testEndpoint(
  clock: VirtualClock,
  id: string,
  model: Partial<SimulatedModel["description"]> = {},
  // So much faster here that nothing goes elsewhere unless it must.
  speed = id === "here" ? 10 : 1,
): Endpoint {
  const info: EndpointInfo = {
    id,
    tier: id === "here" ? "device" : "edge",
    zone: id === "here" ? "device" : "eu",
    trust: "operated",
    codecs: ["raw"],
    state: "none",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
  };
  return simulatedEndpoint({
    info,
    models: [{ description: { ...description, ...model }, profile, compute: () => out(1) }],
    clock,
    random: seededRandom(2),
    speed,
    logSpread: 0,
  });
}

/** The same endpoint, with more to it. */
const with_ = (inner: Endpoint, more: Partial<Endpoint>): Endpoint => ({
  info: inner.info,
  describe: (...given) => inner.describe(...given),
  offers: (...given) => inner.offers(...given),
  infer: (...given) => inner.infer(...given),
  close: () => inner.close(),
  capabilities: {},
  ...more,
});

function offloading(clock: VirtualClock, local: Endpoint | undefined, endpoints: readonly Endpoint[] = []) {
  const [first] = endpoints;
  return offloadEndpoint({
    ...(local ? { local } : { info: { ...first!.info, id: "gateway" } }),
    endpoints,
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(5),
    observer: silentObserver,
    links: () => undefined,
  });
}

const segment = {
  model: "toy",
  version: "1",
  digest: description.digest,
  variant: "default",
  from: "start",
  to: "end",
};
const request: InferenceRequest = {
  segment,
  inputs: tensorsOf(numericTensor("x", "INT32", [3], Int32Array.of(4, 5, 6))),
  codecs: {},
};
const call = (change: Partial<Call> = {}): Call => ({
  ...housekeepingCall("test"),
  rules: { dataClass: "internal", leastTrust: "none" },
  ...change,
});

describe("admission at an offloading endpoint", () => {
  const doorOf = (refuses: () => boolean) => {
    const passes: { given: Disposable; open: boolean }[] = [];
    const admit = (): Disposable => {
      if (refuses()) throw new LongshoreError("rejected", "admission", "planted", { retryAfterMs: 40 });
      const pass = { given: { [Symbol.dispose]: () => void (pass.open = false) }, open: true };
      passes.push(pass);
      return pass.given;
    };
    return { admit, passes };
  };

  it("admits requests for unused models, then reserves a slot here that comes with the request", async () => {
    const clock = virtualClock();
    const { admit, passes } = doorOf(() => false);
    const seen: (Disposable | undefined)[] = [];
    const inner = testEndpoint(clock, "here");
    const local = with_(inner, {
      capabilities: { admit },
      infer: (given, own) => {
        seen.push(given.pass);
        return inner.infer(given, own);
      },
    });
    const edge = offloading(clock, local);
    edge.capabilities!.admit!(segment, call())[Symbol.dispose]();
    expect(passes).toHaveLength(0);
    await clock.runUntil(edge.infer(request, call()));
    {
      using pass = edge.capabilities!.admit!(segment, call());
      expect(passes).toMatchObject([{ given: pass, open: true }]);
      await clock.runUntil(edge.infer({ ...request, pass, parameters: { beams: 4 } }, call()));
      expect(seen).toEqual([undefined, pass]);
    }
    expect(passes[0]?.open).toBe(false);
  });

  it("reserves a slot here without requiring confirmation, which it does itself", async () => {
    const clock = virtualClock();
    const confirmed: unknown[] = [];
    const local = with_(testEndpoint(clock, "here"), {
      capabilities: {
        admit: (_segment, { rules }) => {
          confirmed.push(rules.confirm);
          return { [Symbol.dispose]: () => undefined };
        },
      },
    });
    const edge = offloading(clock, local);
    await clock.runUntil(edge.infer(request, call()));
    edge.capabilities!.admit!(segment, call({ rules: { ...call().rules, confirm: true } }))[Symbol.dispose]();
    expect(confirmed).toEqual([undefined]);
  });

  it("refuses a request that the engine here refuses unless another endpoint is left", async () => {
    const clock = virtualClock();
    let full = false;
    const local = with_(testEndpoint(clock, "here"), { capabilities: { admit: doorOf(() => full).admit } });
    const alone = offloading(clock, local);
    const edge = offloading(clock, local, [testEndpoint(clock, "cloud")]);
    for (const one of [alone, edge]) await clock.runUntil(one.infer(request, call()));
    full = true;
    expect(() => alone.capabilities!.admit!(segment, call())).toThrow(
      expect.objectContaining({ retryAfterMs: 40 }) as Error,
    );
    edge.capabilities!.admit!(segment, call())[Symbol.dispose]();
    const here = call({ rules: { dataClass: "internal", leastTrust: "none", zones: ["device"] } });
    expect(() => edge.capabilities!.admit!(segment, here)).toThrow(
      expect.objectContaining({ reason: "rejected" }) as Error,
    );
  });

  it("refuses at once what rules, rights or time leave no endpoint for", async () => {
    const clock = virtualClock();
    const gateway = offloading(clock, undefined, [testEndpoint(clock, "cloud")]);
    await clock.runUntil(gateway.infer(request, call()));
    const reasonOf = (change: Partial<Call>): unknown => {
      try {
        gateway.capabilities!.admit!(segment, call({ deadlineMs: clock.nowMs() + 10_000, ...change }))[
          Symbol.dispose
        ]();
        return "granted";
      } catch (thrown) {
        return (thrown as LongshoreError).reason;
      }
    };
    expect(reasonOf({})).toBe("granted");
    expect(reasonOf({ rules: { dataClass: "internal", leastTrust: "none", zones: ["us"] } })).toBe(
      "policy-denied",
    );
    expect(reasonOf({ rights: ["observe"] })).toBe("not-permitted");
    expect(reasonOf({ deadlineMs: clock.nowMs() + 0.001 })).toBe("rejected");
    expect(reasonOf({ deadlineMs: clock.nowMs() - 1 })).toBe("deadline-past");
    await gateway.close();
    expect(reasonOf({})).toBe("shutting-down");
  });
});

describe("several answers through an offloading endpoint", () => {
  const decoupled = { decoupled: true };

  /** Gives each value of the input, and fails after so many. */
  function streaming(inner: Endpoint, failsAfter = Infinity, queueMs = 0) {
    const asked: { readonly request: InferenceRequest; readonly call: Call }[] = [];
    let over = 0;
    async function* inferStream(given: InferenceRequest, own: Call): AsyncIterable<InferenceResponse> {
      asked.push({ request: given, call: own });
      try {
        const [x] = given.inputs.values();
        if (!x || "read" in x) throw new Error("the input should have been read");
        let count = 0;
        for (const value of numericView(x)) {
          if (count++ >= failsAfter) throw new LongshoreError("run-failed", "execute", "planted");
          const account = {
            endpoint: inner.info.id,
            zone: inner.info.zone,
            segment: given.segment,
            stages: [],
            sentBytes: 0,
            receivedBytes: 0,
            energy: { millijoules: 0, label: "estimated" },
            costMicros: 0,
            forwarded: [],
          } as const;
          yield {
            outputs: out(Number(value)),
            account,
            load: { atMs: 0, cpuRatio: 0, inFlight: queueMs > 0 ? 50 : 1, queueMs },
          };
        }
        if (count === failsAfter) throw new LongshoreError("run-failed", "execute", "planted");
      } finally {
        over++;
      }
    }
    return { endpoint: with_(inner, { capabilities: { inferStream } }), asked, over: () => over };
  }

  async function taken(clock: VirtualClock, edge: Endpoint, own: Call, most = Infinity): Promise<unknown[]> {
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const { outputs, account } of edge.capabilities!.inferStream!(request, own)) {
        seen.push([Number(numericView(outputs.get("y")!)[0]), account.forwarded.map((one) => one.endpoint)]);
        if (seen.length >= most) break;
      }
    })();
    await clock.runUntil(reading).catch((thrown: unknown) => seen.push((thrown as LongshoreError).reason));
    return seen;
  }

  it("come as the endpoint here makes them, and a reader that leaves ends the work", async () => {
    const clock = virtualClock();
    const here = streaming(testEndpoint(clock, "here", decoupled));
    const edge = offloading(clock, here.endpoint);
    expect(await taken(clock, edge, call())).toEqual([
      [4, []],
      [5, []],
      [6, []],
    ]);
    expect(await taken(clock, edge, call(), 1)).toEqual([[4, []]]);
    expect(here.over()).toBe(2);
    await expect(clock.runUntil(edge.infer(request, call()))).rejects.toMatchObject({
      reason: "unsupported",
    });
    // Nothing of it is still under way.
    await clock.runUntil(edge.close());
  });

  it("come from another endpoint when the first fails before its first answer, and not after", async () => {
    const clock = virtualClock();
    const early = streaming(testEndpoint(clock, "here", decoupled), 0);
    const cloud = streaming(testEndpoint(clock, "cloud", decoupled));
    const edge = offloading(clock, early.endpoint, [cloud.endpoint]);
    expect(await taken(clock, edge, call({ rights: ["infer"] }))).toEqual([
      [4, ["cloud"]],
      [5, ["cloud"]],
      [6, ["cloud"]],
    ]);
    expect(cloud.asked[0]?.call.path).toEqual(["here"]);
    const late = streaming(testEndpoint(clock, "here", decoupled), 2);
    const other = offloading(clock, late.endpoint, [
      streaming(testEndpoint(clock, "cloud", decoupled)).endpoint,
    ]);
    expect(await taken(clock, other, call())).toEqual([[4, []], [5, []], "run-failed"]);
  });

  it("run only on endpoints that give several answers, keep the rules, and are refused where there are none", async () => {
    const clock = virtualClock();
    const cloud = streaming(testEndpoint(clock, "cloud", decoupled));
    const edge = offloading(clock, testEndpoint(clock, "here", decoupled), [cloud.endpoint]);
    expect(await taken(clock, edge, call())).toHaveLength(3);
    const device = call({ rules: { dataClass: "internal", leastTrust: "none", zones: ["device"] } });
    expect(await taken(clock, edge, device)).toEqual(["policy-denied"]);
    expect(cloud.asked).toHaveLength(1);
    const none = offloading(clock, testEndpoint(clock, "here", decoupled));
    expect(await taken(clock, none, call())).toEqual(["unsupported"]);
  });

  it("teach how busy their endpoint is", async () => {
    const clock = virtualClock();
    const busy = streaming(testEndpoint(clock, "cloud", decoupled), Infinity, 5000);
    const idle = streaming(testEndpoint(clock, "other", decoupled));
    const gateway = offloading(clock, undefined, [busy.endpoint, idle.endpoint]);
    // No request waits behind the busy endpoint once it has reported its load.
    for (let round = 0; round < 12; round++) await taken(clock, gateway, call());
    expect(busy.asked.length).toBeLessThanOrEqual(2);
    expect(busy.asked.length + idle.asked.length).toBe(12);
  });

  it("are one where the model gives one", async () => {
    const clock = virtualClock();
    expect(await taken(clock, offloading(clock, testEndpoint(clock, "here")), call())).toEqual([[1, []]]);
  });
});

it("a run here lets nothing before it that is kept back for a later deadline than its own", async () => {
  const clock = virtualClock();
  let hangs = false;
  const cloud = testEndpoint(clock, "cloud", {}, 4);
  const edge = offloading(clock, testEndpoint(clock, "here", {}, 1), [
    with_(cloud, {
      async infer(given, own) {
        if (hangs) await sleep(clock, Infinity, own.abort);
        return await cloud.infer(given, own);
      },
    }),
  ]);
  const saving = (deadlineMs: number): Call =>
    call({ goal: "energy", deadlineMs: clock.nowMs() + deadlineMs });
  const first = await clock.runUntil(edge.infer(request, saving(300)));
  expect(first.account.forwarded.map(({ endpoint }) => endpoint)).toEqual(["cloud"]);
  hangs = true;
  const late = edge.infer(request, saving(300)).catch(() => "late");
  await clock.runUntil(sleep(clock, 150));
  // It takes 100 ms, and so does the run here that the other one has kept back.
  const rules = { dataClass: "internal", leastTrust: "none", zones: ["device"] } as const;
  const own = edge.infer(request, { ...saving(110), rules });
  expect((await clock.runUntil(own)).account.endpoint).toBe("here");
  await clock.runUntil(late);
});

describe("a request that is sent on while its body arrives", () => {
  it("blames an endpoint that is silent from when the body is here", async () => {
    const clock = virtualClock();
    let silent = false;
    let asked: string[] = [];
    const quick = testEndpoint(clock, "quick", {}, 4);
    const slow = testEndpoint(clock, "slow");
    const endpoints = [quick, slow].map((inner) =>
      with_(inner, {
        infer(given, own) {
          asked.push(inner.info.id);
          return silent && inner === quick ? new Promise(() => undefined) : inner.infer(given, own);
        },
      }),
    );
    const gateway = offloading(clock, undefined, endpoints);
    const tensor = numericTensor("x", "INT32", [3], Int32Array.of(4, 5, 6));
    const x = { spec: tensor.spec, byteLength: 12, read: () => Promise.resolve(tensor) };
    const ask = async (arrivesInMs: number) => {
      asked = [];
      const sentMs = clock.nowMs();
      const body: StreamBody = {
        kind: "stream",
        byteLength: 12,
        again: true,
        get complete() {
          return clock.nowMs() >= sentMs + arrivesInMs;
        },
        read: () => chunksOf(emptyBody),
      };
      const wire = { headerLength: 0, body };
      await clock.runUntil(gateway.infer({ ...request, inputs: new Map([["x", x]]), wire }, call()));
      return { asked, tookMs: clock.nowMs() - sentMs };
    };
    for (let one = 0; one < 12; one++) expect((await ask(0)).asked).toEqual(["quick"]);
    silent = true;
    const lost = await ask(2000);
    expect(lost.asked).toEqual(["quick", "slow"]);
    expect(lost.tookMs).toBeGreaterThan(2100);
    expect((await ask(2000)).asked).toEqual(["slow"]);
    await gateway.close();
  });
});
