import { doubleDescription, doubleEndpoint, manualClock, wrapperContract } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  type LongshoreEvent,
  seededRandom,
  silentObserver,
  untilAborted,
} from "../../words/base/index.ts";
import { type InferenceRequest, nextStep } from "../../wire/endpoint/index.ts";
import type { Segment } from "../../words/model/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import { alarm } from "./alarm.ts";
import { type Alias, type AliasChange, defaultTrialLimits, type Target, type Trial } from "./alias.ts";
import { rolloutEndpoint } from "./rollout-endpoint.ts";
import { type AliasShelf, type KeptAliases, openRollouts, type RolloutParts } from "./rollouts.ts";
import { sideOf } from "./side.ts";
import { trialWatch } from "./trial-watch.ts";

const digestOf = (version: string): string => `sha256:${version.repeat(64)}`;
const limits = defaultTrialLimits;
const nothingKept: KeptAliases = { aliases: [], removedRevision: 0 };
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** An endpoint with two versions, the second of which may fail, answer otherwise, or take its time. */
async function world(shelf?: AliasShelf, prepare?: RolloutParts["prepare"]) {
  const clock = manualClock();
  const random = seededRandom(5);
  const events: LongshoreEvent[] = [];
  const second = { fails: false, factor: 1, tookMs: 0 };
  const asked: { version: string; call: Call }[] = [];
  const model = (version: string) => ({
    description: doubleDescription({ name: "ocr", version, digest: digestOf(version) }),
    run: async (
      inputs: ReadonlyMap<string, { bytes: Uint8Array }>,
      _request: InferenceRequest,
      call: Call,
    ) => {
      asked.push({ version, call });
      const x = inputs.get("x");
      if (!x) throw new Error("x was expected");
      if (version === "2" && second.fails) throw new LongshoreError("run-failed", "execute", "broken");
      const tookMs = version === "2" && second.tookMs > 0 ? second.tookMs : 10;
      const over = new Promise<void>((resolve) => void clock.timer(tookMs, resolve));
      await untilAborted(over, call.abort, "execute");
      if (clock.nowMs() > call.deadlineMs) throw new LongshoreError("deadline-exceeded", "execute", "late");
      const value =
        (float32View(float32Tensor("x", [1], new Float32Array(x.bytes.slice().buffer)))[0] ?? 0) *
        (version === "2" ? second.factor : 1);
      return { outputs: tensorsOf(float32Tensor("y", [1], Float32Array.of(value))) };
    },
  });
  const inner = doubleEndpoint([model("1"), model("2")]);
  const observer = { record: (event: LongshoreEvent) => void events.push(event) };
  const resolve = async (name: string, version: string) => {
    const found = await inner.describe(name, version, housekeepingCall("resolve"));
    if (!found) throw new LongshoreError("unknown-version", "resolve", `no version ${version}`);
    return { version, digest: found.description.digest };
  };
  const rollouts = await openRollouts({
    clock,
    observer,
    resolve,
    ...(shelf ? { shelf } : {}),
    ...(prepare ? { prepare } : {}),
  });
  const endpoint = rolloutEndpoint(inner, { rollouts, clock, draw: () => random.next() });
  let count = 0;
  const ask = async (
    change: Partial<InferenceRequest> = {},
    call: Partial<Call> = {},
  ): Promise<{ version: string; y: number }> => {
    const request: InferenceRequest = {
      segment: { model: "reader", version: "", digest: "", variant: "default", from: "start", to: "end" },
      inputs: tensorsOf(float32Tensor("x", [1], Float32Array.of(3))),
      codecs: {},
      ...change,
    };
    const response = await clock.finish(
      endpoint.infer(request, { ...housekeepingCall(`call-${++count}`), ...call }),
    );
    const y = response.outputs.get("y");
    return { version: response.account.segment.version, y: y ? (float32View(y)[0] ?? NaN) : NaN };
  };
  const change = async (revision: number, what: AliasChange): Promise<Alias | undefined> =>
    rollouts.change("reader", { revision, change: what }, "admin");
  const start = (
    mode: "canary" | "ab" | "shadow",
    weightRatio: number,
    by: "request" | "tenant" | "user" = "request",
  ) => change(1, { do: "start", version: "2", mode, weightRatio, by, limits });
  await change(0, { do: "set", model: "ocr", version: "1" });
  return { clock, rollouts, inner, endpoint, ask, change, start, second, asked, events };
}

