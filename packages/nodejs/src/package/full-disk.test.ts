import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { housekeepingCall } from "@longshore/core/internal";
import { systemClock } from "../device/index.ts";
import { sha256 } from "../store/index.ts";
import { packageCache, type WantedFile } from "./cache.ts";

const run = promisify(execFile);
const call = housekeepingCall("test");
const clock = systemClock();
const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index & 255);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-full-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const wanted = async (): Promise<WantedFile> => ({ digest: await sha256(bytes), bytes: bytes.byteLength });
const whole = async (fromByte: number) => ({
  fromByte,
  async *read(): AsyncIterable<Uint8Array> {
    for (let at = fromByte; at < bytes.byteLength; at += 16_384) yield bytes.subarray(at, at + 16_384);
  },
});

/** Runs a script of this package's build in a process whose files may have 64 KiB: the system refuses what comes after. */
async function cramped(script: string): Promise<Record<string, unknown>> {
  const file = join(folder, "script.mjs");
  const entry = new URL("../../dist/index.js", import.meta.url).href;
  writeFileSync(file, `import * as nodejs from ${JSON.stringify(entry)};\n${script}`);
  const { stdout } = await run("bash", ["-c", 'ulimit -f 64; exec "$0" "$1"', process.execPath, file]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe.skipIf(!existsSync("/dev/full"))("a disk that is full", () => {
  it("is reported as a full disk for a package, which is then not offered, and comes once there is room", async () => {
    const cache = packageCache(join(folder, "cache"), { clock });
    const file = await wanted();
    const parts = join(folder, "cache", "parts");
    mkdirSync(parts, { recursive: true });
    // A device of the system that is always full.
    symlinkSync("/dev/full", join(parts, file.digest.slice(7)));
    await expect(cache.fill(file, whole, call)).rejects.toMatchObject({
      reason: "disk-full",
      message: expect.stringContaining("ENOSPC") as string,
    });
    expect(await cache.has(file.digest)).toBe(false);
    expect(readdirSync(parts)).toEqual([]);
    await cache.fill(file, whole, call);
    expect(await cache.read(file.digest)).toEqual(bytes);
  });

  it("is the same where part of a file was written before", async () => {
    const cacheFolder = join(folder, "cache");
    const file = await wanted();
    const said = await cramped(`
      const cache = nodejs.packageCache(${JSON.stringify(cacheFolder)}, { clock: nodejs.systemClock() });
      const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index & 255);
      const open = async (fromByte) => ({ fromByte, async *read() { yield bytes.subarray(fromByte); } });
      const file = ${JSON.stringify(file)};
      const call = { abort: new AbortController().signal };
      const error = await cache.fill(file, open, call).then(() => undefined, (thrown) => thrown);
      console.log(JSON.stringify({ reason: error?.reason, message: error?.message, has: await cache.has(file.digest) }));
    `);
    expect(said).toMatchObject({ reason: "disk-full", has: false });
    expect(said["message"]).toContain("cannot be written");
    expect(readdirSync(join(cacheFolder, "parts"))).toEqual([]);
    const cache = packageCache(cacheFolder, { clock });
    await cache.fill(file, whole, call);
    expect(await cache.read(file.digest)).toEqual(bytes);
  });

  it("is the same where no folder can be made, and the message names none", async () => {
    const cache = packageCache("/sys/longshore", { clock });
    const file = await wanted();
    await expect(cache.fill(file, whole, call)).rejects.toMatchObject({
      reason: "disk-failed",
      message: expect.stringMatching(/cannot be written: E[A-Z]+$/) as string,
    });
  });

  it("leaves the old content of a file that was to be replaced, and nothing else", async () => {
    const state = join(folder, "state");
    mkdirSync(state);
    writeFileSync(join(state, "aliases.json"), "old");
    const said = await cramped(`
      const path = ${JSON.stringify(join(state, "aliases.json"))};
      const error = await nodejs.replaceFile(path, "x".repeat(200_000)).then(() => undefined, (thrown) => thrown);
      console.log(JSON.stringify({ reason: error?.reason, message: error?.message }));
    `);
    expect(said).toEqual({
      reason: "disk-full",
      message: "the file aliases.json cannot be written: the disk is full (EFBIG)",
    });
    expect(readdirSync(state)).toEqual(["aliases.json"]);
    expect(readFileSync(join(state, "aliases.json"), "utf8")).toBe("old");
  });
});
