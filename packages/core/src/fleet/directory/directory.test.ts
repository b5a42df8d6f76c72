import { directoryContract, manualClock, memoryTransport, testEntry, testMemory } from "@longshore/testkit";
import { newOperatorKey, operatorRing, operatorSigner } from "@longshore/nodejs";
import { describe, expect, it, vi } from "vitest";
import {
  type Json,
  LongshoreError,
  type LongshoreEvent,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import type { Handler } from "../../wire/transport/index.ts";
import { sign, type Signed } from "../signed/index.ts";
import { createDirectory } from "./directory.ts";
import { type DirectoryRecord, type DirectoryEntry, entryFrom, entryJson, recordFrom } from "./entry.ts";
import { joinDirectory, type Registration } from "./join.ts";
import { memorySource } from "./memory-source.ts";
import { narrowed } from "./narrow.ts";
import { createRegistry, type Registry, type RegistryParts } from "./registry.ts";
import { remoteSource } from "./remote-source.ts";
import type { RecordSource } from "./source.ts";

const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const ring = operatorRing(key.publicLine);
const stranger = operatorSigner(newOperatorKey().privatePem);
const codecs = ["raw"];
const farMs = 253_402_300_799_999;

async function signed(
  change: Partial<DirectoryEntry> & Pick<DirectoryEntry, "id">,
): Promise<Signed<DirectoryEntry>> {
  const body = testEntry(change);
  return { ...(await sign("directory entry", entryJson(body), operator)), body };
}

/** The HTTP side of a registry, without a server, as `server/api` serves it. */
function deskHandler(desk: Registry, tenant = "acme"): Handler {
  return async (request) => {
    const reply = (status: number, value: unknown) => ({
      status,
      headers: {},
      body: { kind: "parts" as const, parts: [new TextEncoder().encode(JSON.stringify(value))] },
    });
    const chunks: Uint8Array[] = [];
    if (request.body.kind === "stream") for await (const chunk of request.body.read()) chunks.push(chunk);
    const body = chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString()) as unknown);
    try {
      if (request.path.endsWith("/join")) return reply(200, await desk.join(body, tenant));
      if (request.path.endsWith("/leave")) return reply(200, desk.leave(body, tenant) ?? {});
      return reply(200, desk.list(new URLSearchParams(request.path.split("?")[1]).get("since") ?? undefined));
    } catch (thrown) {
      const { reason, message } = thrown as LongshoreError;
      return reply(403, { reason, error: message });
    }
  };
}

function registryWith(change: Partial<RegistryParts> = {}): {
  clock: ReturnType<typeof manualClock>;
  registry: Registry;
} {
  const clock = manualClock();
  return { clock, registry: createRegistry({ clock, instance: "i1", codecs, ring, graceMs: 0, ...change }) };
}

directoryContract("embedded, read over the protocol", { operator, stranger, ring }, async (rules) => {
  const clock = manualClock(1000);
  const desk = createRegistry({ clock, instance: "i1", codecs, ring, leaseMs: 86_400_000, graceMs: 0 });
  let away = rules.away === true;
  const handler: Handler = async (...given) => {
    if (away) throw new Error("the directory server of the directory is away");
    return deskHandler(desk)(...given);
  };
  const transport = memoryTransport(handler, { clock });
  return {
    directory: createDirectory({
      ...rules,
      source: remoteSource({ transport, clock, random: seededRandom(1), name: "http://directory" }),
      clock,
      codecs,
    }),
    put: ({ signed, statement }) =>
      desk.join({ schemaVersion: 1, id: signed.body.id, signed, statement: statement ?? {} }, "acme"),
    drop: async (id) => desk.leave({ id }, "acme"),
    fail: async () => void (away = true),
    mend: async () => void (away = false),
    pass: () => clock.advance(3000),
    close: async () => desk[Symbol.dispose](),
  };
});

it("a directory is settling until it was read, and until the grace time of its registry is over", async () => {
  const { clock, registry } = registryWith({ graceMs: 5000, leaseMs: 60_000 });
  const transport = memoryTransport(deskHandler(registry), { clock });
  const readers = [
    registry,
    remoteSource({ transport, clock, random: seededRandom(1), name: "http://directory" }),
  ].map((source) => createDirectory({ source, clock, observer: silentObserver, codecs, ring }));
  const settling = (): unknown[] => readers.map((one) => one.snapshot().settling);
  expect(settling()).toEqual([true, true]);
  await clock.advance(4000);
  const statement = { address: "http://h:1" };
  await registry.join({ schemaVersion: 1, id: "a", signed: await signed({ id: "a" }), statement }, "acme");
  let told = 0;
  await clock.advance(500);
  for (const one of readers) one.watch(() => void told++);
  expect([settling(), registry.list(undefined).settling]).toEqual([[true, true], true]);
  await clock.advance(8000);
  expect(registry.list(undefined).settling).toBe(undefined);
  // The signature of the member is checked outside the clock.
  await expect.poll(settling, { timeout: 10_000 }).toEqual([undefined, undefined]);
  expect(told).toBeGreaterThanOrEqual(2);
  for (const one of readers) await one[Symbol.asyncDispose]();
  registry[Symbol.dispose]();
});

it("a registry that expects no members is settling only from its first member on", async () => {
  const { clock, registry } = registryWith({ graceMs: 5000, leaseMs: 60_000, expectsMembers: false });
  await using directory = createDirectory({
    source: registry,
    clock,
    observer: silentObserver,
    codecs,
    ring,
  });
  await clock.advance(1000);
  expect(directory.snapshot().settling).toBe(undefined);
  const statement = { address: "http://h:1" };
  await registry.join({ schemaVersion: 1, id: "a", signed: await signed({ id: "a" }), statement }, "acme");
  expect(directory.snapshot().settling).toBe(true);
  await clock.advance(4500);
  // The signature of the member is checked outside the clock.
  await expect.poll(() => directory.snapshot().settling, { timeout: 10_000 }).toBe(undefined);
  registry[Symbol.dispose]();
});