wrapperContract("that knows aliases", {
  async wrap(inner) {
    const clock = manualClock();
    const resolve = async (_model: string, version: string) => ({ version, digest: digestOf(version) });
    const rollouts = await openRollouts({ clock, observer: silentObserver, resolve });
    return rolloutEndpoint(inner, { rollouts, clock, draw: () => 0 });
  },
  // It lists aliases, if any.
  adds: ["models"],
});

describe("an alias", () => {
  it("is never what is known of a model of its name without waiting", async () => {
    const { rollouts, clock, inner } = await world();
    const asker = housekeepingCall("describe");
    const knowledge = await inner.describe("ocr", undefined, asker);
    const known = { ...inner, capabilities: { ...inner.capabilities, known: () => knowledge } };
    const endpoint = rolloutEndpoint(known, { rollouts, clock, draw: () => 0 });
    expect(endpoint.capabilities.known?.("ocr", undefined, asker)).toBe(knowledge);
    expect(endpoint.capabilities.known?.("reader", undefined, asker)).toBeUndefined();
  });

  it("loads the requested version, by content", async () => {
    const { rollouts, clock, inner, start } = await world();
    await start("canary", 0.1);
    const loaded: string[] = [];
    const prepare = async ({ model, version, digest }: Segment): Promise<void> =>
      void loaded.push(`${model} ${version} ${digest}`);
    const endpoint = rolloutEndpoint(
      { ...inner, capabilities: { ...inner.capabilities, prepare } },
      { rollouts, clock, draw: () => 0 },
    );
    for (const version of ["1", "2"]) {
      const digest = digestOf(version);
      const segment = { model: "reader", version, digest, variant: "default", from: "start", to: "end" };
      await endpoint.capabilities.prepare?.(segment, housekeepingCall("prepare"));
    }
    expect(loaded).toEqual([`ocr 1 ${digestOf("1")}`, `ocr 2 ${digestOf("2")}`]);
  });

  it("is changed only with its current revision, and every change is reported", async () => {
    const { change, start, rollouts, events } = await world();
    await expect(change(0, { do: "set", model: "ocr", version: "2" })).rejects.toMatchObject({
      reason: "conflict",
    });
    const same = {
      do: "start",
      version: "1",
      mode: "canary",
      weightRatio: 0.1,
      by: "request",
      limits,
    } as const;
    await expect(change(1, same)).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("other content than the stable version 1") as string,
    });
    await start("canary", 0.1);
    await expect(change(1, { do: "promote" })).rejects.toMatchObject({ reason: "conflict" });
    const settled = await Promise.allSettled([change(2, { do: "promote" }), change(2, { do: "abort" })]);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(rollouts.find("reader")).toMatchObject({
      revision: 3,
      stable: { version: "2", digest: digestOf("2") },
    });
    await expect(change(3, { do: "abort" })).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(change(3, { do: "set", model: "ocr", version: "9" })).rejects.toMatchObject({
      reason: "unknown-version",
    });
    expect(await change(3, { do: "remove" })).toBeUndefined();
    expect(rollouts.find("reader")).toBeUndefined();
    expect(
      events.flatMap((event) =>
        event.kind === "rollout-changed" ? [`${event.revision} ${event.change} ${event.by}`] : [],
      ),
    ).toEqual(["1 set admin", "2 start admin", "3 promote admin", "4 remove admin"]);
  });

  it("that is set again begins after all that were removed, also after a restart and while another is loaded", async () => {
    let kept = nothingKept;
    const shelf: AliasShelf = { read: async () => kept, write: async (all) => void (kept = all) };
    let load: Promise<void> | undefined;
    const { change, start, rollouts, events } = await world(shelf, () => load ?? Promise.resolve());
    const set = { do: "set", model: "ocr", version: "2" } as const;
    await start("canary", 0.1);
    await change(2, { do: "remove" });
    let loaded = (): void => undefined;
    load = new Promise((resolve) => (loaded = resolve));
    const slow = change(0, set);
    // Until it is being loaded.
    await nextTurn();
    load = undefined;
    expect(await change(0, set)).toMatchObject({ revision: 4 });
    await change(4, { do: "remove" });
    loaded();
    expect(await slow).toMatchObject({ revision: 6 });
    for (const revision of [1, 2, 4]) {
      await expect(change(revision, { do: "remove" })).rejects.toMatchObject({ reason: "conflict" });
    }
    await change(6, { do: "remove" });
    const told = events.flatMap((event) => (event.kind === "rollout-changed" ? [event.revision] : []));
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const parts = {
      clock: manualClock(),
      observer: { record: () => undefined },
      resolve: async () => ({ version: "2", digest: digestOf("2") }),
    };
    const again = await openRollouts({ ...parts, shelf });
    expect(await again.change("reader", { revision: 0, change: set }, "admin")).toMatchObject({
      revision: 8,
    });
    expect(rollouts.find("reader")).toBeUndefined();
  });

  it("is what it was after a restart, and is not changed where that cannot be kept", async () => {
    let kept = nothingKept;
    let full = false;
    const shelf: AliasShelf = {
      read: async () => kept,
      async write(all) {
        if (full) throw new LongshoreError("internal", "admission", "the disk is full");
        kept = all;
      },
    };
    const { start, rollouts } = await world(shelf);
    full = true;
    await expect(start("canary", 0.1)).rejects.toMatchObject({ reason: "internal" });
    expect(rollouts.find("reader")?.revision).toBe(1);
    full = false;
    await start("canary", 0.1);
    const parts = {
      clock: manualClock(),
      observer: { record: () => undefined },
      resolve: async () => ({ version: "1", digest: "" }),
    };
    expect((await openRollouts({ ...parts, shelf })).find("reader")).toEqual(rollouts.find("reader"));
  });

  it("is not changed for a candidate that was withdrawn while the change was being saved", async () => {
    let slow = false;
    let written = (): void => undefined;
    let kept: readonly Alias[] = [];
    const shelf: AliasShelf = {
      read: () => Promise.resolve(nothingKept),
      async write({ aliases }) {
        if (slow) await new Promise<void>((resolve) => (written = resolve));
        kept = aliases;
      },
    };
    const { rollouts, ask, change, start, second } = await world(shelf);
    await start("canary", 0.5);
    slow = true;
    const promoting = change(2, { do: "promote" });
    const refused = expect(promoting).rejects.toMatchObject({ reason: "conflict" });
    // Until it is being written.
    await new Promise((resolve) => setImmediate(resolve));
    second.fails = true;
    for (let count = 0; count < 200 && rollouts.find("reader")?.trial; count++) await ask();
    slow = false;
    written();
    await refused;
    expect(rollouts.find("reader")).toMatchObject({ revision: 3, stable: { version: "1" } });
    await new Promise((resolve) => setImmediate(resolve));
    expect(kept).toMatchObject([{ revision: 3, stable: { version: "1" } }]);
  });

  it("gives a client that holds a part of a version that very version, and nothing else under its name", async () => {
    const { start, ask } = await world();
    await start("canary", 0.5);
    const segment = {
      model: "reader",
      version: "",
      digest: digestOf("2"),
      variant: "default",
      from: "start",
      to: "end",
    };
    for (let count = 0; count < 8; count++) expect((await ask({ segment })).version).toBe("2");
    await expect(ask({ segment: { ...segment, digest: digestOf("7") } })).rejects.toMatchObject({
      reason: "unknown-version",
    });
    await expect(ask({ segment: { ...segment, digest: "", version: "3" } })).rejects.toMatchObject({
      reason: "unknown-version",
    });
  });
});

