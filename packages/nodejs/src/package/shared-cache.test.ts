import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualClock } from "@longshore/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "@longshore/core";
import { type FileBytes, housekeepingCall } from "@longshore/core/internal";
import { systemClock } from "../device/index.ts";
import { packageCache, type WantedFile } from "./cache.ts";

const call = housekeepingCall("test");
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-shared-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A file of as many bytes, all of them the same. */
function file(bytes: number, value: number): WantedFile & { open(fromByte: number): Promise<FileBytes> } {
  const content = new Uint8Array(bytes).fill(value);
  return {
    digest: `sha256:${createHash("sha256").update(content).digest("hex")}`,
    bytes,
    open: async (fromByte) => ({
      fromByte,
      async *read() {
        for (let at = fromByte; at < bytes; at += 100) yield content.subarray(at, Math.min(bytes, at + 100));
      },
    }),
  };
}
const first = file(600, 1);
const second = file(600, 2);

/** A cache over the folder, as in a process of its own. */
const opened = (clock: Clock = systemClock()) => packageCache(folder, { clock, maxBytes: 1000 });

/** As if no process had renewed its list for more than a minute. */
function minuteAgo(): void {
  for (const one of readdirSync(join(folder, "in-use"))) {
    const path = join(folder, "in-use", one);
    const seconds = statSync(path).mtimeMs / 1000 - 61;
    utimesSync(path, seconds, seconds);
  }
}

/** A script in a process of its own, which has the cache with its first file pinned. */
function pinning(script: string) {
  const entry = new URL("../../dist/index.js", import.meta.url).href;
  const path = join(folder, "script.mjs");
  writeFileSync(
    path,
    `import { packageCache, systemClock } from ${JSON.stringify(entry)};
    const cache = packageCache(${JSON.stringify(folder)}, { clock: systemClock(), maxBytes: 1000 });
    cache.pin([${JSON.stringify(first.digest)}]);
    ${script}`,
  );
  return spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "inherit"] });
}

describe("a cache that several processes share", () => {
  it("deletes no file that another one uses, and does once that use has ended", async () => {
    const [one, two] = [opened(), opened()];
    const pin = one.pin([first.digest]);
    await one.fill(first, first.open, call);
    await expect(two.fill(second, second.open, call)).rejects.toMatchObject({
      reason: "disk-full",
      message: expect.stringContaining("in use") as string,
    });
    expect(await one.read(first.digest)).toBeDefined();
    pin[Symbol.dispose]();
    await two.fill(second, second.open, call);
    expect([await one.has(first.digest), await one.has(second.digest)]).toEqual([false, true]);
    expect([...readdirSync(join(folder, "in-use")), ...readdirSync(join(folder, "parts"))]).toEqual([]);
  });

  it("counts as used while its list is renewed, and for a minute after a kill", async () => {
    const clock = manualClock();
    const [one, two] = [opened(clock), opened()];
    one.pin([first.digest]);
    await one.fill(first, first.open, call);
    for (let minute = 0; minute < 3; minute++) {
      minuteAgo();
      await clock.advance(20_000);
      await expect(two.fill(second, second.open, call)).rejects.toMatchObject({ reason: "disk-full" });
    }
    // The first says nothing any more.
    minuteAgo();
    await two.fill(second, second.open, call);
    expect(readdirSync(join(folder, "in-use"))).toEqual([]);
    // It had only been stopped, and goes on to say what it uses.
    await clock.advance(20_000);
    expect(readdirSync(join(folder, "in-use"))).toHaveLength(1);
  });

  it("is shared by machines whose clocks differ", async () => {
    const system = systemClock();
    const ahead: Clock = { ...system, wallMs: () => system.wallMs() + 300_000 };
    const [one, two] = [opened(), opened(ahead)];
    using _pin = one.pin([first.digest]);
    await one.fill(first, first.open, call);
    await expect(two.fill(second, second.open, call)).rejects.toMatchObject({ reason: "disk-full" });
    using _other = two.pin([first.digest]);
    await expect(one.fill(second, second.open, call)).rejects.toMatchObject({ reason: "disk-full" });
  });

  it("frees a killed process's files after a minute", async () => {
    await opened().fill(first, first.open, call);
    const process_ = pinning('console.log("pinned")');
    await once(process_.stdout, "data");
    await expect(opened().fill(second, second.open, call)).rejects.toMatchObject({ reason: "disk-full" });
    process_.kill("SIGKILL");
    await once(process_, "exit");
    minuteAgo();
    await opened().fill(second, second.open, call);
    expect(existsSync(join(folder, "blobs", first.digest.slice("sha256:".length)))).toBe(false);
  });

  it("frees the files of a process that has ended", async () => {
    const process_ = pinning("process.exit(0)");
    await once(process_, "exit");
    expect(readdirSync(join(folder, "in-use"))).toEqual([]);
  });

  it("gets one file for two at the same time, whole", async () => {
    const [one, two] = [opened(), opened()];
    const steps: (() => void)[] = [];
    /** Both are called, and go on in turn. */
    const slowly = async (fromByte: number): Promise<FileBytes> => ({
      fromByte,
      async *read() {
        for await (const chunk of (await first.open(fromByte)).read()) {
          await new Promise<void>((resolve) => steps.push(resolve));
          yield chunk;
        }
      },
    });
    const work = { over: false };
    const both = Promise.all([one.fill(first, slowly, call), two.fill(first, slowly, call)]).finally(
      () => (work.over = true),
    );
    while (!work.over) {
      steps.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await both;
    expect(readFileSync(join(folder, "blobs", first.digest.slice("sha256:".length)))).toHaveLength(600);
    expect(await two.read(first.digest)).toBeDefined();
    expect(readdirSync(join(folder, "parts"))).toEqual([]);
  });

  it("goes on from a copy of another one's partial file, whose process may have been killed", async () => {
    const [one, two] = [opened(), opened()];
    let goOn = (): void => undefined;
    const over = new Promise<void>((resolve) => (goOn = resolve));
    let part = (): void => undefined;
    const isHere = new Promise<void>((resolve) => (part = resolve));
    const silent = async (fromByte: number): Promise<FileBytes> => ({
      fromByte,
      async *read() {
        yield new Uint8Array(400).fill(1);
        part();
        await over;
      },
    });
    const broken = expect(one.fill(first, silent, call)).rejects.toMatchObject({ reason: "no-answer" });
    await isHere;
    const from: number[] = [];
    await two.fill(first, (fromByte) => (from.push(fromByte), first.open(fromByte)), call);
    expect(from).toEqual([400]);
    expect(await two.read(first.digest)).toBeDefined();
    goOn();
    await broken;
  });

  it("counts partial files, and deletes them if they are in the way", async () => {
    const broken = async (fromByte: number): Promise<FileBytes> => ({
      fromByte,
      async *read() {
        yield new Uint8Array(500).fill(1);
      },
    });
    await expect(opened().fill(first, broken, call)).rejects.toMatchObject({ reason: "no-answer" });
    await opened().fill(second, second.open, call);
    expect(readdirSync(join(folder, "parts"))).toEqual([]);
  });
});