it("an empty directory is read again soon, and less often the longer it stays empty", async () => {
  const clock = manualClock();
  const askedMs: number[] = [];
  const desk = createRegistry({ clock, instance: "i1", codecs, ring, graceMs: 0 });
  const handler: Handler = (...given) => {
    askedMs.push(clock.nowMs());
    return deskHandler(desk)(...given);
  };
  const transport = memoryTransport(handler, { clock });
  await using directory = createDirectory({
    source: remoteSource({ transport, clock, random: { next: () => 1 }, name: "http://directory" }),
    clock,
    observer: { record: () => undefined },
    codecs,
  });
  await directory.ready;
  await clock.advance(8000);
  expect(askedMs).toEqual([0, 200, 600, 1400, 3000, 5000, 7000]);
  desk[Symbol.dispose]();
});

describe("entries", () => {
  it("are refused with unknown fields, at every depth: a field that is not understood must not have been signed over", () => {
    const entry = testEntry({ id: "a" });
    expect(entryFrom(entry, "entry")).toEqual(entry);
    for (const kind of ["oip", "longshore"] as const) {
      const plain = { ...entry, kind, grpcAddress: "http://host:8001" } as const;
      expect(narrowed(entryFrom(plain, "entry"), undefined, "listed", [])).toMatchObject({
        grpcAddress: "http://host:8001",
      });
    }
    // One that this version does not know may be of a later one: it is refused where it is dialled.
    expect(
      narrowed(entryFrom({ ...entry, kind: "later" }, "entry"), undefined, "listed", ["raw"]),
    ).toMatchObject({
      kind: "later",
      codecs: [],
      state: "resident",
      offers: false,
    });
    for (const wrong of [
      { ...entry, kind: "" },
      { ...entry, kind: "Triton 2" },
      { ...entry, colour: "red" },
      { ...entry, rates: { microsPerSecond: 1, microsPerMegabyte: 1, activeWatts: 1, discount: 1 } },
      { ...entry, serves: [{ segment: { model: "m", region: "eu" } }] },
      { ...entry, schemaVersion: 2 },
      { ...entry, serial: 0 },
      { ...entry, notAfterMs: 0 },
      { ...entry, zone: "device" },
      { ...entry, zone: "eu//de" },
      { ...entry, zone: "../eu" },
      { ...entry, id: "a/b" },
      { ...entry, id: "a,b" },
      { ...entry, address: "file:///etc/passwd" },
      { ...entry, address: "http://user:word@host" },
      { ...entry, packages: ["sha256:short"] },
      { ...entry, kind: "oip", grpcAddress: "http://host:8001/v2" },
      { ...entry, kind: "oip", address: "https://host", grpcAddress: "http://host:8001" },
    ]) {
      expect(() => entryFrom(wrong, "entry")).toThrow(
        expect.objectContaining({ reason: "invalid-input" }) as Error,
      );
    }
    expect(() => recordFrom({ signed: { body: entry }, more: 1 }, "record")).toThrow(/unknown field 'more'/);
  });
});

