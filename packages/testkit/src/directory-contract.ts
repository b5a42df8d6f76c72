import { afterEach, describe, expect, it, vi } from "vitest";
import type {
  DirectoryEntry,
  DirectoryMemory,
  DirectoryRecord,
  Json,
  KeptDirectory,
  KeyRing,
  LongshoreEvent,
  Observer,
  Signed,
  Statement,
} from "@longshore/core";
import { entryJson, type Signer, sign } from "@longshore/core/internal";

/** A directory over a real source, with what a test does to the source. */
export interface DirectoryUnderTest {
  readonly directory: KeptDirectory;
  put(record: DirectoryRecord): Promise<unknown>;
  drop(id: string): Promise<unknown>;
  /** Takes the source away, and gives it back as it is then. */
  fail(): Promise<unknown>;
  mend(): Promise<unknown>;
  /** Lets time pass where the clock stands still. */
  pass?(): Promise<unknown>;
  /** Closes what the test does not: the directory is closed by it. */
  close?(): Promise<unknown>;
}

/** The options that a directory under test is opened with. */
export interface DirectoryTestRules {
  readonly ring: KeyRing;
  readonly observer: Observer;
  readonly memory?: DirectoryMemory;
  /** The source is away from the beginning. */
  readonly away?: boolean;
}

/** An operator for tests, and one with other keys. */
export interface TestOperators {
  readonly operator: Signer;
  readonly stranger: Signer;
  readonly ring: KeyRing;
}

/** An entry that holds, but for what a test changes. */
export function testEntry(change: Partial<DirectoryEntry> & Pick<DirectoryEntry, "id">): DirectoryEntry {
  return {
    schemaVersion: 1,
    serial: 1,
    notBeforeMs: 0,
    notAfterMs: 253_402_300_799_999,
    tier: "edge",
    zone: "eu/de",
    trust: "operated",
    address: "http://127.0.0.1:1",
    ...change,
  };
}

/** A memory that a test can look into. */
export function testMemory(): DirectoryMemory & { readonly state: () => Json | undefined } {
  let kept: Json | undefined;
  return {
    state: () => kept,
    load: () => Promise.resolve(kept),
    save(state) {
      kept = JSON.parse(JSON.stringify(state)) as Json;
      return Promise.resolve();
    },
  };
}