/** Loads versions: none is loaded before `loaded` is called. */
function loading() {
  const asked: string[] = [];
  let loaded = (): void => undefined;
  let fail = (_thrown: unknown): void => undefined;
  return {
    asked,
    prepare: (model: string, { version }: Target) => {
      asked.push(`${model} ${version}`);
      return new Promise<void>((resolve, reject) => {
        loaded = resolve;
        fail = reject;
      });
    },
    loaded: () => loaded(),
    fail: () => fail(new LongshoreError("invalid-model", "resolve", "it cannot be read")),
  };
}

describe("a candidate that has to be loaded", () => {
  it("gets no request before it is, and is no candidate where it cannot be", async () => {
    const loads = loading();
    const { rollouts, start, change, ask } = await world(undefined, (model, target) =>
      target.version === "1" ? Promise.resolve() : loads.prepare(model, target),
    );
    const starting = start("canary", 1);
    await nextTurn();
    expect(loads.asked).toEqual(["ocr 2"]);
    expect(await ask()).toMatchObject({ version: "1" });
    // Others need not wait for it.
    await rollouts.change(
      "other",
      { revision: 0, change: { do: "set", model: "ocr", version: "1" } },
      "admin",
    );
    loads.fail();
    await expect(starting).rejects.toMatchObject({ reason: "invalid-model" });
    expect(rollouts.find("reader")).toMatchObject({ revision: 1 });
    const again = start("canary", 1);
    await nextTurn();
    loads.loaded();
    await again;
    expect(await ask()).toMatchObject({ version: "2" });
    // It is loaded already.
    await change(2, { do: "promote" });
    expect(loads.asked).toEqual(["ocr 2", "ocr 2"]);
  });

  it("yields to another writer that changed the alias meanwhile", async () => {
    const loads = loading();
    const { rollouts, start, change } = await world(undefined, (model, target) =>
      target.version === "1" ? Promise.resolve() : loads.prepare(model, target),
    );
    const starting = start("canary", 1);
    await nextTurn();
    await change(1, { do: "set", model: "ocr", version: "1" });
    loads.loaded();
    await expect(starting).rejects.toMatchObject({ reason: "conflict" });
    expect(rollouts.find("reader")?.trial).toBeUndefined();
  });

  it("is not queried meanwhile where the operator or the restart file puts it on trial, and is tried if it cannot be queried", async () => {
    const trial = {
      candidate: { version: "2", digest: digestOf("2") },
      mode: "canary",
      by: "request",
    } as const;
    const stable = { version: "1", digest: digestOf("1") };
    const alias = (name: string, revision: number): Alias => ({
      schemaVersion: 1,
      name,
      revision,
      model: "ocr",
      stable,
      trial: { ...trial, weightRatio: 1, limits },
      because: "kept",
    });
    const loads = loading();
    let kept: readonly Alias[] = [];
    const shelf: AliasShelf = {
      read: async () => ({ ...nothingKept, aliases: [alias("kept", 4)] }),
      write: async ({ aliases }) => void (kept = aliases),
    };
    const { rollouts, ask, events } = await world(shelf, (model, target) =>
      target.version === "1" ? Promise.resolve() : loads.prepare(model, target),
    );
    const segment = { version: "", digest: "", variant: "default", from: "start", to: "end" };
    const asked = async (model: string) => (await ask({ segment: { ...segment, model } })).version;
    expect(await asked("kept")).toBe("1");
    // The whole record is written.
    expect(kept.find(({ name }) => name === "kept")?.trial).toBeDefined();
    loads.loaded();
    await nextTurn();
    expect(await asked("kept")).toBe("2");
    rollouts.follow([alias("reader", 7)]);
    expect(await asked("reader")).toBe("1");
    loads.fail();
    await nextTurn();
    expect(await asked("reader")).toBe("2");
    expect(events.flatMap((event) => (event.kind === "failure" ? [event.message] : []))).toEqual([
      "it cannot be read",
    ]);
  });
});