describe("a directory in time", () => {
  const opened = async (change: object = {}) => {
    const clock = manualClock();
    const events: LongshoreEvent[] = [];
    const source = memorySource("memory");
    const observer = { record: (event: LongshoreEvent) => void events.push(event) };
    // Real signatures are checked off the event loop, which this clock does not wait for.
    const trusting = { keys: ring.keys, verify: () => Promise.resolve(true) };
    const directory = createDirectory({ source, clock, observer, codecs, ring: trusting, ...change });
    await directory.ready;
    return { clock, events, source, directory };
  };
  const away = new LongshoreError("unreachable", "transport", "the source is away");

  it("lets entries begin and end by themselves", async () => {
    const { clock, events, source, directory } = await opened();
    const startMs = clock.wallMs();
    source.put({
      signed: await signed({ id: "a", notBeforeMs: startMs + 10_000, notAfterMs: startMs + 30_000 }),
    });
    await clock.advance(5000);
    source.confirm();
    expect(directory.snapshot().entries).toHaveLength(0);
    await clock.advance(6000);
    expect(directory.snapshot().entries).toHaveLength(1);
    expect(directory.snapshot().refused).toBeUndefined();
    await clock.advance(20_000);
    expect(directory.snapshot().entries).toHaveLength(0);
    const over = `its time was over at ${new Date(startMs + 30_000).toISOString()}`;
    expect(directory.snapshot().refused).toEqual({ count: 1, because: `a: ${over}` });
    // An entry that expired before it came is never reported again.
    source.put({ signed: await signed({ id: "b", notAfterMs: startMs + 30_000 }) });
    await clock.advance(120_000);
    expect(directory.snapshot().refused?.count).toBe(2);
    const told = events.filter((event) => event.kind === "directory-changed" && event.change === "refused");
    expect(told).toEqual([expect.objectContaining({ endpoint: "b", because: over })]);
    source.put({ signed: await signed({ id: "a", serial: 2 }) });
    source.put({ signed: await signed({ id: "b", serial: 2 }) });
    await clock.advance(10);
    expect(directory.snapshot().refused).toBeUndefined();
    await directory[Symbol.asyncDispose]();
    expect(clock.armed()).toBe(0);
  });

  it("shows the changes of one read of its source together, up to a bound, and all of them before the source is away", async () => {
    const source = memorySource("memory");
    const clock = manualClock();
    await using directory = createDirectory({ source, clock, observer: { record: () => undefined }, codecs });
    await directory.ready;
    const shown: number[] = [];
    using _ = directory.watch(() => void shown.push(directory.snapshot().entries.length));
    for (let index = 0; index < 1000; index++)
      source.put({ signed: { body: testEntry({ id: `p${index}`, trust: "listed" }) } });
    source.fail(new LongshoreError("unreachable", "transport", "away"));
    await expect.poll(() => directory.snapshot().problem).toBe("away");
    expect(shown).toEqual([256, 512, 768, 1000]);
    for (let index = 0; index < 999; index++) source.drop(`p${index}`);
    source.put({ signed: { body: testEntry({ id: "last", trust: "listed" }) } });
    await expect.poll(() => directory.snapshot().entries.map(({ id }) => id)).toEqual(["p999", "last"]);
    expect(shown).toHaveLength(8);
  });

  it("lets go of entries that end where the wall clock jumps ahead, and takes them back where it is set right", async () => {
    const own = manualClock();
    let aheadMs = 0;
    const { source, directory } = await opened({ clock: { ...own, wallMs: () => own.wallMs() + aheadMs } });
    const startMs = own.wallMs();
    const day = 86_400_000;
    source.put({ signed: await signed({ id: "a", notBeforeMs: startMs - day, notAfterMs: startMs + day }) });
    source.put({
      signed: await signed({ id: "b", notBeforeMs: startMs - day, notAfterMs: startMs + 9 * day }),
    });
    await own.advance(10);
    const ids = (): readonly string[] => directory.snapshot().entries.map(({ id }) => id);
    expect(ids()).toEqual(["a", "b"]);
    aheadMs = 3 * day;
    await own.advance(60_000);
    expect(ids()).toEqual(["b"]);
    aheadMs = -3 * day;
    await own.advance(60_000);
    expect(ids()).toEqual([]);
    aheadMs = 0;
    await own.advance(60_000);
    expect(ids()).toEqual(["a", "b"]);
    // The clock that measures how long the source is away does not jump.
    expect(directory.snapshot().ageMs).toBeLessThan(200_000);
    await directory[Symbol.asyncDispose]();
  });

  it("serves the last known state for as long as it may without its source, and then nothing", async () => {
    const { clock, events, source, directory } = await opened({ maxAgeMs: 3_600_000 });
    source.put({ signed: await signed({ id: "a" }) });
    await clock.advance(10);
    source.fail(away);
    await clock.advance(3_500_000);
    expect(directory.snapshot()).toMatchObject({ entries: [{ id: "a" }], problem: "the source is away" });
    expect(directory.snapshot().ageMs).toBeGreaterThanOrEqual(3_500_000);
    await clock.advance(200_000);
    expect(directory.snapshot().entries).toEqual([]);
    source.confirm();
    await clock.advance(10);
    expect(directory.snapshot().entries).toHaveLength(1);
    const states = events.flatMap((event) => (event.kind === "directory-state" ? [event.state] : []));
    expect(states).toEqual(["out of touch", "too old", "in touch"]);
    const back = events.filter((event) => event.kind === "directory-changed").at(-1);
    expect(back).toMatchObject({ change: "added", endpoint: "a", behindMs: 3_700_010 });
    await directory[Symbol.asyncDispose]();
  });

  it("is as old after a restart as its source was away, and accepts no older entry then either", async () => {
    const memory = testMemory();
    const first = await opened({ memory });
    first.source.put({ signed: await signed({ id: "a", serial: 9, zone: "eu/new" }) });
    await first.clock.advance(100);
    first.source.drop("a");
    first.source.put({ signed: await signed({ id: "b" }) });
    await first.clock.advance(100);
    await first.directory[Symbol.asyncDispose]();
    const clock = manualClock(7_200_000);
    const source = memorySource("memory");
    const silent = { ...source, follow: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }) };
    const observer = { record: () => undefined };
    const restarted = createDirectory({ source: silent, clock, observer, codecs, ring, memory });
    await restarted.ready;
    expect(restarted.snapshot().entries.map(({ id }) => id)).toEqual(["b"]);
    expect(restarted.snapshot().ageMs).toBeGreaterThan(7_100_000);
    await restarted[Symbol.asyncDispose]();
    const again = createDirectory({ source, clock, observer, codecs, ring, memory });
    await again.ready;
    source.put({ signed: await signed({ id: "a", serial: 8, zone: "eu/old" }) });
    await clock.advance(100);
    expect(again.snapshot().entries.map(({ id }) => id)).not.toContain("a");
    await again[Symbol.asyncDispose]();
  });

  it.each([
    ["read, which it does not replace then", { schemaVersion: 2, serials: { a: 7 } }, "schemaVersion"],
    ["written", undefined, "ENOSPC"],
  ])("goes on when its memory cannot be %s, and says so", async (_, kept, why) => {
    let saves = 0;
    const memory = {
      load: () => Promise.resolve(kept),
      save() {
        saves++;
        return Promise.reject(new LongshoreError("invalid-configuration", "resolve", "ENOSPC"));
      },
    };
    const { clock, events, source, directory } = await opened({ memory });
    source.put({ signed: await signed({ id: "a" }) });
    await clock.advance(2000);
    expect(directory.snapshot().entries).toHaveLength(1);
    const words = events.flatMap((event) =>
      event.kind === "directory-state" && event.state === "not kept" ? [event.because] : [],
    );
    expect(words).toEqual([expect.stringContaining(why)]);
    await directory[Symbol.asyncDispose]();
    expect(saves > 0).toBe(kept === undefined);
  });

  it("keeps the earlier record when its successor is not believed, reports it once, and keeps no more than its limit", async () => {
    const { clock, events, source, directory } = await opened({ maxRecords: 2 });
    source.put({ signed: await signed({ id: "a" }) });
    const bad = { signed: { body: testEntry({ id: "a", serial: 2, zone: "us" }) } };
    source.put(bad);
    source.put(bad);
    source.put({ signed: await signed({ id: "b" }) });
    source.put({ signed: await signed({ id: "c" }) });
    await clock.advance(10);
    expect(directory.snapshot().entries.map(({ id, zone }) => [id, zone])).toEqual([
      ["a", "eu/de"],
      ["b", "eu/de"],
    ]);
    const refused = events.flatMap((event) =>
      event.kind === "directory-changed" && event.change === "refused" ? [event.because] : [],
    );
    expect(refused).toEqual([expect.stringContaining("not signed"), expect.stringContaining("2 endpoints")]);
    const latest = (id: string) => ({ because: expect.stringContaining(`${id}: `) as string });
    expect(directory.snapshot().refused).toEqual({ count: 2, ...latest("c") });
    source.drop("c");
    await clock.advance(10);
    expect(directory.snapshot().refused).toEqual({ count: 1, ...latest("a") });
    source.put({ signed: await signed({ id: "a", serial: 3 }) });
    await clock.advance(10);
    expect(directory.snapshot().refused).toBeUndefined();
    await directory[Symbol.asyncDispose]();
  });

  it("accepts no older entry of an endpoint whose newer one it cannot use", async () => {
    const { clock, source, directory } = await opened();
    const statement = { zone: "eu/de" };
    const [first, second] = [await signed({ id: "a" }), await signed({ id: "a", serial: 2, zone: "us" })];
    for (const [now, entries] of [
      [first, 1],
      [second, 0],
      [first, 0],
    ] as const) {
      source.put({ signed: now, statement });
      await clock.advance(10);
      expect(directory.snapshot().entries).toHaveLength(entries);
    }
    await directory[Symbol.asyncDispose]();
  });

  it("believes unsigned entries as listed at most where there are no keys", async () => {
    const { clock, source, directory } = await opened({ ring: undefined });
    source.put({ signed: { body: testEntry({ id: "a", trust: "vouched" }) } });
    await clock.advance(10);
    expect(directory.snapshot().entries[0]?.trust).toBe("listed");
    await directory[Symbol.asyncDispose]();
  });
});

