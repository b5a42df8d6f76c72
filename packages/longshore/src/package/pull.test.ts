import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LongshoreError, seededRandom } from "@longshore/core";
import { manifestDigest, type PackageManifest, untilAborted } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import { createEngine } from "@longshore/engine";
import { sha256 } from "@longshore/nodejs";
import { memoryEngineParts, memoryStore } from "@longshore/testkit";
import { openPull, type Pull } from "./pull.ts";

let into: string;
beforeEach(() => void (into = mkdtempSync(join(tmpdir(), "longshore-pull-"))));
afterEach(() => rmSync(into, { recursive: true }));

it("simultaneous checks are one, and the next is made no sooner than a second after it", async () => {
  const clock = virtualClock();
  let asked = 0;
  const pull = openPull(
    {
      from: "nowhere",
      into,
      asNeeded: true,
      source: {
        name: "nowhere",
        manifest: () => (asked++, Promise.reject(new LongshoreError("unknown-model", "resolve", "not yet"))),
        file: () => Promise.reject(new Error("nothing was listed")),
      },
    },
    { clock, random: seededRandom(1), report: () => undefined, changed: () => undefined },
  );
  const engine = createEngine(memoryEngineParts({ clock, models: {}, store: memoryStore({}) }));
  await pull.want([{ model: "toy" }], engine);
  expect(asked).toBe(1);
  await Promise.all([pull.look(), pull.look(), pull.look()]);
  expect(asked).toBe(2);
  await clock.advance(999);
  await pull.look();
  expect(asked).toBe(2);
  await clock.advance(1);
  await pull.look();
  expect(asked).toBe(3);
  await pull.close();
  await engine.close();
});

describe("a package that is to replace another one", () => {
  /** A package of the model `toy`. */
  async function packageOf(text: string) {
    const content = new TextEncoder().encode(text);
    const file = { path: "1/model.onnx", bytes: content.byteLength, digest: await sha256(content) };
    const manifest: PackageManifest = { schemaVersion: 1, model: "toy", files: [file] };
    return { content, file, manifest, digest: await manifestDigest(manifest, sha256) };
  }

  /** A server that has the first of two packages; each test decides how the second fails. */
  async function scene(maxBytes = 1000) {
    const clock = virtualClock();
    const [old, next] = [await packageOf("old"), await packageOf("next")];
    const both = [old, next];
    const state = { away: false, hangs: false, load: (): Promise<void> => Promise.resolve() };
    const unloaded: string[] = [];
    const pull: Pull = openPull(
      {
        from: "nowhere",
        into,
        maxBytes,
        source: {
          name: "nowhere",
          async manifest(wanted) {
            if (state.away) throw new LongshoreError("unreachable", "transport", "made up");
            const found = both.find(({ digest }) => "digest" in wanted && digest === wanted.digest);
            return new TextEncoder().encode(JSON.stringify({ body: found?.manifest }));
          },
          async file(_package, digest, fromByte, call) {
            const found = both.find(({ file }) => file.digest === digest)!;
            return {
              fromByte,
              async *read() {
                if (state.hangs) await untilAborted(new Promise(() => undefined), call.abort, "transport");
                yield found.content.subarray(fromByte);
              },
            };
          },
        },
      },
      { clock, random: seededRandom(1), report: () => undefined, changed: () => undefined },
    );
    // The engine is only told which models to load, and which not any more.
    const engine = {
      load: () => state.load(),
      unload: async (model: string) => void unloaded.push(model),
    };
    const want = ({ digest }: typeof old): Promise<void> => pull.want([{ digest }], engine);
    await want(old);
    expect(pull.store.packages.get("toy")?.digest).toBe(old.digest);
    return { clock, pull, state, unloaded, want, old, next };
  }

  it("is loaded while that one is offered on", async () => {
    const { pull, state, unloaded, want, next } = await scene();
    const during: (readonly string[])[] = [];
    state.load = async () => void during.push([...pull.pending]);
    await want(next);
    expect(during).toEqual([[]]);
    expect([unloaded, pull.store.packages.get("toy")?.digest]).toEqual([[], next.digest]);
    await pull.close();
  });

  it.each(["had", "loaded"])("leaves that one there where it cannot be %s, and until it is", async (what) => {
    const { clock, pull, state, unloaded, want, old, next } = await scene();
    if (what === "had") state.away = true;
    else state.load = () => Promise.reject(new LongshoreError("invalid-model", "resolve", "made up"));
    await want(next);
    expect([unloaded, pull.store.packages.get("toy")?.digest]).toEqual([[], old.digest]);
    state.away = false;
    state.load = () => Promise.resolve();
    const here = pull.have([{ digest: next.digest }]);
    await clock.advance(30_000);
    await here;
    expect([unloaded, pull.store.packages.get("toy")?.digest]).toEqual([[], next.digest]);
    await pull.close();
  });

  it("is not waited for where another is wanted by then, and that one stays until all is clear", async () => {
    const { pull, state, unloaded, want, old, next } = await scene();
    state.hangs = true;
    const first = want(next);
    await vi.waitFor(() => expect(readdirSync(join(into, "parts"))).toHaveLength(1));
    await Promise.all([first, want(old)]);
    expect([unloaded, pull.store.packages.get("toy")?.digest]).toEqual([[], old.digest]);
    await pull.close();
  });

  it("has a file fetched again that is not as it was when it is read", async () => {
    const { pull, old } = await scene();
    const path = join(into, "blobs", old.file.digest.slice("sha256:".length));
    const read = (): Promise<Uint8Array | undefined> => pull.store.read("toy/1/model.onnx");
    for (const spoil of [() => writeFileSync(path, "odd"), () => rmSync(path)]) {
      spoil();
      expect(await read()).toEqual(old.content);
    }
    await pull.close();
    rmSync(path);
    await expect(read()).rejects.toThrow("shutting down");
  });

  it("uses that one's room if there is none for both", async () => {
    const { clock, pull, unloaded, want, next } = await scene(5);
    await want(next);
    expect(unloaded).toEqual(["toy"]);
    const here = pull.have([{ digest: next.digest }]);
    await clock.advance(30_000);
    await here;
    await pull.close();
  });
});
