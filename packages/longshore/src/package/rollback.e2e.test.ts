import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LongshoreError, seededRandom } from "@longshore/core";
import { manifestDigest, manifestJson, type PackageManifest, sign } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import { newOperatorKey, operatorSigner, sha256 } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { writeDouble, writeVersion } from "../../test/models.ts";
import { killAll, listening, type ServerProcess } from "../../test/processes.ts";
import { openPull } from "./pull.ts";

const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
let folder: string;
const file = (name: string): string => join(folder, name);
const keys = (): readonly string[] => ["--operator-keys", file("operator.pub")];
const within = { timeout: 60_000, interval: 50 };

async function signed(
  models: string,
  ...more: readonly string[]
): Promise<{ digest: string; serial: number }> {
  const at = ["package", "sign", file(`${models}/double`), "--key", file("operator.pem"), "--json"];
  const { code, out, notes } = await command(...at, ...more);
  expect([code, notes]).toEqual([0, ""]);
  return JSON.parse(out) as { digest: string; serial: number };
}
const writeTriple = (models: string): Promise<void> =>
  writeVersion(file(models), "double", "1", (build, x) =>
    build.node("Add", [build.node("Add", [x, x]), x], { outputs: ["y"] }),
  );

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-rollback-"));
  await writeDouble(file("old"));
  await writeVersion(file("own"), "other", "1", (build, x) => build.node("Neg", [x], { outputs: ["y"] }));
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
});
afterEach(() => {
  killAll();
  rmSync(folder, { recursive: true });
});

const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] });
async function ask({ address }: ServerProcess): Promise<string> {
  const reply = await fetch(`${address}/v2/models/double/infer`, { method: "POST", body });
  return reply.ok ? /\[[^\]]*\](?=\}\])/.exec(await reply.text())![0] : String(reply.status);
}

describe("a package that was signed before one that was installed", () => {
  /** A source that gives away the old package again, after the new one was installed. */
  async function rolledBack(): Promise<{
    readonly source: ServerProcess;
    readonly old: string;
    readonly now: string;
  }> {
    const { digest: old } = await signed("old");
    cpSync(file("old"), file("new"), { recursive: true });
    await writeTriple("new");
    const { digest: now } = await signed("new");
    const fresh = await listening("serve", file("new"), "--port", "0");
    const fetched = await command(
      "package",
      "fetch",
      "double",
      "--from",
      fresh.address,
      "--into",
      file("cache"),
      ...keys(),
    );
    expect([fetched.code, fetched.out]).toEqual([0, now]);
    fresh.stop();
    await fresh.exited;
    return { source: await listening("serve", file("old"), "--port", "0"), old, now };
  }

  it("is refused by a server, also after a restart, and the installed one goes on", async () => {
    const { source, now } = await rolledBack();
    const server = await listening(
      "serve",
      file("own"),
      "--port",
      "0",
      "--packages-from",
      source.address,
      "--package",
      "double",
      "--packages-into",
      file("cache"),
      ...keys(),
    );
    await expect.poll(() => ask(server), within).toBe("[3,6,9,12]");
    const told = (...words: readonly string[]): boolean =>
      server.notes.some((line) => words.every((word) => line.includes(word)));
    await expect
      .poll(
        () => told("the kept copy stays in use", "was installed here: to go back", "sign it again"),
        within,
      )
      .toBe(true);
    expect(told(now)).toBe(true);
    expect(await ask(server)).toBe("[3,6,9,12]");
  });

  it("is refused by name and by digest, with its own reason, and is taken once it is signed again", async () => {
    const { source, old } = await rolledBack();
    const into = ["--from", source.address, "--into", file("cache"), ...keys()];
    for (const name of ["double", old]) {
      const { code, notes } = await command("package", "fetch", name, ...into);
      expect([code, notes]).toEqual([1, expect.stringContaining("package-outdated")]);
    }
    const again = await signed("old", "--serial", String(Math.floor(Date.now() / 1000) + 1000));
    const { code, out } = await command("package", "fetch", "double", ...into);
    expect([code, out]).toEqual([0, again.digest]);
  });

  it.each([
    ["torn", "{"],
    ["of something else", '{"serial":"low"}'],
  ])("is refused, too, where the record of its serial is %s", async (_what, text) => {
    const { source } = await rolledBack();
    const [name] = readdirSync(file("cache/installed"));
    writeFileSync(file(`cache/installed/${name}`), text);
    const into = ["--from", source.address, "--into", file("cache"), ...keys()];
    const { code, notes } = await command("package", "fetch", "double", ...into);
    expect([code, notes]).toEqual([1, expect.stringMatching(/cannot be used[^]*package-outdated/)]);
    expect(readFileSync(file(`cache/installed/${name}`), "utf8")).toBe(text);
  });

  it("and has no serial is refused, and taken where none with a serial was installed", async () => {
    const { source } = await rolledBack();
    const path = file("old/double/package.json");
    const { body } = JSON.parse(readFileSync(path, "utf8")) as { body: PackageManifest };
    const plain: PackageManifest = { schemaVersion: 1, model: body.model, files: body.files };
    writeFileSync(path, JSON.stringify(await sign("package manifest", manifestJson(plain), operator)));
    const fetchInto = (cache: string) =>
      command("package", "fetch", "double", "--from", source.address, "--into", file(cache), ...keys());
    const refused = await fetchInto("cache");
    expect([refused.code, refused.notes]).toEqual([
      1,
      expect.stringMatching(/has no serial, and one with serial \d+/),
    ]);
    expect((await fetchInto("fresh")).out).toBe(await manifestDigest(plain, sha256));
  });
});

