import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeModels } from "@longshore/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { command } from "../../test/command.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-incident-"));
  await writeModels(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Planted where people leave secrets. */
const secrets = {
  key: `lsk_0123456789abcdef_${"s".repeat(43)}`,
  token: `eyJhbGciOiJFUzI1NiJ9.${"p".repeat(30)}.${"q".repeat(40)}`,
  password: "hunter2-very-secret",
  bearer: "Zm9vYmFyYmF6cXV4",
  plain: "plain-secret-4711",
  pem: "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
};

const configuration = `
server: { id: edge-1 }
directory: { from: "nats://user:${secrets.password}@nats.example:4222/b", serversKey: keys/servers.key }
models:
  stateKey: ${secrets.plain}
endpoints:
  - { address: "https://cloud.example/?token=${secrets.bearer}", key: ${secrets.key}, zone: eu }
password: "${secrets.password}"
export API_KEY=${secrets.plain}
private: |
  -----BEGIN PRIVATE KEY-----
  ${secrets.pem}
  -----END PRIVATE KEY-----
`;

const log = [
  JSON.stringify({
    level: "warning",
    event: "failure",
    message: `got Bearer ${secrets.bearer}`,
    token: secrets.plain,
  }),
  JSON.stringify({ level: "info", event: "directory", from: `https://a:${secrets.password}@b` }),
  `authorization: Bearer ${secrets.token}`,
  "kept: this line says nothing secret",
].join("\n");

async function textsOf(at: string): Promise<string> {
  let all = "";
  for (const entry of await readdir(at, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) all += await readFile(join(entry.parentPath, entry.name), "utf8");
  }
  return all;
}

it("collects a server, its configuration and its log, and none of the secrets that were planted", async () => {
  await writeFile(join(folder, "longshore.yaml"), configuration);
  await writeFile(join(folder, "server.log"), log);
  const server = await serve({ store: (await openModel(folder)).store, port: 0 });
  try {
    const out = join(folder, "incident.tar.gz");
    const files = ["--config", join(folder, "longshore.yaml"), "--log", join(folder, "server.log")];
    const made = await command("incident", "--at", server.address, ...files, "--out", out);
    expect(made.code, made.said).toBe(0);
    expect(made.out).toContain("read it before you send it");
    await mkdir(join(folder, "read"));
    // Another program than ours reads it.
    execFileSync("tar", ["-xzf", out, "-C", join(folder, "read")]);
    const root = join(folder, "read", "incident");
    const about = JSON.parse(await readFile(join(root, "incident.json"), "utf8")) as Record<string, unknown>;
    expect(about).toMatchObject({ schemaVersion: 1, servers: [server.address] });
    const names = (await readdir(root, { recursive: true })).map((one) => one.replaceAll("\\\\", "/"));
    for (const name of [
      "server-1/models.json",
      "server-1/metrics.txt",
      "server-1/statistics.json",
      "configuration/1-longshore.yaml",
      "log/1-server.log",
    ])
      // prettier-ignore
      expect(names).toContain(name);
    expect(await readFile(join(root, "server-1/ready.json"), "utf8")).toContain("200");
    const all = await textsOf(root);
    for (const secret of Object.values(secrets)) expect(all).not.toContain(secret);
    // Values that are no secrets stay.
    for (const kept of [
      "edge-1",
      "nats.example:4222",
      "keys/servers.key",
      "zone: eu",
      "this line says nothing",
      "simple",
    ])
      expect(all).toContain(kept);
  } finally {
    await server.close(0);
  }
});

it("writes a folder, and says what a server that is away leaves out", async () => {
  const out = join(folder, "away");
  const made = await command("incident", "--at", "http://127.0.0.1:9", "--out", out, "--json");
  expect(made.code).toBe(1);
  const { missing } = JSON.parse(made.out) as { missing: { what: string }[] };
  expect(missing[0]?.what).toBe("http://127.0.0.1:9/v2");
  expect(await readdir(out)).toEqual(["incident.json"]);
});

it("refuses to collect nothing", async () => {
  const made = await command("incident", "--out", join(folder, "none"));
  expect(made.code).toBe(2);
  expect(made.notes).toContain("give a server (--at), a configuration or a log");
});