describe("a registry", () => {
  const request = (id: string, more: object = {}) => ({
    schemaVersion: 1,
    id,
    statement: { address: "http://127.0.0.1:9" },
    ...more,
  });

  it("admits endpoints with the operator's entry, and others only within its own operator's limits", async () => {
    const { registry } = registryWith({ admits: { zone: "eu/de", trust: "listed" } });
    await registry.join(request("a", { signed: await signed({ id: "a", trust: "operated" }) }), "acme");
    await registry.join(
      request("b", { tier: "cloud", statement: { address: "http://h:1", zone: "eu/de/x" } }),
      "acme",
    );
    const wide = request("c", { statement: { address: "http://h:1", zone: "eu" } });
    await expect(registry.join(wide, "acme")).rejects.toMatchObject({
      reason: "not-permitted",
      message: "c says that it processes in eu, which is not inside eu/de, where it is listed",
    });
    const forged = { ...(await signed({ id: "d" })), body: testEntry({ id: "d", trust: "vouched" }) };
    await expect(registry.join(request("d", { signed: forged }), "acme")).rejects.toMatchObject({
      reason: "not-permitted",
    });
    const unsigned = request("e", { signed: { body: testEntry({ id: "e" }) } });
    await expect(registry.join(unsigned, "acme")).rejects.toMatchObject({ reason: "not-permitted" });
    await expect(registry.join({ id: "f" }, "acme")).rejects.toMatchObject({ reason: "invalid-input" });
    const strict = registryWith().registry;
    await expect(strict.join(request("g"), "acme")).rejects.toMatchObject({ reason: "not-permitted" });
    expect(
      registry.list(undefined).records.map((record) => {
        const { body } = (record as DirectoryRecord).signed;
        return [body.id, body.tier, body.trust];
      }),
    ).toEqual([
      ["a", "edge", "operated"],
      ["b", "cloud", "listed"],
    ]);
    registry[Symbol.dispose]();
  });

  it("uses the later of an endpoint's entry and its operator's, also for one without a known address", async () => {
    const source = memorySource("list");
    const memory = testMemory();
    const clock = manualClock(1000);
    const open = (from: RecordSource) =>
      createDirectory({ source: from, clock, codecs, ring, memory, observer: silentObserver });
    const listed = open(source);
    const { address: _its, ...body } = testEntry({ id: "a", serial: 2, trust: "listed" });
    source.put({ signed: { ...(await sign("directory entry", entryJson(body), operator)), body } });
    await vi.waitFor(() => expect(listed.wordOn("a")?.body).toEqual(body));
    expect(listed.snapshot().entries).toEqual([]);
    // Of two that the operator gave one serial the first counts, as for endpoints that are listed.
    const other = { ...body, trust: "operated" as const };
    source.put({ signed: { ...(await sign("directory entry", entryJson(other), operator)), body: other } });
    await vi.waitFor(() => expect(listed.snapshot().refused?.because).toContain("same serial 2"));
    expect(listed.wordOn("a")?.body).toEqual(body);
    const { registry } = registryWith({ known: (id) => listed.wordOn(id) });
    const trust = () =>
      registry.list(undefined).records.map((one) => (one as DirectoryRecord).signed.body.trust);
    await registry.join(request("a"), "acme");
    expect(trust()).toEqual(["listed"]);
    await registry.join(
      request("a", { signed: await signed({ id: "a", serial: 1, trust: "operated" }) }),
      "acme",
    );
    expect(trust()).toEqual(["listed"]);
    await registry.join(
      request("a", { signed: await signed({ id: "a", serial: 3, trust: "operated" }) }),
      "acme",
    );
    expect(trust()).toEqual(["operated"]);
    // After a restart without its source, and for no longer than it is to be.
    await listed[Symbol.asyncDispose]();
    const again = open({ name: "away", follow: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }) });
    await again.ready;
    expect(again.wordOn("a")?.body).toEqual(body);
    await clock.advance(86_400_001);
    expect(again.wordOn("a")).toBeUndefined();
    await again[Symbol.asyncDispose]();
    registry[Symbol.dispose]();
  });

  it("awaits an endpoint whose entry does not say where it is, which is nothing wrong, and says so once", async () => {
    const source = memorySource("list");
    const changes: unknown[] = [];
    const record = (event: LongshoreEvent): void => {
      if (event.kind === "directory-changed") changes.push([event.change, event.serial, event.because]);
    };
    await using directory = createDirectory({
      source,
      clock: manualClock(1000),
      codecs,
      ring,
      observer: { record },
    });
    const { address: _its, ...body } = testEntry({ id: "a", serial: 2 });
    const entry = { signed: { ...(await sign("directory entry", entryJson(body), operator)), body } };
    for (let times = 0; times < 2; times++) source.put(entry);
    source.put({ ...entry, statement: { address: "http://h:1" } });
    await vi.waitFor(() => expect(directory.snapshot().entries).toHaveLength(1));
    source.put(entry);
    await vi.waitFor(() => expect(directory.snapshot().entries).toHaveLength(0));
    expect(directory.snapshot().refused).toBeUndefined();
    expect(changes).toEqual([
      ["awaited", 2, "the address of a is unknown"],
      ["added", 2, "its entry holds"],
      ["awaited", 2, "the address of a is unknown"],
      ["removed", 2, "it is not listed any more"],
    ]);
  });

  it("lists an endpoint no longer that comes back outside of its zone, and lets no other cause that", async () => {
    const { registry } = registryWith({ admits: { zone: "eu", trust: "listed" } });
    const dropped: string[] = [];
    const nothing = (): void => undefined;
    const drop = (id: string): void => void dropped.push(id);
    registry.follow({
      all: nothing,
      put: nothing,
      drop,
      confirmed: nothing,
      settling: nothing,
      failed: nothing,
    });
    const inside = request("a", { statement: { address: "http://h:1", zone: "eu/de" } });
    const outside = request("a", { statement: { address: "http://h:1", zone: "us" } });
    await registry.join(inside, "acme");
    await expect(registry.join(outside, "other")).rejects.toMatchObject({ reason: "not-permitted" });
    expect(registry.list(undefined).records).toHaveLength(1);
    await expect(registry.join(outside, "acme")).rejects.toMatchObject({ reason: "not-permitted" });
    expect([registry.list(undefined).records, dropped]).toEqual([[], ["a"]]);
    await registry.join(inside, "acme");
    expect(registry.list(undefined).records).toHaveLength(1);
    registry[Symbol.dispose]();
  });

  it("lets no tenant take over or remove another's endpoint, nor one that the entry gives to another", async () => {
    const { registry } = registryWith({ admits: { zone: "eu", trust: "listed" } });
    await registry.join(request("a"), "acme");
    await expect(registry.join(request("a"), "other")).rejects.toMatchObject({ reason: "not-permitted" });
    expect(() => registry.leave({ id: "a" }, "other")).toThrow(/another tenant/);
    const owned = request("b", { signed: await signed({ id: "b", member: "acme" }) });
    await expect(registry.join(owned, "other")).rejects.toMatchObject({ reason: "not-permitted" });
    await registry.join(owned, "acme");
    registry.leave({ id: "a" }, "acme");
    expect(registry.list(undefined).records).toHaveLength(1);
    registry[Symbol.dispose]();
  });

  it("forgets members that are silent for a lease, and gives readers only the changes", async () => {
    const { clock, registry } = registryWith({ admits: { zone: "eu", trust: "listed" }, leaseMs: 1000 });
    await registry.join(request("a"), "acme");
    await registry.join(request("b"), "acme");
    const first = registry.list(undefined);
    expect([first.full, first.records.length]).toEqual([true, 2]);
    await clock.advance(900);
    await registry.join(request("b"), "acme");
    expect(registry.list(first.at)).toMatchObject({ full: false, records: [], gone: [] });
    await clock.advance(900);
    expect(registry.list(first.at)).toMatchObject({ full: false, records: [], gone: ["a"] });
    expect(registry.list("another:1").full).toBe(true);
    expect(registry.list("i1:999").full).toBe(true);
    expect(registry.list("i1:-1").full).toBe(true);
    registry[Symbol.dispose]();
    expect(clock.armed()).toBe(0);
  });

  it("gives members that were silent while its process stood still the time to come back", async () => {
    const clock = manualClock();
    let stoodUntilMs = 0;
    const nowMs = (): number => Math.max(stoodUntilMs, clock.nowMs());
    const registry = createRegistry({
      clock: {
        ...clock,
        nowMs,
        timer: (delayMs, fire) => clock.timer(nowMs() - clock.nowMs() + delayMs, fire),
      },
      instance: "i1",
      codecs,
      admits: { zone: "eu", trust: "listed" },
      leaseMs: 1000,
      graceMs: 2000,
    });
    const here = () =>
      registry.list(undefined).records.map((record) => recordFrom(record, "it").signed.body.id);
    await registry.join(request("a"), "acme");
    await registry.join(request("b"), "acme");
    await clock.advance(300);
    // Events due while it stands still come all at once when it goes on.
    stoodUntilMs = 5300;
    await clock.advance(5000);
    expect(here()).toEqual(["a", "b"]);
    await clock.advance(1500);
    await registry.join(request("b"), "acme");
    await clock.advance(600);
    expect(here()).toEqual(["b"]);
    registry[Symbol.dispose]();
    expect(clock.armed()).toBe(0);
  });

  it("keeps all members whose leases lapse together, until another member renews its lease", async () => {
    const { clock, registry } = registryWith({ admits: { zone: "eu", trust: "listed" }, leaseMs: 1000 });
    const here = () =>
      registry.list(undefined).records.map((record) => recordFrom(record, "it").signed.body.id);
    const ids = ["a", "b", "c"];
    for (const id of ids) {
      await registry.join(request(id), "acme");
      await clock.advance(100);
    }
    // No member reaches the registry, which readers still do.
    for (let leases = 0; leases < 10; leases++) {
      await clock.advance(1000);
      expect(here()).toEqual(ids);
    }
    // Two are back, and renew as members do.
    for (let renewals = 0; renewals < 6; renewals++) {
      for (const id of ["a", "b"]) await registry.join(request(id), "acme");
      await clock.advance(300);
    }
    expect(here()).toEqual(["a", "b"]);
    registry.leave({ id: "a" }, "acme");
    expect(here()).toEqual(["b"]);
    registry[Symbol.dispose]();
    expect(clock.armed()).toBe(0);
  });

  it("keeps a member with an expired lease while it answers, unless another one has its address", async () => {
    const wells = new Set(["a", "b", "c", "d"]);
    const { clock, registry } = registryWith({
      admits: { zone: "eu", trust: "listed" },
      leaseMs: 1000,
      answers: ({ id }) => Promise.resolve(wells.has(id)),
    });
    const here = () =>
      registry.list(undefined).records.map((record) => recordFrom(record, "it").signed.body.id);
    const statement = { address: "http://h:7" };
    await registry.join(request("a", { statement }), "acme");
    await registry.join(request("b", { statement: { address: "http://h:8" } }), "acme");
    const renew = async (leases: number): Promise<void> => {
      for (let renewals = 0; renewals < 4 * leases; renewals++) {
        await clock.advance(250);
        await registry.join(request("c", { statement: { address: "http://h:9" } }), "acme");
      }
    };
    await renew(5);
    expect(here()).toEqual(["a", "b", "c"]);
    wells.delete("b");
    await renew(2);
    expect(here()).toEqual(["a", "c"]);
    await registry.join(request("d", { statement }), "acme");
    await renew(2);
    expect(here()).toEqual(["c", "d"]);
    registry[Symbol.dispose]();
    await clock.advance(5000);
    expect(clock.armed()).toBe(0);
  });

  it("gives members from before its restart the time of a lease to come back", async () => {
    const memory = testMemory();
    const open = (clock: ReturnType<typeof manualClock>, instance: string) => {
      const registry = createRegistry({
        clock,
        instance,
        codecs,
        admits: { zone: "eu", trust: "listed" },
        graceMs: 15_000,
        remembered: true,
      });
      const observer = { record: () => undefined };
      return {
        registry,
        directory: createDirectory({
          source: registry,
          clock,
          observer,
          codecs,
          unsignedTrust: "vouched",
          memory,
        }),
      };
    };
    const clock = manualClock();
    const before = open(clock, "i1");
    await before.registry.join(request("a"), "acme");
    await before.registry.join(request("b"), "acme");
    await clock.advance(2000);
    await before.directory[Symbol.asyncDispose]();
    before.registry[Symbol.dispose]();
    const after = open(clock, "i2");
    await after.directory.ready;
    await after.registry.join(request("b"), "acme");
    await clock.advance(10_000);
    const ids = () =>
      after.directory
        .snapshot()
        .entries.map(({ id }) => id)
        .sort();
    expect(ids()).toEqual(["a", "b"]);
    await after.registry.join(request("b"), "acme");
    await clock.advance(6000);
    expect(ids()).toEqual(["b"]);
    await after.directory[Symbol.asyncDispose]();
    after.registry[Symbol.dispose]();
  });

  it("says after a restart that it lists all members from before, unless its state is old", async () => {
    const memory = testMemory();
    const clock = manualClock();
    const open = (instance: string) => {
      const registry = createRegistry({
        clock,
        instance,
        codecs,
        admits: { zone: "eu", trust: "listed" },
        remembered: true,
      });
      const parts = { source: registry, clock, codecs, memory, observer: silentObserver };
      return { registry, directory: createDirectory({ ...parts, unsignedTrust: "vouched" }) };
    };
    const first = open("i1");
    expect(first.directory.snapshot().remembered).toBe(undefined);
    await first.registry.join(request("a"), "acme");
    await first.registry.join(request("b"), "acme");
    // Its process is killed here: nothing is disposed before the next one has read what it stored.
    await clock.advance(20);
    const second = open("i2");
    await second.directory.ready;
    await first.directory[Symbol.asyncDispose]();
    expect(second.directory.snapshot()).toMatchObject({
      settling: true,
      remembered: true,
      entries: [{ id: "a" }, { id: "b" }],
    });
    await clock.advance(31_000);
    expect(second.directory.snapshot()).not.toHaveProperty("remembered");
    await second.directory[Symbol.asyncDispose]();
    await clock.advance(200_000);
    const third = open("i3");
    await third.directory.ready;
    expect(third.directory.snapshot()).not.toHaveProperty("remembered");
    await third.directory[Symbol.asyncDispose]();
    for (const { registry } of [first, second, third]) registry[Symbol.dispose]();
  });

  it("comes back empty without readers taking that for news, and reports members that did not come back", async () => {
    const admits = { zone: "eu", trust: "listed" } as const;
    const clock = manualClock(1000);
    const start = (instance: string): Registry => createRegistry({ clock, instance, codecs, admits });
    let directoryServer: Registry | undefined = start("i1");
    const handler: Handler = async (...given) => {
      if (!directoryServer) throw new Error("away");
      return deskHandler(directoryServer)(...given);
    };
    const transport = memoryTransport(handler, { clock });
    const parts = { transport, clock, random: seededRandom(5), name: "http://directory" };
    const join = (id: string): Registration => {
      const statement = { address: "http://127.0.0.1:9" };
      return joinDirectory({
        ...parts,
        observer: { record: () => undefined },
        id,
        request: async () => ({ tier: "edge", statement }),
      });
    };
    const members = ["a", "b", "c"].map(join);
    await using directory = createDirectory({
      source: remoteSource(parts),
      clock,
      observer: { record: () => undefined },
      codecs,
    });
    const ids = (): readonly string[] =>
      directory
        .snapshot()
        .entries.map(({ id }) => id)
        .sort();
    await clock.advance(3000);
    expect(ids()).toEqual(["a", "b", "c"]);
    // After an hour those who try to join again have made their pauses as long as they get.
    directoryServer[Symbol.dispose]();
    directoryServer = undefined;
    await clock.advance(3_600_000);
    await members[0]![Symbol.asyncDispose]();
    expect(ids()).toEqual(["a", "b", "c"]);
    directoryServer = start("i2");
    for (let second = 0; second < 60; second++) {
      await clock.advance(1000);
      expect(ids()).toEqual(expect.arrayContaining(["b", "c"]));
    }
    expect(directory.snapshot().ageMs).toBeLessThan(3000);
    expect(ids()).toEqual(["b", "c"]);
    await members[1]![Symbol.asyncDispose]();
    await clock.advance(3000);
    expect(ids()).toEqual(["c"]);
    await members[2]![Symbol.asyncDispose]();
    directoryServer[Symbol.dispose]();
  });

  it("reports members that left while no other member counts as gone", async () => {
    const { clock, registry } = registryWith({ admits: { zone: "eu", trust: "listed" }, graceMs: 30_000 });
    await registry.join(request("a"), "acme");
    const first = registry.list(undefined);
    expect([first.full, first.records.length]).toEqual([false, 1]);
    registry.leave({ id: "a" }, "acme");
    expect(registry.list(first.at)).toMatchObject({ full: false, records: [], gone: ["a"] });
    await clock.advance(30_000);
    expect(registry.list(first.at)).toMatchObject({ full: true, records: [], gone: [] });
    registry[Symbol.dispose]();
  });
});

