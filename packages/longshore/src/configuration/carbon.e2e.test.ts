import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { float32Tensor, isInfeasible, type Offloader } from "@longshore/core";
import { constantTrace, linkProxy, type LinkProxy } from "@longshore/lab";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening, type ServerProcess } from "../../test/processes.ts";
import { openOffloader } from "../compose/open-offloader.ts";

let folder: string;
let servers: readonly ServerProcess[];
let far: LinkProxy;
const apps: Offloader[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-carbon-"));
  await writeDouble(join(folder, "models"));
  const serve = (zone: string): Promise<ServerProcess> =>
    listening("serve", join(folder, "models"), "--port", "0", "--zone", zone);
  servers = await Promise.all([serve("eu/pl/one"), serve("eu/fr")]);
  // The clean server is far away.
  far = await linkProxy({
    target: { port: Number(new URL(servers[1]!.address).port) },
    up: constantTrace(400e6),
    down: constantTrace(400e6),
    delayMs: 300,
  });
}, 120_000);
afterEach(() => Promise.all(apps.splice(0).map((app) => app.close())));
afterAll(async () => {
  await far.close();
  killAll();
  await rm(folder, { recursive: true, force: true });
});

async function written(name: string, text: string): Promise<string> {
  await writeFile(join(folder, `${name}.new`), text);
  await rename(join(folder, `${name}.new`), join(folder, name));
  return join(folder, name);
}

const endpoints = (): string => `policy: { dataClass: public }
endpoints:
  - { address: "${servers[0]!.address}", id: dirty, zone: eu/pl/one }
  - { address: "http://127.0.0.1:${far.port}", id: clean, zone: eu/fr }
`;
const zones = "carbon: { zones: { eu/pl: 700, eu/fr: { 0-12: 40, 12-24: 60 } } }\n";
const inputs = { x: float32Tensor("x", [1, 4], new Float32Array([1, 2, 3, 4])) };

async function opened(options: Parameters<typeof openOffloader>[0]): Promise<Offloader> {
  const app = await openOffloader({ beliefs: false, ...options });
  apps.push(app);
  return app;
}

const reach = (app: Offloader, where: string, objective: "carbon" | "latency"): Promise<void> =>
  vi.waitFor(async () => expect((await app.infer("double", inputs, { objective })).where).toBe(where), {
    timeout: 60_000,
    interval: 50,
  });

it("an app takes the cleaner zone for objective carbon although the other is faster, and says how much", async () => {
  const app = await opened({ configFile: await written("app.yaml", endpoints() + zones) });
  await reach(app, "dirty", "latency");
  await reach(app, "clean", "carbon");
  const clean = await app.infer("double", inputs, { objective: "carbon" });
  const [account] = clean.accounts;
  const grams = new Date().getUTCHours() < 12 ? [40, 60] : [60, 40];
  // At the change of the hours either may hold.
  const expected = grams.map((one) => (account!.energy.millijoules * one) / 3600);
  expect(account!.energy.millijoules).toBeGreaterThan(0);
  expect(expected.some((one) => Math.abs(one - clean.carbonMicrograms!) < 1e-9)).toBe(true);
  expect(clean.because).toMatch(/clean finishes in about .* for about [\d.]+ µg of CO2/);
  const plan = await app.explain("double", inputs, { objective: "carbon" });
  expect(isInfeasible(plan) ? NaN : plan.predicted.carbonMicrograms).toBeGreaterThan(0);
}, 90_000);

it("a server of unknown carbon intensity is chosen last, and no amount is invented for it", async () => {
  const configFile = await written("half.yaml", `${endpoints()}carbon: { zones: { eu/pl: 700 } }\n`);
  const app = await opened({ configFile, repository: join(folder, "models") });
  // Neither this device nor the other server: nothing is known of their electricity.
  await reach(app, "dirty", "carbon");
  const here = await app.infer("double", inputs, { only: "device" });
  expect("carbonMicrograms" in here).toBe(false);
  const none = await opened({ configFile: await written("none.yaml", endpoints()) });
  const { carbonMicrograms, because } = await none.infer("double", inputs, { objective: "carbon" });
  expect([carbonMicrograms, because]).toEqual([
    undefined,
    expect.stringContaining("for about an unknown amount of CO2"),
  ]);
}, 90_000);

it("this device counts with its own zone", async () => {
  const app = await opened({
    configFile: await written("here.yaml", `${endpoints()}carbon: { zones: { eu: 500, device: 1 } }\n`),
    repository: join(folder, "models"),
    device: { activeWatts: 6 },
  });
  await reach(app, "device", "carbon");
  const { energy, carbonMicrograms } = await app.infer("double", inputs, { objective: "carbon" });
  expect(carbonMicrograms).toBeCloseTo(energy.millijoules / 3600, 9);
});

it("a gateway weighs its own zones for its callers, counts grams, and follows a change of the file", async () => {
  const text = `listeners: { port: 0 }\nforwarding: { checkRatio: 0, beliefs: off }\n${endpoints()}`;
  const file = await written("gate.yaml", text + zones);
  const gate = await listening("gateway", "--config", file);
  const behind = async (): Promise<string> => {
    const response = await fetch(`${gate.address}/v2/models/double/infer`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "longshore-goal": "carbon",
        "longshore-account": "because",
      },
      body: JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] }),
    });
    return response.text();
  };
  await vi.waitFor(async () => expect(await behind()).toMatch(/clean finishes in about.*µg of CO2/), {
    timeout: 60_000,
    interval: 50,
  });
  await vi.waitFor(async () => {
    const metrics = await (await fetch(`${gate.address}/metrics`)).text();
    const counted =
      /longshore_carbon_grams_total\{tenant="[^"]*",model="double",endpoint="clean"\} (\S+)/.exec(metrics);
    expect(Number(counted?.[1])).toBeGreaterThan(0);
  });
  await written("gate.yaml", `${text}carbon: { zones: { eu/pl: 10, eu/fr: 5000 } }\n`);
  await vi.waitFor(async () => expect(await behind()).toContain("dirty finishes in about"), {
    timeout: 60_000,
    interval: 100,
  });
}, 150_000);

it.each([
  ["{ zones: { eu: -1 } }", "carbon.zones.eu is -1; it must be a number from 0 to 10000"],
  ["{ zones: { eu: 380 g } }", "carbon.zones.eu is '380 g'"],
  ["{ zones: { eu: { 0-7: 1 } } }", "wrong.yaml:1: carbon.zones.eu states nothing for the hour from 7"],
  ["{ zones: { eu: { 0-25: 1 } } }", "carbon.zones.eu has the hours '0-25'"],
  ["{ zones: { 'eu/': 1 } }", "carbon.zones.eu/ is not a zone"],
  ["{ feed: 'http://grid' }", "carbon.feed is an unknown key"],
])("config check refuses carbon: %s", async (text, message) => {
  const { code, notes } = await command("config", "check", await written("wrong.yaml", `carbon: ${text}\n`));
  expect(notes).toContain(message);
  expect(code).toBe(2);
});