describe("a candidate", () => {
  it("gets its share, and the same tenant, user or sequence always the same side", async () => {
    const { start, ask, rollouts } = await world();
    await start("ab", 0.3, "user");
    const sides = new Map<string, string>();
    for (let round = 0; round < 2; round++) {
      for (let user = 0; user < 100; user++) {
        const { version } = await ask({}, { user: `u${user}` });
        expect(sides.get(`u${user}`) ?? version).toBe(version);
        sides.set(`u${user}`, version);
      }
    }
    const share = [...sides.values()].filter((version) => version === "2").length;
    expect(share).toBeGreaterThan(15);
    expect(share).toBeLessThan(45);
    const sequence = { id: "7", step: 0, end: false, wantState: false };
    const first = await ask({ sequence });
    for (let step = 1; step < 6; step++)
      expect((await ask({ sequence: { ...sequence, step } })).version).toBe(first.version);
    expect(rollouts.find("reader")?.revision).toBe(2);
  });

  it("gets no sequence that has begun with another version, and keeps those of its own", async () => {
    const { start, ask, change } = await world();
    const at = (id: string, step: number, end = false) =>
      ask({ sequence: { id, step, end, wantState: false } }).then(({ version }) => version);
    expect(await at("old", 0)).toBe("1");
    await start("canary", 1);
    expect([await at("old", 1), await at("new", 0)]).toEqual(["1", "2"]);
    await change(2, { do: "abort" });
    await change(3, { do: "set", model: "ocr", version: "1" });
    expect([await at("old", 2, true), await at("new", 1), await at("new", nextStep)]).toEqual([
      "1",
      "2",
      "2",
    ]);
    // A new trial begins with the alias as it is now.
    expect([await at("new", 0), await at("old", 0)]).toEqual(["1", "1"]);
  });

  it("keeps its callers when its share grows", () => {
    const alias = (weightRatio: number): Alias => ({
      schemaVersion: 1,
      name: "reader",
      revision: 1,
      model: "ocr",
      stable: { version: "1", digest: "a" },
      trial: { candidate: { version: "2", digest: "b" }, mode: "canary", weightRatio, by: "tenant", limits },
      because: "",
    });
    for (let tenant = 0; tenant < 300; tenant++) {
      const call = { ...housekeepingCall("x"), tenant: `t${tenant}` };
      if (sideOf(alias(0.1), call, undefined) === "candidate")
        expect(sideOf(alias(0.2), call, undefined)).toBe("candidate");
      expect(sideOf(alias(0), call, undefined)).toBe("stable");
      expect(sideOf(alias(1), call, undefined)).toBe("candidate");
    }
  });

  it("that fails is covered by the stable version and rolled back", async () => {
    const { start, ask, second, rollouts, events } = await world();
    await start("canary", 0.2);
    second.fails = true;
    for (let count = 0; count < 300; count++) expect((await ask()).version).toBe("1");
    expect(rollouts.find("reader")).toMatchObject({ revision: 3, stable: { version: "1" } });
    expect(rollouts.find("reader")?.trial).toBeUndefined();
    expect(rollouts.find("reader")?.because).toMatch(
      /rolled back: \d+ of \d+ requests failed, of the stable version 0 of/,
    );
    expect(
      events.filter((event) => event.kind === "rollout-changed" && event.change === "rolled back"),
    ).toHaveLength(1);
  });

  it("whose streams fail is covered before their first answer, and rolled back", async () => {
    const { start, rollouts, inner, clock } = await world();
    await start("canary", 0.3);
    let answersFirst = 0;
    const inferStream = async function* (request: InferenceRequest, call: Call) {
      const response = await inner.infer(request, call);
      for (let answer = 0; answer < answersFirst; answer++) yield response;
      if (request.segment.version === "2") throw new LongshoreError("run-failed", "execute", "broken");
      yield response;
    };
    const endpoint = rolloutEndpoint(
      { ...inner, capabilities: { ...inner.capabilities, inferStream } },
      { rollouts, clock, draw: () => 0 },
    );
    const segment = {
      model: "reader",
      version: "",
      digest: "",
      variant: "default",
      from: "start",
      to: "end",
    };
    const ask = async (count: number): Promise<readonly string[]> => {
      const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
      const answers: string[] = [];
      const asked = endpoint.capabilities.inferStream?.(
        { segment, inputs, codecs: {} },
        housekeepingCall(`call-${count}`),
      );
      for await (const { account } of asked ?? []) answers.push(account.segment.version);
      return answers;
    };
    for (let count = 0; count < 12; count++) expect(await clock.finish(ask(count))).toEqual(["1"]);
    // A sequence that has begun cannot be covered.
    answersFirst = 1;
    const ends = new Set<string>();
    for (let count = 12; rollouts.find("reader")?.trial && count < 400; count++) {
      const end = ask(count).then(
        (all) => all.join(),
        () => "failed",
      );
      ends.add(await clock.finish(end));
    }
    expect(ends).toEqual(new Set(["1,1", "failed"]));
    expect(rollouts.find("reader")?.because).toMatch(/rolled back: \d+ of \d+ requests failed/);
  });

  it("that is slower than allowed is rolled back, and one that is not is kept", async () => {
    const slow = await world();
    await slow.start("canary", 0.5);
    slow.second.tookMs = 17;
    for (let count = 0; count < 300; count++) await slow.ask();
    expect(slow.rollouts.find("reader")?.because).toMatch(
      /rolled back: (\d+) of \1 answers took more than 1\.5 times as long as the stable version's usually do, 10/,
    );
    const well = await world();
    await well.start("canary", 0.5);
    well.second.tookMs = 14;
    for (let count = 0; count < 500; count++) await well.ask();
    expect(well.rollouts.find("reader")?.trial).toBeDefined();
  });

  it("that callers wait for in vain is rolled back, and one that they wait for no longer than they may is kept", async () => {
    const hungUp = new LongshoreError("cancelled", "transport", "the caller has gone");
    const tried = async (tookMs: number, patienceMs: number) => {
      const { start, second, clock, ask, rollouts } = await world();
      await start("canary", 0.5);
      second.tookMs = tookMs;
      for (let count = 0; count < 200; count++) {
        const control = new AbortController();
        using _patience = clock.timer(patienceMs, () => control.abort(hungUp));
        await ask({}, { abort: control.signal }).catch((thrown: unknown) => expect(thrown).toBe(hungUp));
      }
      return rollouts;
    };
    expect((await tried(1000, 100)).find("reader")?.because).toMatch(
      /rolled back: (\d+) of \1 answers took more than 1\.5 times as long as the stable version's/,
    );
    const [kept] = (await tried(14, 12)).list();
    expect(kept?.figures?.candidate.requests).toBe(0);
  });

  it("is compared by what was answered, and not by what its callers alone did not wait for", () => {
    const watch = trialWatch({
      candidate: { version: "2", digest: "b" },
      mode: "ab",
      weightRatio: 0.5,
      by: "request",
      limits,
    });
    for (let count = 0; count < 50; count++) {
      watch.ended("stable", 10, "answered");
      watch.ended("stable", 100, "given up");
      watch.ended("candidate", 10, "answered");
      watch.ended("candidate", 100, "given up");
    }
    const { stable, candidate } = watch.figures();
    expect(candidate).toEqual(stable);
  });

  it("that is slow only while it is loaded and cold, or by less than a millisecond, is kept", () => {
    const trial: Trial = {
      candidate: { version: "2", digest: "b" },
      mode: "shadow",
      weightRatio: 1,
      by: "request",
      limits,
    };
    for (const coldMs of [1200, 1.2]) {
      const watch = trialWatch(trial);
      for (let count = 0; count < 300; count++) {
        expect(watch.ended("stable", 0.5, "answered")).toBeUndefined();
        const tookMs = count < limits.minSamples ? coldMs : 1.2;
        expect(watch.ended("candidate", tookMs, "answered")).toBeUndefined();
      }
    }
  });
});

