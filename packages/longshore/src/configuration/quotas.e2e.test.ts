import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { replaceFile } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening } from "../../test/processes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-quotas-"));
  await mkdir(join(folder, "models"));
  await writeDouble(join(folder, "models"));
});
afterEach(killAll);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await replaceFile(file, text);
  return file;
}

const body = JSON.stringify({
  inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
});

async function ask(address: string): Promise<{ status: number; retryAfter: string | null; error: string }> {
  const reply = await fetch(`${address}/v2/models/double/infer`, { method: "POST", body });
  const said = (await reply.json()) as { readonly error?: string; readonly reason?: string };
  const error = said.error === undefined ? "" : `${said.reason}: ${said.error}`;
  return { status: reply.status, retryAfter: reply.headers.get("retry-after"), error };
}

const served = "listeners: { port: 0, lingerSeconds: 0 }\nmodels: { repository: models }\n";

it("refuses a tenant beyond its rate with 429, and follows the file", async () => {
  const limited = `${served}quotas: { tenants: { "*": { requestsPerSecond: 0.01 } } }\n`;
  const file = await written("rate.yaml", limited);
  const server = await listening("serve", "--config", file);
  expect(await ask(server.address)).toMatchObject({ status: 200 });
  expect(await ask(server.address)).toEqual({
    status: 429,
    retryAfter: expect.stringMatching(/^\d+$/),
    error: expect.stringContaining("tenant-limit: tenant local is at the limit of 0.01 requests a second"),
  });
  await written("rate.yaml", limited.replace("0.01", "1000"));
  await vi.waitFor(async () => expect(await ask(server.address)).toMatchObject({ status: 200 }), {
    timeout: 30_000,
    interval: 200,
  });
  expect(server.notes.join("\n")).toContain("changed quotas.tenants");
}, 60_000);

it("spends no more than the budget of a day, and remembers it across a restart", async () => {
  const file = await written(
    "budget.yaml",
    `${served}prices: { perRequest: 10 }\nbudgets: { keep: spent.json, tenants: { local: { microsPerDay: 25 } } }\n`,
  );
  const first = await listening("serve", "--config", file);
  const statuses: number[] = [];
  for (let count = 0; count < 2; count++) statuses.push((await ask(first.address)).status);
  expect(statuses).toEqual([200, 200]);
  const refused = { status: 429, error: expect.stringContaining("25 micros a day") };
  expect(await ask(first.address)).toMatchObject(refused);
  first.stop();
  await first.exited;
  const second = await listening("serve", "--config", file);
  expect(await ask(second.address)).toMatchObject(refused);
  second.stop();
  await second.exited;
  await writeFile(join(folder, "spent.json"), "{");
  const damaged = await command("serve", "--config", file);
  expect(damaged.notes).toMatch(/the file of budgets .* is damaged/);
}, 60_000);

it.each(["directory.from", "quotas.from"])(
  "shares limits between gateways by leases of %s",
  async (key) => {
    const server = await listening("serve", join(folder, "models"), "--port", "0");
    const rest = `listeners: { port: 0 }\npolicy: { dataClass: public }\nendpoints: [{ address: "${server.address}" }]\n`;
    const tenants = `tenants: { local: { requestsPerSecond: 4 } }`;
    const keeper = await written("keeper.yaml", `${rest}quotas: { ${tenants} }\n`);
    const first = await listening("gateway", "--config", keeper);
    const sharing = await written(
      "sharing.yaml",
      key === "quotas.from"
        ? `${rest}quotas: { share: true, from: "${first.address}", ${tenants} }\n`
        : `${rest}directory: { from: "${first.address}" }\nquotas: { share: true, ${tenants} }\n`,
    );
    const second = await listening("gateway", "--config", sharing);
    const startedMs = performance.now();
    const replies: Awaited<ReturnType<typeof ask>>[] = [];
    for (let count = 0; count < 20; count++) {
      replies.push(...(await Promise.all([ask(first.address), ask(second.address)])));
    }
    const passed = replies.filter(({ status }) => status === 200).length;
    expect(replies.every(({ status }) => status === 200 || status === 429)).toBe(true);
    // The allowance saved up before, and the allowance added since.
    expect(passed).toBeLessThanOrEqual(2 + Math.ceil((4 * (performance.now() - startedMs)) / 1000));
    expect(passed).toBeGreaterThan(0);
    first.stop();
    await first.exited;
    await vi.waitFor(async () => expect((await ask(second.address)).error).toContain("does not answer"), {
      timeout: 30_000,
      interval: 200,
    });
  },
  60_000,
);

it("refuses wrong limits by name", async () => {
  for (const [text, message] of [
    [
      "quotas: { tenants: { acme: { requestsPerSecond: -1 } } }",
      "quotas.tenants.acme.requestsPerSecond is -1",
    ],
    ["quotas: { tenants: { 'a b': {} } }", "quotas.tenants.a b is not a tenant"],
    ["quotas: { tenants: { acme: { microsPerDay: 1 } } }", "microsPerDay is an unknown key"],
    ["budgets: { tenants: { acme: { microsPerDay: 5k } } }", "microsPerDay is '5k'"],
    ["quotas: { share: true }", "quotas.share needs the gateway that leases the limits"],
    ["quotas: { from: 'http://127.0.0.1:1' }", "quotas.from goes with quotas.share: true"],
  ] as const) {
    const { code, notes } = await command("config", "check", await written("wrong.yaml", text));
    expect(notes).toContain(message);
    expect(code).toBe(2);
  }
});
