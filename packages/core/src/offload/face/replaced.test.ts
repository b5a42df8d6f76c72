import { simulatedEndpoint, type SimulatedModel, virtualClock } from "@longshore/lab";
import { doubleDescription } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  housekeepingCall,
  LongshoreError,
  neverAborted,
  seededRandom,
  silentObserver,
  sleep,
} from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo, InferenceRequest } from "../../wire/endpoint/index.ts";
import type { ModelDescription } from "../../words/model/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { numericTensor, tensorsOf } from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

/** A content of the one model and version, by the digit that its digest is made of, and by what it takes. */
function content(digit: string, change: Partial<ModelDescription> = {}): SimulatedModel {
  const description = doubleDescription({
    name: "toy",
    version: "1",
    digest: `sha256:${digit.repeat(64)}`,
    inputs: [{ name: "x", datatype: "UINT8", shape: [-1] }],
    outputs: [{ name: "y", datatype: "INT32", shape: [1] }],
    dataClass: "internal",
    ...change,
  });
  const { inputs, outputs, digest } = description;
  const cuts = (["start", "end"] as const).map((id, index) => ({
    cut: {
      id,
      crossing: id === "end" ? outputs : inputs,
      reveals: id === "end" ? ("answer" as const) : ("input" as const),
    },
    headMs: [100 * index],
    tailMs: [100 - 100 * index],
    headMemoryBytes: 1000 * index,
    codings: [{ codecs: {}, bytes: 12, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
  }));
  const bucket = { upTo: { bytes: 1e9 }, typical: { bytes: 12 }, runs: 3, legalCuts: 2, cuts };
  return {
    description,
    profile: {
      schemaVersion: 1,
      model: "toy",
      version: "1",
      digest,
      measuredOn: { runtime: "made up", threads: 1, description: "made up" },
      variants: [{ variant: "default", agreementRatio: 1, buckets: [bucket] }],
    },
    compute: () => tensorsOf(numericTensor("y", "INT32", [1], Int32Array.of(Number(digit)))),
  };
}

/** An endpoint that runs whatever content stands first in `models`, and says so of any other. */
function edgeWith(first: SimulatedModel, tier: "device" | "edge" = "edge", clock = virtualClock()) {
  const random = seededRandom(2);
  const info: EndpointInfo = {
    id: tier,
    tier,
    zone: "eu",
    trust: "operated",
    codecs: ["raw"],
    state: "resident",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
  };
  const models = [first];
  const inner = simulatedEndpoint({ info, models, clock, random, instances: 100, logSpread: 0 });
  const asked: InferenceRequest[] = [];
  const offered: string[] = [];
  const endpoint: Endpoint = {
    info,
    describe: (...given) => inner.describe(...given),
    offers(query, call) {
      offered.push(query.model);
      return inner.offers(query, call);
    },
    async infer(request, call) {
      asked.push(request);
      if (request.segment.digest !== models[0]?.description.digest)
        throw new LongshoreError("unknown-version", "resolve", "another content is here");
      return inner.infer(request, call);
    },
    capabilities: {},
    close: () => inner.close(),
  };
  const parts = {
    endpoints: [endpoint],
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random,
    observer: silentObserver,
    links: () => undefined,
  };
  return { clock, endpoint, parts, asked, offered, replace: (by: SimulatedModel) => void (models[0] = by) };
}

const inputs = { x: new Uint8Array([1, 2, 3]) };
const yOf = ({ outputs }: { outputs: ReadonlyMap<string, { bytes: Uint8Array }> }): number | undefined =>
  outputs.get("y")?.bytes[0];

describe("a model whose content was replaced at its server", () => {
  it.each(["by what it offers", "by what it refuses"])("is described again, known %s", async (how) => {
    const { clock, parts, replace } = edgeWith(content("3"));
    await using offloader = createOffloader(parts);
    for (const version of [undefined, "1"])
      expect(yOf(await clock.runUntil(offloader.infer("toy", inputs, version ? { version } : {})))).toBe(3);
    replace(content("4"));
    if (how === "by what it offers") await clock.runUntil(offloader.refresh());
    for (const version of [undefined, "1", undefined])
      expect(yOf(await clock.runUntil(offloader.infer("toy", inputs, version ? { version } : {})))).toBe(4);
  });

  it("lets a sequence begin, and goes on with none that began before", async () => {
    const { clock, parts, replace } = edgeWith(content("3"));
    await using offloader = createOffloader(parts);
    const before = offloader.sequence("toy");
    expect(yOf(await clock.runUntil(before.next(inputs)))).toBe(3);
    replace(content("4"));
    const after = offloader.sequence("toy");
    for (let step = 0; step < 2; step++) expect(yOf(await clock.runUntil(after.next(inputs)))).toBe(4);
    replace(content("5"));
    await expect(clock.runUntil(after.next(inputs))).rejects.toMatchObject({ reason: "unknown-version" });
  });

  it("gets the inputs as the new content takes them", async () => {
    const { clock, parts, asked, replace } = edgeWith(content("3"));
    await using offloader = createOffloader(parts);
    await clock.runUntil(offloader.infer("toy", inputs));
    replace(content("4", { inputs: [{ name: "x", datatype: "INT8", shape: [-1] }] }));
    expect(yOf(await clock.runUntil(offloader.infer("toy", inputs)))).toBe(4);
    const [x] = asked.at(-1)!.inputs.values();
    expect(x!.spec.datatype).toBe("INT8");
  });

  it("does not get a request for one answer where it gives any number now", async () => {
    const { clock, parts, replace } = edgeWith(content("3"));
    await using offloader = createOffloader(parts);
    await clock.runUntil(offloader.infer("toy", inputs));
    replace(content("4", { decoupled: true }));
    await expect(clock.runUntil(offloader.infer("toy", inputs))).rejects.toMatchObject({
      reason: "unsupported",
    });
  });

  it.each(["infer", "answers"] as const)(
    "is sent only what its own class of data lets out: %s",
    async (way) => {
      const { clock, parts, asked, replace } = edgeWith(content("3", { dataClass: "public" }));
      const policy = tablePolicy({ public: { leastTrust: "none" } });
      await using offloader = createOffloader({ ...parts, policy });
      const ask = async (): Promise<number | undefined> => {
        if (way === "infer") return yOf(await offloader.infer("toy", inputs));
        for await (const answer of offloader.answers("toy", inputs)) return yOf(answer);
        return undefined;
      };
      expect(await clock.runUntil(ask())).toBe(3);
      const { description, ...rest } = content("4");
      const { dataClass: _none, ...unclassed } = description;
      replace({ ...rest, description: unclassed });
      await expect(clock.runUntil(ask())).rejects.toMatchObject({ reason: "policy-denied" });
      // The content that the second request was planned with is gone: the request was sent there once.
      expect(asked.map(({ segment }) => segment.digest[7])).toEqual(["3", "3"]);
    },
  );

  it("is not queried by a loop over answers of an offloader that was closed meanwhile", async () => {
    const { clock, parts, endpoint, replace } = edgeWith(content("3"));
    let [closes, closed] = [false, Promise.resolve()];
    const closing: Endpoint = {
      ...endpoint,
      infer(...given) {
        if (closes) closed = offloader.close();
        return endpoint.infer(...given);
      },
    };
    const offloader = createOffloader({ ...parts, endpoints: [closing] });
    await clock.runUntil(offloader.infer("toy", inputs));
    replace(content("4"));
    closes = true;
    const answers = offloader.answers("toy", inputs)[Symbol.asyncIterator]();
    await expect(clock.runUntil(answers.next())).rejects.toMatchObject({ reason: "shutting-down" });
    await clock.runUntil(closed);
  });

  it("is queried in few rounds by many requests, which query no other model", async () => {
    const { clock, parts, offered, replace } = edgeWith(content("3"));
    await using offloader = createOffloader(parts);
    await clock.runUntil(offloader.infer("toy", inputs));
    await expect(clock.runUntil(offloader.infer("other", inputs))).rejects.toMatchObject({
      reason: "unknown-model",
    });
    replace(content("4"));
    offered.length = 0;
    const all = Promise.all(Array.from({ length: 50 }, () => offloader.infer("toy", inputs)));
    expect((await clock.runUntil(all)).map(yOf)).toEqual(Array.from({ length: 50 }, () => 4));
    expect(offered.length).toBeLessThanOrEqual(6);
    expect(new Set(offered)).toEqual(new Set(["toy"]));
  });

  it("is waited for no longer than the call lasts", async () => {
    const { clock, parts, endpoint, replace } = edgeWith(content("3"));
    let silent = false;
    const falling: Endpoint = {
      ...endpoint,
      offers: (...query) => (silent ? new Promise(() => undefined) : endpoint.offers(...query)),
      describe: (...query) => (silent ? new Promise(() => undefined) : endpoint.describe(...query)),
    };
    await using offloader = createOffloader({ ...parts, endpoints: [falling] });
    await clock.runUntil(offloader.infer("toy", inputs));
    replace(content("4"));
    silent = true;
    const beganMs = clock.nowMs();
    const late = offloader.infer("toy", inputs, { deadlineMs: 500 });
    await expect(clock.runUntil(late)).rejects.toMatchObject({ reason: "unknown-version" });
    expect(clock.nowMs() - beganMs).toBeLessThanOrEqual(500);
  });
});

describe("a model that was replaced elsewhere before it was here", () => {
  /** A device that has no memory for the model; what it has of it is replaced once it is looked where that came from. */
  function deviceWith(look: (replace: () => void) => Promise<void>) {
    const edge = edgeWith(content("3"));
    const { clock, parts } = edge;
    const here = edgeWith(content("3"), "device", clock);
    let looks = 0;
    const offloader = createOffloader({
      ...parts,
      local: here.endpoint,
      lookAgain: () => (looks++, look(() => here.replace(content("4")))),
      device: { memoryBytes: () => 999 },
    });
    return { ...edge, offloader, looks: () => looks };
  }

  it.each(["by what it offers", "by what it refuses"])("is looked for at once, known %s", async (how) => {
    const { clock, offloader, looks, replace } = deviceWith(async (replaceHere) => replaceHere());
    expect(yOf(await clock.runUntil(offloader.infer("toy", inputs)))).toBe(3);
    expect(looks()).toBe(0);
    replace(content("4"));
    if (how === "by what it offers") await clock.runUntil(offloader.refresh());
    for (let times = 0; times < 2; times++)
      expect(yOf(await clock.runUntil(offloader.infer("toy", inputs)))).toBe(4);
    expect(looks()).toBe(1);
    await clock.runUntil(offloader.close());
  });

  it("is not waited for for longer than the call lasts, or than an endpoint has to say what it offers", async () => {
    const { clock, offloader, replace } = deviceWith(() => new Promise(() => undefined));
    await clock.runUntil(offloader.infer("toy", inputs));
    replace(content("4"));
    for (const [limits, reason, waits] of [
      [{ deadlineMs: 500 }, "unknown-version", 500],
      [{}, "no-endpoint", 3000],
    ] as const) {
      const beganMs = clock.nowMs();
      await expect(clock.runUntil(offloader.infer("toy", inputs, limits))).rejects.toMatchObject({ reason });
      expect(clock.nowMs() - beganMs).toBe(waits);
    }
    await clock.runUntil(offloader.close());
  });
});

describe("a refusal", () => {
  const call = (tenant: string) => ({
    ...housekeepingCall("test"),
    tenant,
    rules: { dataClass: "internal", leastTrust: "none" } as const,
  });

  it.each(["infer", "inferStream"] as const)(
    "of one tenant takes no endpoint from others: %s",
    async (way) => {
      const model = content("3", { decoupled: way === "inferStream" });
      const { clock, endpoint, parts, offered } = edgeWith(model);
      const refuse = (tenant: string): void => {
        if (tenant === "clumsy") throw new LongshoreError("unsupported", "admission", "not like this");
      };
      const choosy: Endpoint = {
        ...endpoint,
        async infer(request, given) {
          refuse(given.tenant);
          return endpoint.infer(request, given);
        },
        capabilities: {
          ...endpoint.capabilities,
          async *inferStream(request, given) {
            refuse(given.tenant);
            yield await endpoint.infer(request, given);
          },
        },
      };
      const info = { ...endpoint.info, id: "gateway" };
      const gateway = offloadEndpoint({ ...parts, endpoints: [choosy], info });
      const { digest, version } = model.description;
      const segment = { model: "toy", version, digest, variant: "default", from: "start", to: "end" };
      const x = { spec: { name: "x", datatype: "UINT8", shape: [3] }, bytes: inputs.x } as const;
      const ask = async (tenant: string): Promise<unknown> => {
        const request = { segment, inputs: new Map([["x", x]]), codecs: {} };
        if (way === "infer") return yOf(await gateway.infer(request, call(tenant)));
        for await (const answer of gateway.capabilities!.inferStream!(request, call(tenant)))
          return yOf(answer);
        return undefined;
      };
      expect(await clock.runUntil(ask("careful"))).toBe(3);
      await expect(clock.runUntil(ask("clumsy"))).rejects.toMatchObject({ reason: "unsupported" });
      expect(await clock.runUntil(ask("careful"))).toBe(3);
      // Nothing had been forgotten that had to be asked for again.
      expect(offered).toHaveLength(1);
      await clock.runUntil(gateway.close());
    },
  );
});

describe("a model that its servers no longer have", () => {
  const call = { ...housekeepingCall("test"), rules: { dataClass: "internal", leastTrust: "none" } as const };
  const x = { spec: { name: "x", datatype: "UINT8", shape: [3] }, bytes: inputs.x } as const;
  const first = content("3");
  const named = (version: string): InferenceRequest => ({
    segment: { model: "toy", version, digest: "", variant: "", from: "start", to: "end" },
    inputs: new Map([["x", x]]),
    codecs: {},
  });

  /** A gateway before one server that has some versions, or does not answer. */
  function scene() {
    const { clock, endpoint, parts } = edgeWith(first);
    const has = new Set(["1", "2"]);
    const at = { away: false };
    const of = (version: string): SimulatedModel => ({
      ...first,
      description: { ...first.description, version },
    });
    const reach = (): void => {
      if (at.away) throw new LongshoreError("unreachable", "transport", "nobody is there");
    };
    const server: Endpoint = {
      ...endpoint,
      async describe(_model, version = [...has].at(-1)) {
        reach();
        if (version === undefined || !has.has(version)) return undefined;
        const { description, profile } = of(version);
        return { description, profile: { ...profile, version } };
      },
      async offers({ model, version }, given) {
        reach();
        const offers =
          version === undefined || has.has(version) ? await endpoint.offers({ model }, given) : [];
        return offers.map((one) => ({
          ...one,
          segment: { ...one.segment, version: version ?? [...has].at(-1) ?? "" },
        }));
      },
      async infer(request, given) {
        reach();
        const reason = has.size === 0 ? "unknown-model" : "unknown-version";
        if (!has.has(request.segment.version))
          throw new LongshoreError(reason, "resolve", "not here any more");
        return endpoint.infer({ ...request, segment: { ...request.segment, version: "1" } }, given);
      },
    };
    const gateway = offloadEndpoint({
      ...parts,
      endpoints: [server],
      info: { ...endpoint.info, id: "gateway" },
    });
    const ask = (version: string): Promise<string> =>
      clock.runUntil(
        gateway.infer(named(version), call).then(
          () => "answered",
          (thrown: unknown) => LongshoreError.from(thrown, "plan", "").reason,
        ),
      );
    return { clock, gateway, has, at, ask };
  }

  it.each(["1", "2", ""])(
    "is not there for who asks for it either, however often: version %j",
    async (version) => {
      const { clock, gateway, has, ask } = scene();
      expect(await ask(version)).toBe("answered");
      has.clear();
      has.add("3");
      if (version === "") has.clear();
      const gone = version === "" ? "unknown-model" : "unknown-version";
      for (let times = 0; times < 3; times++) expect(await ask(version)).toBe(gone);
      await clock.runUntil(sleep(clock, 20_000, neverAborted));
      expect(await ask(version)).toBe(gone);
      expect(await clock.runUntil(gateway.describe("toy", version || undefined, call))).toBeUndefined();
      has.add("1").add("2");
      expect(await ask(version)).toBe("answered");
      await clock.runUntil(gateway.close());
    },
  );

  it("may be there again where they do not say so", async () => {
    const { clock, gateway, at, ask } = scene();
    expect(await ask("1")).toBe("answered");
    at.away = true;
    for (let times = 0; times < 3; times++) expect(await ask("1")).toMatch(/unreachable|no-endpoint/);
    await clock.runUntil(sleep(clock, 20_000, neverAborted));
    expect(await ask("1")).toMatch(/unreachable|no-endpoint/);
    await clock.runUntil(gateway.close());
  });
});