describe("a shadow", () => {
  it("answers nobody, under the rules of the caller, and is rolled back when its answers differ", async () => {
    const { start, ask, second, asked, rollouts, clock } = await world();
    await start("shadow", 1);
    const rules = { dataClass: "secret", leastTrust: "vouched", zones: ["eu"] } as const;
    for (let count = 0; count < 40; count++) {
      expect(await ask({}, { rules })).toEqual({ version: "1", y: 3 });
      await clock.advance(20);
    }
    const [report] = rollouts.list();
    expect(report?.figures).toMatchObject({ compared: 40, agreed: 40 });
    for (const { call } of asked) expect(call.rules).toEqual(rules);
    second.factor = 1.2;
    for (let count = 0; count < 60; count++) {
      expect(await ask()).toEqual({ version: "1", y: 3 });
      await clock.advance(20);
    }
    expect(rollouts.find("reader")?.because).toMatch(/answers differ from the stable version's/);
  });

  it("ignores class texts whose figures differ in the last decimal place only", async () => {
    const { start, ask, second, rollouts, clock } = await world();
    await start("shadow", 1);
    second.factor = 1.2;
    for (let count = 0; count < 40; count++) {
      await ask({ classes: new Map([["y", 1]]) });
      await clock.advance(20);
    }
    expect(rollouts.list()[0]?.figures).toMatchObject({ compared: 0 });
    expect(rollouts.list()[0]?.figures?.candidate.requests).toBeGreaterThan(0);
  });

  it("has as long as its caller gave the stable version, and not what that left", async () => {
    const { start, ask, rollouts, clock } = await world();
    await start("shadow", 1);
    for (let count = 0; count < 60; count++) {
      expect(await ask({}, { deadlineMs: clock.nowMs() + 15 })).toEqual({ version: "1", y: 3 });
      await clock.advance(20);
    }
    expect(rollouts.list()[0]?.figures).toMatchObject({ candidate: { errors: 0 }, compared: 60, agreed: 60 });
  });

  it("is not given up before as many of its answers were seen as that takes, each counted once", async () => {
    const { start, ask, second, rollouts, clock } = await world();
    await start("shadow", 1);
    second.factor = 1.2;
    for (let count = 0; count < 19; count++) {
      await ask();
      await clock.advance(20);
    }
    expect(rollouts.list()[0]?.figures).toMatchObject({ compared: 19, agreed: 0 });
    await ask();
    await clock.advance(20);
    expect(rollouts.find("reader")?.because).toMatch(/^rolled back: 19 of 19 answers differ/);
  });
});

describe("an alarm that is looked at after every observation", () => {
  const raisedRatio = (badRatio: number, allowed: number, length: number): number => {
    const random = seededRandom(11);
    let raised = 0;
    for (let run = 0; run < 400; run++) {
      const one = alarm(0.05);
      for (let at = 0; at < length && !one.raised; at++) one.seen(random.next() < badRatio, allowed);
      if (one.raised) raised++;
    }
    return raised / 400;
  };

  it("is rarely raised while the limit holds, however often one looks", () => {
    expect(raisedRatio(0.1, 0.1, 3000)).toBeLessThan(0.05);
    expect(raisedRatio(0.01, 0.01, 3000)).toBeLessThan(0.05);
  });

  it("is raised soon when it does not", () => {
    expect(raisedRatio(0.3, 0.1, 200)).toBeGreaterThan(0.95);
  });
});

describe("aliases of the operator", () => {
  const operators = (revision: number, version: string, candidate?: string): Alias => ({
    schemaVersion: 1,
    name: "reader",
    revision,
    model: "ocr",
    stable: { version, digest: digestOf(version) },
    ...(candidate === undefined
      ? {}
      : {
          trial: {
            candidate: { version: candidate, digest: digestOf(candidate) },
            mode: "canary" as const,
            weightRatio: 0.5,
            by: "request" as const,
            limits,
          },
        }),
    because: "signed",
  });

  it("come before those of the endpoint, are changed by nobody else, and are not kept here", async () => {
    const written: (readonly Alias[])[] = [];
    const shelf: AliasShelf = {
      read: () => Promise.resolve(nothingKept),
      write({ aliases }) {
        written.push(aliases);
        return Promise.resolve();
      },
    };
    const { rollouts, ask, change } = await world(shelf);
    rollouts.follow([operators(5, "2")]);
    expect(await ask()).toMatchObject({ version: "2" });
    await expect(change(5, { do: "set", model: "ocr", version: "1" })).rejects.toMatchObject({
      reason: "not-permitted",
    });
    await rollouts.change(
      "other",
      { revision: 0, change: { do: "set", model: "ocr", version: "1" } },
      "admin",
    );
    expect(written.at(-1)?.map(({ name }) => name)).toEqual(["other"]);
    rollouts.follow([]);
    expect(rollouts.find("reader")).toBeUndefined();
    expect(rollouts.find("other")).toBeDefined();
  });

  it("leave no revision that the endpoint could give out again, nor one that existed before them", async () => {
    let kept = nothingKept;
    const shelf: AliasShelf = { read: async () => kept, write: async (all) => void (kept = all) };
    const { rollouts, change } = await world(shelf);
    const set = { do: "set", model: "ocr", version: "1" } as const;
    for (let revision = 1; revision < 5; revision++) await change(revision, set);
    rollouts.follow([operators(2, "2")]);
    rollouts.follow([]);
    expect(await change(0, set)).toMatchObject({ revision: 7 });
    rollouts.follow([operators(9, "2")]);
    rollouts.follow([]);
    expect(await change(0, set)).toMatchObject({ revision: 11 });
    rollouts.follow([operators(20, "2")]);
    rollouts.follow([]);
    await nextTurn();
    expect(kept).toEqual({ aliases: [], removedRevision: 21 });
  });

  it("hold although the endpoint was writing one of the same name down when they came", async () => {
    let slow = false;
    let written = (): void => undefined;
    const shelf: AliasShelf = {
      read: () => Promise.resolve(nothingKept),
      write: () => (slow ? new Promise((resolve) => (written = resolve)) : Promise.resolve()),
    };
    const { rollouts, change } = await world(shelf);
    slow = true;
    const changing = change(1, { do: "set", model: "ocr", version: "1" });
    const refused = expect(changing).rejects.toMatchObject({ reason: "not-permitted" });
    // Until it is being written.
    await new Promise((resolve) => setImmediate(resolve));
    rollouts.follow([operators(5, "2")]);
    written();
    await refused;
    expect(rollouts.find("reader")).toMatchObject({ revision: 5, stable: { version: "2" } });
  });

  it("whose candidate was given up stay so until a newer word", async () => {
    const { rollouts, ask, second } = await world();
    rollouts.follow([operators(1, "1", "2")]);
    second.fails = true;
    for (let count = 0; count < 200 && rollouts.find("reader")?.trial; count++) await ask();
    expect(rollouts.find("reader")).toMatchObject({
      because: expect.stringContaining("rolled back") as string,
    });
    rollouts.follow([operators(1, "1", "2")]);
    expect(rollouts.find("reader")?.trial).toBeUndefined();
    // The directory was away for so long that nothing of it held, or its bucket was made again.
    rollouts.follow([]);
    rollouts.follow([operators(1, "1", "2")]);
    expect(rollouts.find("reader")).toMatchObject({ stable: { version: "1" } });
    expect(rollouts.find("reader")?.trial).toBeUndefined();
    rollouts.follow([operators(2, "1", "2")]);
    expect(rollouts.find("reader")?.trial).toBeDefined();
  });
});
