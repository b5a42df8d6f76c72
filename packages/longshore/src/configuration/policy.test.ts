import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { untyped } from "@longshore/testkit";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { float32Tensor } from "@longshore/core";
import { replaceFile } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening } from "../../test/processes.ts";
import { openOffloader } from "../compose/open-offloader.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-policy-"));
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

const inputs = { x: float32Tensor("x", [1, 4], new Float32Array([1, 2, 3, 4])) };
const body = JSON.stringify({
  inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
});

async function post(address: string, rules?: string): Promise<{ status: number; said: string }> {
  const headers = rules === undefined ? {} : { "longshore-rules": rules };
  const reply = await fetch(`${address}/v2/models/double/infer`, { method: "POST", body, headers });
  return { status: reply.status, said: await reply.text() };
}

const rules = `policy:
  rules:
    - { classes: [public], trust: listed }
    - { classes: [personal], zones: [eu/de], trust: operated, tenants: [local] }
    - { classes: [secret], trust: attested }
`;

it("a server refuses data that may not come to it, from every sender", async () => {
  const serve = (zone: string, more = "") =>
    `server: { zone: ${zone} }\nlisteners: { port: 0 }\nmodels: { repository: models }\n${rules}${more}`;
  const here = await listening("serve", "--config", await written("de.yaml", serve("eu/de")));
  expect((await post(here.address, "class=personal;trust=none")).status).toBe(200);
  expect((await post(here.address, "class=public;trust=none")).status).toBe(200);
  // Data without a class, of a class that no rule names, and that must stay elsewhere.
  expect(await post(here.address)).toMatchObject({
    status: 403,
    said: expect.stringContaining("no data class, so no server may run it; send the header longshore-rules"),
  });
  expect(await post(here.address, "class=persnal;trust=none")).toMatchObject({
    status: 403,
    said: expect.stringMatching(/"no rule of de\.yaml:5 names the data class persnal.*"policy-denied"/),
  });
  expect((await post(here.address, "class=secret;trust=none")).status).toBe(403);
  expect((await post(here.address, "class=public;trust=attested")).status).toBe(403);
  const file = await written("fr.yaml", serve("eu/fr", "  accepts: [personal, public]\n"));
  const away = await listening("serve", "--config", file);
  expect(await post(away.address, "class=personal;trust=none")).toMatchObject({
    status: 403,
    said: expect.stringMatching(
      /personal data stays in zone eu\/de, and the zone of this endpoint is eu\/fr \(fr\.yaml:7\)/,
    ),
  });
  // The rules change while it runs.
  await written("fr.yaml", serve("eu/fr", "  accepts: [personal]\n").replace("eu/de]", "eu]"));
  await vi.waitFor(
    async () => expect((await post(away.address, "class=personal;trust=none")).status).toBe(200),
    { timeout: 30_000, interval: 200 },
  );
  expect((await post(away.address, "class=public;trust=none")).said).toContain("which takes personal");
}, 90_000);

it("a gateway and an app send data only where a rule lets it, and name the rule's line", async () => {
  const server = await listening("serve", join(folder, "models"), "--port", "0", "--zone", "eu/de");
  const endpoint = (trust: string) =>
    `endpoints: [{ address: "${server.address}", zone: eu/de, trust: ${trust} }]\n`;
  const file = await written("app.yaml", `${rules}${endpoint("listed")}`);
  await using app = await openOffloader({ configFile: file });
  await expect(app.infer("double", inputs, { dataClass: "personal" })).rejects.toMatchObject({
    reason: "policy-denied",
    message: expect.stringMatching(/trusted as operated, and this one is listed \(app\.yaml:4\)/),
  });
  await expect(app.infer("double", inputs, { dataClass: "public" })).resolves.toBeDefined();
  const double = join(folder, "models", "double");
  const asked = ["plan", double, "--random", "--config", file, "--data-class", "personal", "--explain"];
  const told = await command(...asked);
  expect(told.said).toMatch(/this one is listed \(app\.yaml:4\)/);
  const gating = await written(
    "gate.yaml",
    `server: { zone: eu/de }\nlisteners: { port: 0 }\n${rules}  zones: [us]\n  dataClass: public\n${endpoint("operated")}`,
  );
  // No server can join, so the gateway need not wait for one that the rules would permit.
  const gate = await listening("gateway", "--config", gating, "--no-joins");
  // Requests that name no zones stay in those of the gateway's file, where no endpoint is.
  expect(await post(gate.address)).toMatchObject({
    status: 403,
    said: expect.stringContaining("allowed: us"),
  });
  expect((await post(gate.address, "class=public;trust=none;zones=eu")).status).toBe(200);
  expect((await post(gate.address, "class=personal;trust=none;zones=eu")).status).toBe(200);
  expect((await post(gate.address, "class=secret;trust=none;zones=eu")).status).toBe(403);
  const explained = await fetch(`${gate.address}/v2/models/double/explain`, {
    headers: { "longshore-rules": "class=personal;trust=none;zones=us" },
  });
  expect(await explained.text()).toContain("allowed: us");
}, 90_000);

it.each([
  ["policy: { rules: [] }", "policy.rules is []; it must be a list with at least one entry"],
  ["policy: { rules: [{ classes: [], trust: listed }] }", "policy.rules[0].classes is []"],
  ["policy: { rules: [{ classes: [public] }] }", "policy.rules[0].trust is missing"],
  ["policy: { rules: [{ classes: [public], trust: much }] }", "policy.rules[0].trust is 'much'"],
  [
    "policy: { rules: [{ classes: [public], trust: listed, zones: ['eu/'] }] }",
    "zones[0] is 'eu/'; it must be a zone",
  ],
  ["policy: { rules: [{ classes: [public], trust: listed, zone: eu }] }", "zone is an unknown key"],
  [
    "policy: { accepts: [persnal] }",
    "policy.accepts[0] names the data class 'persnal', which the built-in policy",
  ],
  [`${rules}  accepts: [internal]`, "which no rule of policy.rules has; known: public, personal, secret"],
  [`${rules}  dataClass: internal`, "policy.dataClass names the data class 'internal'"],
  ["endpoints: [{ address: 'http://a', trust: attested }]", "it must be one of listed, operated, vouched"],
])("config check refuses %j", async (text, message) => {
  const { code, notes } = await command("config", "check", await written("wrong.yaml", text));
  expect(notes).toContain(message);
  expect(code).toBe(2);
});

it("no endpoint may claim that it is attested", async () => {
  const servers = [{ address: "http://127.0.0.1:1", trust: untyped("attested") }];
  await expect(openOffloader({ servers })).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining("nothing here verifies"),
  });
});