describe("joinDirectory", () => {
  it("joins, stays, comes back after the directory server was away, and leaves", async () => {
    const { clock, registry } = registryWith({ admits: { zone: "eu", trust: "listed" }, leaseMs: 3000 });
    let away = true;
    const handler: Handler = async (...given) => {
      if (away) throw new Error("away");
      return deskHandler(registry)(...given);
    };
    const events: LongshoreEvent[] = [];
    const replies: unknown[] = [];
    const membership = joinDirectory({
      transport: memoryTransport(handler, { clock }),
      clock,
      random: seededRandom(3),
      observer: { record: (event) => void events.push(event) },
      name: "http://directory",
      id: "a",
      request: async () => ({ tier: "edge", statement: { address: "http://127.0.0.1:9" } }),
      answered: (reply) => replies.push(reply),
    });
    const there = (): number => registry.list(undefined).records.length;
    await clock.advance(4000);
    expect(there()).toBe(0);
    away = false;
    await clock.advance(8000);
    expect(there()).toBe(1);
    for (let turn = 0; turn < 10; turn++) {
      await clock.advance(1000);
      expect(there()).toBe(1);
    }
    away = true;
    await clock.advance(4000);
    // It stays: the registry cannot be reached.
    expect(there()).toBe(1);
    away = false;
    await clock.advance(30_000);
    expect(there()).toBe(1);
    await membership[Symbol.asyncDispose]();
    expect(there()).toBe(0);
    const states = events.flatMap((event) => (event.kind === "directory-state" ? [event.state] : []));
    expect(states).toEqual(["out of touch", "in touch", "out of touch", "in touch"]);
    const earlier = { instance: "i1", members: 1 };
    expect(replies).toEqual([{ schemaVersion: 1, leaseMs: 3000, packages: [], earlier }]);
    registry[Symbol.dispose]();
    expect(clock.armed()).toBe(0);
  });

  describe("after a restart of the directory server", () => {
    const leaseMs = 15_000;
    const request = async () => ({ tier: "edge" as const, statement: { address: "http://127.0.0.1:9" } });

    /** Members of a directory server that can be restarted, with the notice that a connection was lost or without. */
    function fleet(ids: readonly string[], noticed = false) {
      const clock = manualClock(1000);
      const start = (instance: string): Registry =>
        createRegistry({ clock, instance, codecs, leaseMs, admits: { zone: "eu", trust: "listed" } });
      let server: Registry | undefined = start("i0");
      let restarts = 0;
      let joins = 0;
      const lost = new Set<() => void>();
      const handler: Handler = async (...given) => {
        if (!server) throw new Error("away");
        joins++;
        return deskHandler(server)(...given);
      };
      const watchLost = (own: () => void): Disposable => {
        lost.add(own);
        return { [Symbol.dispose]: () => void lost.delete(own) };
      };
      const transport = memoryTransport(handler, { clock });
      const join = (id: string, at: number): Registration =>
        joinDirectory({
          transport: noticed ? { ...transport, watchLost } : transport,
          clock,
          random: seededRandom(5 + at),
          observer: silentObserver,
          name: "http://directory",
          id,
          request,
        });
      const members = ids.map(join);
      return {
        clock,
        members,
        join,
        break: () => lost.forEach((own) => own()),
        kill() {
          server?.[Symbol.dispose]();
          server = undefined;
          for (const own of lost) own();
        },
        start: () => (server = start(`i${++restarts}`)),
        /** Whether the directory settles, and how many members it lists. */
        state: () => {
          const { settling, records } = server!.list(undefined);
          return { settling: settling === true, listed: records.length };
        },
        get joins() {
          return joins;
        },
        async close() {
          for (const one of members) await one[Symbol.asyncDispose]();
          server?.[Symbol.dispose]();
          expect(clock.armed()).toBe(0);
        },
      };
    }

    it("the grace time ends as soon as all earlier members are back, after a renewal's time", async () => {
      const own = fleet(["a", "b", "c"]);
      await own.clock.advance(40_000);
      expect(own.state()).toEqual({ settling: false, listed: 3 });
      own.kill();
      await own.clock.advance(100);
      own.start();
      await own.clock.advance(5900);
      expect(own.state()).toEqual({ settling: true, listed: 3 });
      await own.clock.advance(200);
      expect(own.state()).toEqual({ settling: false, listed: 3 });
      await own.close();
    });

    it("the grace time lasts a lease while a member is missing, also after a second restart", async () => {
      const own = fleet(["a", "b", "c"]);
      await own.clock.advance(40_000);
      own.kill();
      await own.members[2]![Symbol.asyncDispose]();
      own.start();
      await own.clock.advance(14_800);
      expect(own.state()).toEqual({ settling: true, listed: 2 });
      // It has settled nothing yet: who came back was told of the one that is missing.
      own.kill();
      own.start();
      await own.clock.advance(14_800);
      expect(own.state()).toEqual({ settling: true, listed: 2 });
      await own.clock.advance(400);
      expect(own.state()).toEqual({ settling: false, listed: 2 });
      await own.close();
    });

    it("the grace time of a directory server that none knows from before lasts a lease", async () => {
      const own = fleet(["a"]);
      await own.clock.advance(14_900);
      expect(own.state()).toEqual({ settling: true, listed: 1 });
      await own.clock.advance(200);
      expect(own.state()).toEqual({ settling: false, listed: 1 });
      await own.close();
    });

    it("members come back within a third of a lease however long it was away", async () => {
      const own = fleet(["a", "b", "c"]);
      await own.clock.advance(40_000);
      own.kill();
      await own.clock.advance(3_600_000);
      own.start();
      await own.clock.advance(leaseMs / 3);
      expect(own.state().listed).toBe(3);
      await own.close();
    });

    it("members whose connections it ended join again at once, and not all at the same moment", async () => {
      const own = fleet(["a", "b", "c", "d"], true);
      await own.clock.advance(40_000);
      own.kill();
      own.start();
      await own.clock.advance(30);
      expect(own.state().listed).toBeLessThan(4);
      await own.clock.advance(400);
      expect(own.state().listed).toBe(4);
      await own.close();
    });

    it("members come back within a second after it was away for some seconds", async () => {
      for (let awayMs = 1000; awayMs <= 5000; awayMs += 500) {
        const own = fleet(["a", "b", "c", "d"], true);
        await own.clock.advance(40_000);
        own.kill();
        await own.clock.advance(awayMs);
        own.start();
        await own.clock.advance(1000 + awayMs / 16);
        expect(own.state().listed).toBe(4);
        await own.close();
      }
    });

    it("a directory that ends connections and goes on is not joined at once each time", async () => {
      const own = fleet(["a"], true);
      await own.clock.advance(40_000);
      const before = own.joins;
      for (let second = 0; second < 30; second++) {
        own.break();
        await own.clock.advance(1000);
      }
      // Two leases: six renewals, and one more for each lease.
      expect(own.joins - before).toBeLessThan(12);
      await own.close();
    });
  });

  it("renews at least three times within each lease", async () => {
    const { clock, registry } = registryWith({ admits: { zone: "eu", trust: "listed" }, leaseMs: 9000 });
    let joins = 0;
    const handler: Handler = (...given) => {
      joins++;
      return deskHandler(registry)(...given);
    };
    const membership = joinDirectory({
      transport: memoryTransport(handler, { clock }),
      clock,
      random: seededRandom(3),
      observer: silentObserver,
      name: "http://directory",
      id: "a",
      request: async () => ({ tier: "edge", statement: { address: "http://127.0.0.1:9" } }),
    });
    await clock.advance(100);
    for (let lease = 0; lease < 5; lease++) {
      joins = 0;
      await clock.advance(9100);
      expect(joins).toBeGreaterThanOrEqual(3);
    }
    await membership[Symbol.asyncDispose]();
    registry[Symbol.dispose]();
  });
});

