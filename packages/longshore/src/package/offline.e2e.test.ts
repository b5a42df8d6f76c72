import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { float32Tensor, float32View, type Tensor } from "@longshore/core";
import { entryJson, sign } from "@longshore/core/internal";
import { newOperatorKey, operatorSigner } from "@longshore/nodejs";
import { testEntry } from "@longshore/testkit";
import { command } from "../../test/command.ts";
import { writeDouble, writeVersion } from "../../test/models.ts";
import { killAll, listening, type ServerProcess } from "../../test/processes.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { type RunningServer, serve } from "../compose/serve.ts";

const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const empty = { list: async () => [], read: async () => undefined };
let folder: string;
let digest: string;
const file = (name: string): string => join(folder, name);
const keys = (): readonly string[] => ["--operator-keys", file("operator.pub")];
const within = { timeout: 60_000, interval: 50 };

async function signed(model = "double"): Promise<string> {
  const { code, out } = await command(
    "package",
    "sign",
    file(`models/${model}`),
    "--key",
    file("operator.pem"),
  );
  expect(code).toBe(0);
  return out;
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-offline-"));
  await writeDouble(file("models"));
  // A server with a folder of its own that holds no model.
  await writeVersion(file("own"), "other", "1", (build, x) => build.node("Neg", [x], { outputs: ["y"] }));
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
  digest = await signed();
});
afterEach(() => {
  killAll();
  rmSync(folder, { recursive: true });
});

const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] });
async function ask({ address }: { readonly address: string }): Promise<string> {
  const reply = await fetch(`${address}/v2/models/double/infer`, { method: "POST", body });
  return reply.ok ? /\[[^\]]*\](?=\}\])/.exec(await reply.text())![0] : String(reply.status);
}
const isReady = async ({ address }: { readonly address: string }): Promise<boolean> =>
  (await fetch(`${address}/v2/health/ready`)).ok;

const origin = async (port = 0): Promise<RunningServer> =>
  serve({ store: (await openModel(file("models"))).store, port });

