import { mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { emptyBody, type WireRequest } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { openIdentity, type OpenedIdentity } from "./identity.ts";
import { keyStore } from "./key-store.ts";

let folder: string;
const after: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-identity-"));
});
afterEach(async () => {
  for (const undo of after.splice(0)) await undo();
  await rm(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);
const clock = manualClock();

const ask = (bearer: string): WireRequest => ({
  method: "GET",
  path: "/v2",
  headers: { authorization: `Bearer ${bearer}` },
  body: emptyBody,
  peer: { address: "192.0.2.7", loopback: false },
});

/** Identity from the folder, and a wait until it has read its files again. */
async function opened(yaml: string): Promise<{ identity: OpenedIdentity; again: () => Promise<string> }> {
  await writeFile(file("identity.yaml"), yaml);
  const reports: string[] = [];
  let heard = (): void => undefined;
  const identity = await openIdentity(file("identity.yaml"), {
    clock,
    report: (text) => {
      reports.push(text);
      heard();
    },
  });
  after.push(() => identity.close());
  const again = async (): Promise<string> => {
    const next = new Promise<void>((resolve) => {
      heard = resolve;
    });
    await clock.advance(2000);
    await next;
    return reports.at(-1) ?? "";
  };
  return { identity, again };
}

const keysYaml = "keys: { file: keys.json }\ntenants: { acme: {}, beta: {} }\n";
const unauthenticated = { reason: "unauthenticated" };

describe("identity from files", () => {
  it("takes in keys that are added and revoked while it runs", async () => {
    const store = keyStore(file("keys.json"), () => clock.wallMs());
    const first = await store.add({ tenant: "acme", rights: ["infer"] });
    const { identity, again } = await opened(keysYaml);
    expect(await identity.identify(ask(first.text))).toMatchObject({ tenant: "acme" });
    const second = await store.add({ tenant: "beta", rights: ["infer"] });
    await expect(identity.identify(ask(second.text))).rejects.toMatchObject(unauthenticated);
    expect(await again()).toContain("read again");
    expect(await identity.identify(ask(second.text))).toMatchObject({ tenant: "beta" });
    await store.revoke(first.id);
    await again();
    await expect(identity.identify(ask(first.text))).rejects.toMatchObject(unauthenticated);
  });

  it("does not take a change that is not good, and says so without showing it", async () => {
    const store = keyStore(file("keys.json"), () => clock.wallMs());
    const key = await store.add({ tenant: "acme", rights: ["infer"] });
    const { identity, again } = await opened(keysYaml);
    const good = await readFile(file("keys.json"), "utf8");
    for (const bad of ["", "{", good.replace("infer", "root"), good.slice(0, -20)]) {
      await writeFile(file("keys.json"), bad);
      const said = await again();
      expect(said).toContain("the earlier ones stay in force");
      expect(said).not.toContain(/"hash": "([^"]+)"/.exec(good)?.[1] ?? "none");
      expect(await identity.identify(ask(key.text))).toMatchObject({ tenant: "acme" });
    }
    await writeFile(file("identity.yaml"), "anonymous: { rights: [root] }");
    expect(await again()).toContain("must be a right");
    await rm(file("identity.yaml"));
    expect(await again()).toContain("ENOENT");
    expect(await identity.identify(ask(key.text))).toMatchObject({ tenant: "acme" });
  });

  it("sees a file that is swapped in under its name, and a new pepper", async () => {
    const store = keyStore(file("keys.json"), () => clock.wallMs());
    const key = await store.add({ tenant: "acme", rights: ["infer"] });
    const { identity, again } = await opened(keysYaml);
    const other = keyStore(file("other.json"), () => clock.wallMs());
    const others = await other.add({ tenant: "beta", rights: ["infer"] });
    await rename(file("other.json.pepper"), file("keys.json.pepper"));
    await rename(file("other.json"), file("keys.json"));
    await again();
    await expect(identity.identify(ask(key.text))).rejects.toMatchObject(unauthenticated);
    expect(await identity.identify(ask(others.text))).toMatchObject({ tenant: "beta" });
  });

  it("fetches keys from the issuer's address, and from a file beside it", async () => {
    const { exportJWK, generateKeyPair, SignJWT } = await import("jose");
    const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
    const jwks = JSON.stringify({ keys: [await exportJWK(publicKey)] });
    let asked = 0;
    const issuer = createServer((request, response) => {
      asked += 1;
      if (request.url === "/away") response.writeHead(302, { location: "/jwks" }).end();
      else response.end(jwks);
    });
    await new Promise<void>((resolve) => issuer.listen(0, "127.0.0.1", resolve));
    after.push(() => issuer.close());
    const base = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
    await writeFile(file("jwks.json"), jwks);
    const token = (iss: string): Promise<string> =>
      new SignJWT({ iss, aud: "longshore", exp: clock.wallMs() / 1000 + 600 })
        .setProtectedHeader({ alg: "EdDSA" })
        .sign(privateKey);
    const line = (iss: string, keySet: string): string =>
      `  - { issuer: ${iss}, audience: longshore, keySet: "${keySet}", tenant: ${iss}, rights: [infer] }\n`;
    const lines = [line("web", `${base}/jwks`), line("file", "jwks.json"), line("moved", `${base}/away`)];
    const { identity } = await opened(`tokens:\n${lines.join("")}`);
    expect(asked).toBe(0);
    expect(await identity.identify(ask(await token("web")))).toMatchObject({ tenant: "web" });
    expect(await identity.identify(ask(await token("file")))).toMatchObject({ tenant: "file" });
    expect(asked).toBe(1);
    await expect(identity.identify(ask(await token("moved")))).rejects.toMatchObject({ reason: "rejected" });
  });

  it.each([
    ["no file", undefined, "ENOENT"],
    ["no keys", "keys: { file: keys.json }", "keys.json"],
    [
      "a key set that is not there",
      "tokens: [{ issuer: i, audience: a, keySet: none.json, tenant: t, rights: [infer] }]",
      "none.json",
    ],
    [
      "a key set over plain HTTP",
      "tokens: [{ issuer: i, audience: a, keySet: 'http://id.example/', tenant: t, rights: [infer] }]",
      "https",
    ],
    [
      "a key set from elsewhere",
      "tokens: [{ issuer: i, audience: a, keySet: 'gopher://id.example/', tenant: t, rights: [infer] }]",
      "https",
    ],
  ])("does not begin with %s", async (_name, yaml, message) => {
    if (yaml !== undefined) await writeFile(file("identity.yaml"), yaml);
    await expect(
      openIdentity(file("identity.yaml"), { clock, report: () => undefined }),
    ).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining(message),
    });
  });
});

