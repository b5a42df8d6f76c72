import { manualClock, testEntry, testMemory } from "@longshore/testkit";
import { newOperatorKey, operatorRing, operatorSigner } from "@longshore/nodejs";
import { describe, expect, it } from "vitest";
import type { Json, LongshoreEvent } from "../../words/base/index.ts";
import { type KeyRing, sign, type Signed } from "../signed/index.ts";
import { createDirectory } from "./directory.ts";
import { entryJson } from "./entry.ts";
import type { DirectoryMemory, RecordSink } from "./source.ts";

const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const trusted = operatorRing(key.publicLine);
const checking = new Set<Promise<boolean>>();
const ring: KeyRing = {
  keys: trusted.keys,
  verify(...signed) {
    const one = trusted.verify(...signed).finally(() => checking.delete(one));
    checking.add(one);
    return one;
  },
};
const stranger = operatorSigner(newOperatorKey().privatePem);
const farMs = 253_402_300_799_999;

async function record(
  revision: number,
  change: Record<string, Json> = {},
  signer = operator,
): Promise<{ alias: Signed<Json> }> {
  const { notBeforeMs = 0, notAfterMs = farMs, ...alias } = change;
  const body = { schemaVersion: 1, notBeforeMs, notAfterMs, alias: { name: "reader", revision, ...alias } };
  const purpose = change["purpose"] === "entry" ? "directory entry" : "alias entry";
  return { alias: await sign(purpose, body, signer) };
}

function open(change: { readonly memory?: DirectoryMemory; readonly keys?: boolean } = {}) {
  const clock = manualClock(1000);
  const refused: string[] = [];
  let sink: RecordSink | undefined;
  let changes = 0;
  const directory = createDirectory({
    clock,
    codecs: ["raw"],
    observer: {
      record(event: LongshoreEvent) {
        if (event.kind === "directory-changed" && event.change === "refused") refused.push(event.because);
      },
    },
    source: {
      name: "test",
      follow(told) {
        sink = told;
        return { [Symbol.asyncDispose]: () => Promise.resolve() };
      },
    },
    ...(change.keys === false ? {} : { ring }),
    ...(change.memory ? { memory: change.memory } : {}),
  });
  directory.watch(() => changes++);
  const tell = async (act: (sink: RecordSink) => void): Promise<void> => {
    act(sink!);
    await clock.advance(1);
    // Signatures are checked off the event loop.
    while (checking.size > 0) {
      await Promise.all(checking);
      await clock.advance(1);
    }
  };
  const revisions = (): unknown[] =>
    directory.aliases().map((alias) => (alias as { revision: number }).revision);
  return { clock, directory, refused, tell, revisions, changes: () => changes };
}

describe("aliases that the operator signed", () => {
  it("are reported with the endpoints, change with newer revisions only, and go when they are not listed", async () => {
    const { directory, tell, revisions, refused, changes } = open();
    const first = await record(1, { because: "a" });
    const endpoint = {
      signed: await sign("directory entry", entryJson(testEntry({ id: "edge" })), operator),
    };
    await tell((sink) => sink.all([endpoint, first]));
    expect([revisions(), directory.snapshot().entries.map(({ id }) => id)]).toEqual([[1], ["edge"]]);
    expect(directory.wordOn("edge")).toEqual(endpoint.signed);
    const before = changes();
    await tell((sink) => sink.put(first));
    expect(changes()).toBe(before);
    const third = await record(3);
    await tell((sink) => sink.put(third));
    expect([revisions(), changes()]).toEqual([[3], before + 1]);
    for (const raw of [
      await record(2),
      await record(3, { because: "other" }),
      await record(4, {}, stranger),
      await record(4, { purpose: "entry" }),
    ]) {
      await tell((sink) => sink.put(raw));
    }
    expect(revisions()).toEqual([3]);
    expect(refused).toHaveLength(4);
    expect(refused.join()).toMatch(/older than 3.*same revision 3.*not one of the operator's.*not good/);
    await tell((sink) => sink.all([endpoint]));
    expect(revisions()).toEqual([]);
    // Content seen before cannot come back as it was.
    await tell((sink) => sink.put(first));
    expect(revisions()).toEqual([]);
    await directory[Symbol.asyncDispose]();
  });

  it("are not believed without keys of an operator, nor without a signature, nor outside of their time", async () => {
    const bare = open({ keys: false });
    const good = await record(1);
    await bare.tell((sink) => sink.all([good]));
    expect([bare.revisions(), bare.refused]).toEqual([
      [],
      [expect.stringContaining("no keys of the operator")],
    ]);
    const { tell, revisions, refused, clock } = open();
    const unsigned = { alias: { body: good.alias.body } };
    const late = await record(1, { notAfterMs: clock.wallMs() + 5000 });
    await tell((sink) => sink.all([unsigned]));
    expect(refused).toEqual([expect.stringContaining("not signed")]);
    await tell((sink) => sink.all([late]));
    expect(revisions()).toEqual([1]);
    await clock.advance(6000);
    expect(revisions()).toEqual([]);
  });

  it("outlive a restart with the last known state, and old ones stay refused", async () => {
    const memory = testMemory();
    const first = open({ memory });
    const second = await record(2);
    await first.tell((sink) => sink.all([second]));
    await first.directory[Symbol.asyncDispose]();
    const again = open({ memory });
    await again.tell(() => undefined);
    expect(again.revisions()).toEqual([2]);
    const old = await record(1);
    await again.tell((sink) => sink.put(old));
    expect(again.revisions()).toEqual([2]);
    await again.directory[Symbol.asyncDispose]();
  });
});