it.each([
  ["before it has heard that it joined", 0],
  ["after it gave up hearing that it joined", 5001],
])("an endpoint that closes %s is not there afterwards", async (_, waitedMs) => {
  const { clock, registry } = registryWith({ admits: { zone: "eu", trust: "listed" }, leaseMs: 60_000 });
  let tell = (): void => undefined;
  const mayTell = new Promise<void>((resolve) => (tell = resolve));
  const handler: Handler = async (request, ...rest) => {
    const reply = await deskHandler(registry)(request, ...rest);
    if (request.path.endsWith("/join")) await mayTell;
    return reply;
  };
  const membership = joinDirectory({
    transport: memoryTransport(handler, { clock }),
    clock,
    random: seededRandom(3),
    observer: { record: () => undefined },
    name: "http://directory",
    id: "a",
    request: async () => ({ tier: "edge", statement: { address: "http://127.0.0.1:9" } }),
  });
  const there = (): number => registry.list(undefined).records.length;
  await clock.advance(1);
  expect(there()).toBe(1);
  await clock.advance(waitedMs);
  const closing = membership[Symbol.asyncDispose]();
  tell();
  await closing;
  expect(there()).toBe(0);
  registry[Symbol.dispose]();
  expect(clock.armed()).toBe(0);
});

it("an entry's signature does not depend on the order of its fields, and does on everything else", async () => {
  const one = await signed({ id: "a" });
  const written = JSON.parse(JSON.stringify(one.body)) as Record<string, Json>;
  const turned = Object.fromEntries(Object.entries(written).reverse());
  const other = await sign("directory entry", turned, operator);
  expect(other.signature).toEqual(one.signature);
  const manifest = await sign("package manifest", entryJson(one.body), operator);
  expect(manifest.signature).not.toEqual(one.signature);
  expect(one.body.notAfterMs).toBe(farMs);
});