/** The contract of every directory, for any source (`core/fleet/directory/directory.ts`). */
export function directoryContract(
  name: string,
  { operator, stranger, ring }: TestOperators,
  make: (rules: DirectoryTestRules) => Promise<DirectoryUnderTest>,
  /** Sources that know nothing but entries carry no statements. */
  carries: { readonly statements: boolean } = { statements: true },
): void {
  describe(`directory contract: ${name}`, () => {
    const open: DirectoryUnderTest[] = [];
    afterEach(async () => {
      for (const one of open.splice(0)) {
        await one.directory[Symbol.asyncDispose]();
        await one.close?.();
      }
    });

    async function opened(memory?: DirectoryMemory): Promise<{
      readonly under: DirectoryUnderTest;
      readonly events: LongshoreEvent[];
      readonly until: (check: () => void) => Promise<void>;
    }> {
      const events: LongshoreEvent[] = [];
      const observer: Observer = { record: (event) => events.push(event) };
      const under = await make({ ring, observer, ...(memory ? { memory } : {}) });
      open.push(under);
      const until = (check: () => void): Promise<void> =>
        vi.waitFor(
          async () => {
            await under.pass?.();
            check();
          },
          { timeout: 60_000, interval: 5 },
        );
      return { under, events, until };
    }

    const signed = async (entry: DirectoryEntry, by: Signer = operator): Promise<Signed<DirectoryEntry>> => ({
      ...(await sign("directory entry", entryJson(entry), by)),
      body: entry,
    });
    async function record(
      change: Partial<DirectoryEntry> & Pick<DirectoryEntry, "id">,
      statement?: Statement,
    ): Promise<DirectoryRecord> {
      return { signed: await signed(testEntry(change)), ...(statement ? { statement } : {}) };
    }
    const ids = ({ directory }: DirectoryUnderTest): readonly string[] =>
      directory
        .snapshot()
        .entries.map(({ id }) => id)
        .sort();
    const changes = (events: readonly LongshoreEvent[], change: string): readonly string[] =>
      events.flatMap((event) =>
        event.kind === "directory-changed" && event.change === change ? [event.endpoint] : [],
      );

    it("lists endpoints with all that their operator says of them", async () => {
      const { under, until } = await opened();
      await under.put(
        await record({
          id: "store-7",
          kind: "oip",
          serves: [{ segment: { model: "ocr", version: "2" }, as: "ocr_tail" }],
          accelerator: { kind: "cuda", name: "L4", count: 2, memoryBytes: 24e9 },
          rates: { microsPerSecond: 12, microsPerMegabyte: 3, activeWatts: 72 },
        }),
      );
      await until(() => expect(ids(under)).toEqual(["store-7"]));
      const [info] = under.directory.snapshot().entries;
      expect(info).toMatchObject({
        tier: "edge",
        zone: "eu/de",
        trust: "operated",
        address: "http://127.0.0.1:1",
        kind: "oip",
        offers: false,
        serves: [{ segment: { model: "ocr", version: "2" }, as: "ocr_tail" }],
        accelerator: { kind: "cuda", name: "L4", count: 2, memoryBytes: 24e9 },
        rates: { microsPerSecond: 12, microsPerMegabyte: 3, activeWatts: 72 },
      });
      expect(under.directory.snapshot().problem).toBeUndefined();
    });

    it("tells watchers of endpoints that come, change and go, and keeps unchanged ones the same", async () => {
      const { under, events, until } = await opened();
      await under.put(await record({ id: "a" }));
      await until(() => expect(ids(under)).toEqual(["a"]));
      const [before] = under.directory.snapshot().entries;
      let told = 0;
      using _watch = under.directory.watch(() => told++);
      await under.put(await record({ id: "b" }));
      await until(() => expect(ids(under)).toEqual(["a", "b"]));
      expect(told).toBeGreaterThan(0);
      expect(under.directory.snapshot().entries.find(({ id }) => id === "a")).toBe(before);
      await under.put(await record({ id: "a", serial: 2, zone: "eu/fr" }));
      await until(() =>
        expect(under.directory.snapshot().entries.find(({ id }) => id === "a")?.zone).toBe("eu/fr"),
      );
      await under.drop("b");
      await until(() => expect(ids(under)).toEqual(["a"]));
      expect(changes(events, "added")).toEqual(["a", "b"]);
      expect(changes(events, "changed")).toEqual(["a"]);
      expect(changes(events, "removed")).toEqual(["b"]);
    });

    it("believes no entry that the operator did not sign, or that was changed afterwards", async () => {
      const { under, until } = await opened();
      const good = await signed(testEntry({ id: "good" }));
      await under.put({ signed: { body: testEntry({ id: "unsigned" }) } }).catch(() => undefined);
      await under
        .put({ signed: await signed(testEntry({ id: "foreign" }), stranger) })
        .catch(() => undefined);
      await under.put({ signed: { ...good, body: { ...good.body, id: "renamed" } } }).catch(() => undefined);
      await under
        .put({ signed: { ...good, body: { ...good.body, id: "wider", zone: "eu" } } })
        .catch(() => undefined);
      await under.put({ signed: good });
      await until(() => expect(ids(under)).toEqual(["good"]));
    });

    it("accepts no entry older than one that was seen, also when the endpoint was gone meanwhile", async () => {
      const { under, until } = await opened();
      const old = await record({ id: "a", serial: 4, zone: "eu/de/old" });
      await under.put(old);
      await until(() => expect(ids(under)).toEqual(["a"]));
      await under.put(await record({ id: "a", serial: 5, zone: "eu/de/new" }));
      await until(() => expect(under.directory.snapshot().entries[0]?.zone).toBe("eu/de/new"));
      await under.put(old).catch(() => undefined);
      await under.put(await record({ id: "b" }));
      await until(() => expect(ids(under)).toContain("b"));
      expect(under.directory.snapshot().entries.find(({ id }) => id === "a")?.zone ?? "eu/de/new").toBe(
        "eu/de/new",
      );
      await under.drop("a");
      await until(() => expect(ids(under)).toEqual(["b"]));
      await under.put(old).catch(() => undefined);
      await under.put(await record({ id: "c" }));
      await until(() => expect(ids(under)).toEqual(["b", "c"]));
    });

    it("lists no endpoint outside of its entry's time", async () => {
      const { under, until } = await opened();
      await under.put(await record({ id: "over", notAfterMs: 1000 })).catch(() => undefined);
      await under
        .put(await record({ id: "to-come", notBeforeMs: 253_402_300_000_000 }))
        .catch(() => undefined);
      await under.put(await record({ id: "now" }));
      await until(() => expect(ids(under)).toEqual(["now"]));
    });

    if (carries.statements) {
      it("lets an endpoint narrow its operator's entry, and never widen it", async () => {
        const { under, until } = await opened();
        const serves = [{ segment: { model: "ocr" } }, { segment: { model: "vad", version: "1" } }];
        await under.put(
          await record(
            { id: "narrow", serves },
            {
              address: "http://127.0.0.1:99",
              zone: "eu/de/store-7",
              trust: "listed",
              state: "none",
              serves: [{ segment: { model: "ocr", version: "3" } }, { segment: { model: "chat" } }],
            },
          ),
        );
        await under.put(await record({ id: "wide", trust: "listed" }, { trust: "vouched" }));
        await under.put(await record({ id: "abroad" }, { zone: "us/east" })).catch(() => undefined);
        await under.put(await record({ id: "here" }, { zone: "device" })).catch(() => undefined);
        await until(() => expect(ids(under)).toEqual(["narrow", "wide"]));
        const [narrow, wide] = [...under.directory.snapshot().entries].sort((a, b) => (a.id < b.id ? -1 : 1));
        expect(narrow).toMatchObject({
          address: "http://127.0.0.1:1",
          zone: "eu/de/store-7",
          trust: "listed",
          state: "none",
          serves: [{ segment: { model: "ocr", version: "3" } }],
        });
        expect(wide).toMatchObject({ zone: "eu/de", trust: "listed" });
      });
    }

    it("goes on with its knowledge when the source is away, says so, and catches up with later changes", async () => {
      const { under, events, until } = await opened();
      await under.put(await record({ id: "a" }));
      await under.put(await record({ id: "b" }));
      await until(() => expect(ids(under)).toEqual(["a", "b"]));
      await under.fail();
      await until(() => expect(under.directory.snapshot().problem).toBeDefined());
      expect(ids(under)).toEqual(["a", "b"]);
      const { ageMs } = under.directory.snapshot();
      await until(() => expect(under.directory.snapshot().ageMs).toBeGreaterThan(ageMs));
      events.splice(0);
      await under.mend();
      await under.drop("a");
      await under.put(await record({ id: "b" }));
      await under.put(await record({ id: "c" }));
      await until(() => expect(ids(under)).toEqual(["b", "c"]));
      await until(() => expect(under.directory.snapshot().problem).toBeUndefined());
      expect(changes(events, "added")).toEqual(["c"]);
      expect(changes(events, "removed")).toEqual(["a"]);
      const words = events.flatMap((event) => (event.kind === "directory-state" ? [event.state] : []));
      expect(words).toContain("in touch");
    });

    it("begins with the kept state when the source is away at the start", async () => {
      const memory = testMemory();
      const first = await opened(memory);
      await first.under.put(await record({ id: "a", serial: 7 }));
      await first.until(() => expect(ids(first.under)).toEqual(["a"]));
      await first.under.directory[Symbol.asyncDispose]();
      expect(memory.state()).toMatchObject({ schemaVersion: 1, serials: { a: 7 } });
      const again = await make({ ring, observer: { record: () => undefined }, memory, away: true });
      open.push(again);
      await again.directory.ready;
      await vi.waitFor(async () => {
        await again.pass?.();
        expect(again.directory.snapshot().problem).toBeDefined();
      }, 60_000);
      expect(ids(again)).toEqual(["a"]);
    });
  });
}