describe("a key store", () => {
  const store = () => keyStore(file("keys.json"), () => clock.wallMs());

  it("keeps hashes and pepper where only their owner reads them, and never a key", async () => {
    const { text } = await store().add({ tenant: "acme", rights: ["infer"] });
    for (const name of ["keys.json", "keys.json.pepper"]) {
      expect((await stat(file(name))).mode & 0o077, name).toBe(0);
      expect(await readFile(file(name), "utf8"), name).not.toContain(text.slice(-43));
    }
  });

  it("adds and revokes one at a time", async () => {
    const key = await store().add({ tenant: "acme", rights: ["infer"] });
    await writeFile(file("keys.json.next"), "");
    await expect(store().revoke(key.id)).rejects.toMatchObject({ reason: "invalid-configuration" });
    await rm(file("keys.json.next"));
    await store().revoke(key.id);
    const [record] = await store().list();
    expect(record?.revokedMs).toBe(clock.wallMs());
    await expect(store().revoke("0000000000000000")).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(store().add({ tenant: "a b", rights: ["infer"] })).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
    expect(await store().list()).toHaveLength(1);
  });

  it("makes no second pepper for keys that have one", async () => {
    await store().add({ tenant: "acme", rights: ["infer"] });
    await rm(file("keys.json.pepper"));
    await expect(store().add({ tenant: "acme", rights: ["infer"] })).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("pepper"),
    });
    await writeFile(file("keys.json.pepper"), "short");
    await expect(store().add({ tenant: "acme", rights: ["infer"] })).rejects.toThrow(/at least 32 bytes/);
  });
});