it("a server that restarts while the source of its package is away serves it from its kept copy", async () => {
  const source = await listening("serve", file("models"), "--port", "0");
  const start = (): Promise<ServerProcess> =>
    listening(
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
  const first = await start();
  await expect.poll(() => ask(first), within).toBe("[2,4,6,8]");
  first.stop();
  source.stop();
  expect([await first.exited, await source.exited]).toEqual([0, 0]);
  const again = await start();
  await expect.poll(() => isReady(again), within).toBe(true);
  expect(await ask(again)).toBe("[2,4,6,8]");
  const told = (text: string): boolean => again.notes.some((line) => line.includes(text));
  expect(told(`package ${digest}: double is here and loaded, from the copy that was kept`)).toBe(true);
  await expect.poll(() => told("checking the source for a newer one failed"), within).toBe(true);
});

it("a server whose directory named its packages serves them after a restart while both are away", async () => {
  const source = await listening("serve", file("models"), "--port", "0");
  const gate = await listening("gateway", "--port", "0", "--data-class", "public", ...keys());
  const { address: _joins, ...body } = testEntry({ id: "till", packages: [digest] });
  const entries = [await sign("directory entry", entryJson(body), operator)];
  await writeFile(file("till.json"), JSON.stringify({ schemaVersion: 1, entries }));
  const start = (): Promise<ServerProcess> =>
    listening(
      "serve",
      file("own"),
      "--port",
      "0",
      "--zone",
      "eu/de",
      "--entry",
      file("till.json"),
      "--join",
      gate.address,
      "--packages-from",
      source.address,
      "--packages-into",
      file("cache"),
      ...keys(),
    );
  const first = await start();
  await expect.poll(() => ask(first), within).toBe("[2,4,6,8]");
  for (const one of [first, gate, source]) {
    one.stop();
    await one.exited;
  }
  const again = await start();
  await expect.poll(() => ask(again), within).toBe("[2,4,6,8]");
});

it("a package that was signed again meanwhile replaces the kept one once the source is back", async () => {
  const source = await origin();
  const port = Number(new URL(source.address).port);
  const reports: string[] = [];
  const start = (): Promise<RunningServer> =>
    serve({
      store: empty,
      port: 0,
      pull: {
        from: source.address,
        into: file("cache"),
        operatorKeys: key.publicLine,
        wanted: [{ model: "double" }],
        againMs: 50,
      },
      report: (text) => reports.push(text),
    });
  const first = await start();
  await first.close(0);
  await source.close(0);
  await writeVersion(file("models"), "double", "1", (build, x) =>
    build.node("Add", [build.node("Add", [x, x]), x], { outputs: ["y"] }),
  );
  await signed();
  const again = await start();
  expect(await ask(again)).toBe("[2,4,6,8]");
  await vi.waitFor(() => expect(reports.at(-1)).toContain("the kept copy stays in use"), within);
  const back = await origin(port);
  await vi.waitFor(async () => expect(await ask(again)).toBe("[3,6,9,12]"), within);
  // The failure of the source is reported once, not at each attempt.
  expect(reports.filter((line) => line.includes("the kept copy stays in use")).length).toBeLessThan(4);
  await Promise.all([again.close(0), back.close(0)]);
});

it("a device that restarts while its source is away runs the kept parts", async () => {
  const source = await origin();
  const open = () =>
    openOffloader({
      packages: {
        from: source.address,
        into: file("device"),
        operatorKeys: key.publicLine,
        wanted: [{ model: "double" }],
      },
    });
  const x: Tensor = float32Tensor("x", [1, 4], Float32Array.of(1, 2, 3, 4));
  const run = async (): Promise<readonly number[]> => {
    const app = await open();
    const { outputs } = await app.infer("double", { x }, { dataClass: "public" });
    await app.close();
    return [...float32View(outputs.get("y") as Tensor)];
  };
  expect(await run()).toEqual([2, 4, 6, 8]);
  await source.close(0);
  expect(await run()).toEqual([2, 4, 6, 8]);
});

it("a command checks the source first, and uses kept copies while the source is away", async () => {
  const source = await origin();
  const infer = async (): Promise<{ readonly out: string; readonly notes: string }> => {
    await writeFile(file("x.json"), "[[1, 2, 3, 4]]");
    const at = ["--packages-from", source.address, "--packages-into", file("command"), ...keys()];
    const { out, notes } = await command("infer", "double", "-i", `x=${file("x.json")}`, ...at, "--json");
    return { out, notes };
  };
  expect((await infer()).out).toContain("[2,4,6,8]");
  await writeVersion(file("models"), "double", "1", (build, x) =>
    build.node("Add", [build.node("Add", [x, x]), x], { outputs: ["y"] }),
  );
  await signed();
  expect((await infer()).out).toContain("[3,6,9,12]");
  await source.close(0);
  const away = await infer();
  expect(away.out).toContain("[3,6,9,12]");
  expect(away.notes).toContain("from the copy that was kept");
});

it("damaged kept files are reported, and fetched again from the source", async () => {
  const source = await origin();
  const reports: string[] = [];
  const start = (): Promise<RunningServer> =>
    serve({
      store: empty,
      port: 0,
      pull: {
        from: source.address,
        into: file("cache"),
        operatorKeys: key.publicLine,
        wanted: [{ model: "double" }],
      },
      report: (text) => reports.push(text),
    });
  await (await start()).close(0);
  for (const kind of ["manifests", "installed"]) {
    const [name] = readdirSync(file(`cache/${kind}`));
    writeFileSync(file(`cache/${kind}/${name}`), '{"torn":');
  }
  reports.length = 0;
  const again = await start();
  expect(await ask(again)).toBe("[2,4,6,8]");
  expect(reports).toEqual([
    expect.stringMatching(
      /^packages: the record of the installed package of double cannot be used .*: installed/,
    ),
    expect.stringMatching(/^packages: a kept manifest cannot be used .*: manifests\/[0-9a-f]{64}\.json/),
    `package ${digest}: double is here and loaded`,
  ]);
  await again.close(0);
  expect(readdirSync(file("cache/installed")).filter((name) => name.endsWith(".damaged"))).toHaveLength(1);
  await source.close(0);
  const third = await start();
  expect(await ask(third)).toBe("[2,4,6,8]");
  await third.close(0);
});