describe("signing", () => {
  it("counts serials up, and refuses one that is not after the last", async () => {
    const first = await signed("old");
    const second = await signed("old");
    expect(second.serial).toBeGreaterThan(first.serial);
    const third = await signed("old", "--serial", String(second.serial + 500));
    expect((await signed("old")).serial).toBe(third.serial + 1);
    const at = ["package", "sign", file("old/double"), "--key", file("operator.pem"), "--serial", "7"];
    const { code, notes } = await command(...at);
    expect([code, notes]).toEqual([2, expect.stringMatching(/--serial 7 is not after \d+/)]);
  });

  it("does not write over a package.json of which no serial can be read", async () => {
    const path = file("old/double/package.json");
    const sign = ["package", "sign", file("old/double"), "--key", file("operator.pem")];
    for (const text of ["{", '{"name":"double","version":"1.0.0"}']) {
      writeFileSync(path, text);
      const { code, notes } = await command(...sign);
      expect([code, notes]).toEqual([2, expect.stringContaining("is not the manifest of a package")]);
      expect(readFileSync(path, "utf8")).toBe(text);
    }
    expect((await command(...sign, "--serial", "7")).code).toBe(0);
  });

  it("states an end, which a check and every installer hold the package to", async () => {
    await signed("old", "--days", "0.001");
    const check = ["package", "check", file("old/double"), ...keys()];
    expect((await command(...check)).notes).toMatch(/serial \d+; used until \d{4}-/);
    const path = file("old/double/package.json");
    const { body } = JSON.parse(readFileSync(path, "utf8")) as { body: PackageManifest };
    const over = manifestJson({ ...body, notAfterMs: 1000 });
    writeFileSync(path, JSON.stringify(await sign("package manifest", over, operator)));
    const checked = await command(...check);
    expect([checked.code, checked.notes]).toEqual([1, expect.stringContaining("its end has passed")]);
    const source = await listening("serve", file("old"), "--port", "0");
    const fetched = await command(
      "package",
      "fetch",
      "double",
      "--from",
      source.address,
      "--into",
      file("cache"),
      ...keys(),
    );
    expect([fetched.code, fetched.notes]).toEqual([1, expect.stringContaining("package-expired")]);
  });
});

it("a package is used until its end, is fetched again before it, and is unloaded at it", async () => {
  const clock = virtualClock();
  const content = new TextEncoder().encode("model");
  const files = [{ path: "1/model.onnx", bytes: content.byteLength, digest: await sha256(content) }];
  const endMs = clock.wallMs() + 10 * 3_600_000;
  const packageOf = async (serial: number, notAfterMs: number): Promise<Uint8Array> => {
    const manifest = manifestJson({ schemaVersion: 2, model: "toy", serial, notAfterMs, files });
    return new TextEncoder().encode(JSON.stringify(await sign("package manifest", manifest, operator)));
  };
  let now: Uint8Array | undefined = await packageOf(1, endMs);
  const reports: string[] = [];
  const pull = openPull(
    {
      from: "nowhere",
      into: file("cache"),
      operatorKeys: key.publicLine,
      source: {
        name: "nowhere",
        async manifest() {
          if (!now) throw new LongshoreError("unreachable", "transport", "made up");
          return now;
        },
        file: async () => ({
          fromByte: 0,
          async *read() {
            yield content;
          },
        }),
      },
    },
    { clock, random: seededRandom(1), report: (text) => reports.push(text), changed: () => undefined },
  );
  const unloaded: string[] = [];
  const engine = {
    load: () => Promise.resolve(),
    unload: async (model: string) => void unloaded.push(model),
  };
  await pull.want([{ model: "toy" }], engine);
  const serial = (): number | undefined => pull.store.packages.get("toy")?.manifest.serial;
  expect(serial()).toBe(1);
  // Signed again in time: it replaces the one that ends.
  now = await packageOf(2, endMs + 10 * 3_600_000);
  await clock.advance(9 * 3_600_000 + 1000);
  await expect.poll(serial, within).toBe(2);
  now = undefined;
  await clock.advance(11 * 3_600_000 - 2000);
  await pull.look();
  expect([serial(), unloaded]).toEqual([2, []]);
  await clock.advance(60_000);
  await expect.poll(() => unloaded, within).toEqual(["toy"]);
  expect(reports.some((line) => line.includes("toy is unloaded: its package could be used until"))).toBe(
    true,
  );
  expect(readdirSync(file("cache/manifests")).length).toBeGreaterThan(0);
  await pull.close();
});
