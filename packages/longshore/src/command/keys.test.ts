import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { runCommand } from "./run-command.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-keys-"));
});
afterEach(() => rm(folder, { recursive: true }));

const file = (name: string): string => join(folder, name);

async function run(...args: readonly string[]): Promise<{ code: ExitCode; out: string[]; notes: string[] }> {
  const out: string[] = [];
  const notes: string[] = [];
  const io: CommandIo = {
    out: (text) => void out.push(text),
    note: (text) => void notes.push(text),
    progress: () => undefined,
    environment: {},
    stop: new AbortController().signal,
  };
  return { code: await runCommand(args, io), out, notes };
}

describe("longshore keys", () => {
  it("makes a key that is shown once, lists it, and revokes it", async () => {
    const at = ["--file", file("keys.json")];
    const made = await run("keys", "add", ...at, "--tenant", "acme", "--right", "infer", "--right", "observe", "--expires", "90d", "--note", "till 4"); // prettier-ignore
    expect(made.code).toBe(0);
    const [key = ""] = made.out;
    expect(made.out).toHaveLength(1);
    expect(key).toMatch(/^lsk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
    expect(made.notes.join("\n")).not.toContain(key);
    const listed = await run("keys", "list", ...at);
    const id = key.split("_")[1] ?? "";
    expect(listed.out[0]).toContain(id);
    expect(listed.out[0]).toMatch(/acme +valid .* infer,observe +till 4/);
    expect(listed.out[0]).not.toContain(key.slice(-43));
    expect((await run("keys", "revoke", id, ...at)).code).toBe(0);
    expect((await run("keys", "list", ...at)).out[0]).toMatch(/acme +revoked/);
    expect(await readFile(file("keys.json"), "utf8")).not.toContain(key.slice(-43));
  });

  it("says that a file has none, which a slip in its name may be why", async () => {
    const { code, notes } = await run("keys", "list", "--file", file("kyes.json"));
    expect(code).toBe(0);
    expect(notes.join("\n")).toMatch(/kyes\.json has no keys/);
  });

  it("writes JSON on request", async () => {
    const at = ["--file", file("keys.json"), "--json"];
    const made = JSON.parse((await run("keys", "add", ...at, "--tenant", "acme")).out[0] ?? "") as object;
    expect(made).toMatchObject({ tenant: "acme", rights: ["infer"], key: expect.stringMatching(/^lsk_/) });
    const { keys } = JSON.parse((await run("keys", "list", ...at)).out[0] ?? "") as { keys: object[] };
    expect(keys).toEqual([expect.objectContaining({ tenant: "acme", state: "valid" })]);
    expect(keys[0]).not.toHaveProperty("hash");
  });

  it.each([
    [["--tenant", "a b"], "tenant"],
    [["--tenant", "acme", "--right", "root"], "--right wants one of"],
    [["--tenant", "acme", "--expires", "soon"], "--expires wants"],
    [["--tenant", "acme", "--expires", "2001-01-01"], "to come"],
    [["--tenant", "acme", "--expires", "0d"], "--expires wants"],
    [[], "--tenant"],
  ])("refuses %j, and writes nothing", async (args, message) => {
    const { code, out, notes } = await run("keys", "add", "--file", file("keys.json"), ...args);
    expect(code).toBe(2);
    expect(out).toEqual([]);
    expect(notes.join("\n")).toContain(message);
    for (const name of ["keys.json", "keys.json.next", "keys.json.pepper"]) {
      expect(existsSync(file(name)), name).toBe(false);
    }
  });

  it("revokes by the text of a key, too, and does not repeat it where it is not there", async () => {
    const at = ["--file", file("keys.json")];
    const [key = ""] = (await run("keys", "add", ...at, "--tenant", "acme")).out;
    const { code, notes } = await run(
      "keys",
      "revoke",
      key.replace(/_[0-9a-f]{16}_/, `_${"0".repeat(16)}_`),
      ...at,
    );
    expect(code).toBe(2);
    expect(notes.join("\n")).toContain("there is no such key");
    expect(notes.join("\n")).not.toContain(key.slice(21, 40));
    expect((await run("keys", "revoke", key, ...at)).code).toBe(0);
    expect((await run("keys", "list", ...at)).out[0]).toMatch(/acme +revoked/);
  });

  it("refuses to revoke an absent key, and files that are no keys", async () => {
    const at = ["--file", file("keys.json")];
    expect((await run("keys", "revoke", "0123456789abcdef", ...at)).code).toBe(2);
    await writeFile(file("keys.json"), "{}");
    for (const args of [["list"], ["add", "--tenant", "acme"], ["revoke", "0123456789abcdef"]]) {
      expect((await run("keys", ...args, ...at)).code).toBe(2);
    }
  });
});

describe("options about servers and identity", () => {
  it.each([
    [["serve", ".", "--tls-cert", "a"], "--tls-cert and --tls-key go together"],
    [["serve", ".", "--client-ca", "a"], "--client-ca needs --tls-cert"],
    [
      ["serve", ".", "--manage-port", "70000"],
      "--manage-port wants a whole number from 0 to 65535, not '70000'",
    ],
    [["serve", ".", "--default-max-batch-size", "1.5"], "a whole number up to 4096"],
    [["serve", ".", "--default-max-batch-size", "5000"], "a whole number up to 4096"],
    [["serve", ".", "--host", "0.0.0.0", "--port", "0"], "--insecure-no-identity"],
    [["serve", ".", "--port", "0", "--identity", "none.yaml"], "none.yaml"],
    [["doctor", "--at", "http://127.0.0.1:1", "--at-key", "none.key"], "none.key"],
    [
      ["serve", ".", "--port", "0", "--state-key", "none.secret"],
      "no such file or directory, open 'none.secret'",
    ],
    [["keys", "add", "--file", "none/keys.json", "--tenant", "acme"], "no such file or directory"],
    [
      ["doctor", "--at", "http://127.0.0.1:1", "--at-cert", "a.pem"],
      "--at-cert and --at-cert-key go together",
    ],
  ])("refuses %j", async (args, message) => {
    const { code, notes } = await run(...args.map((arg) => (arg === "." ? folder : arg)));
    expect(code).toBe(2);
    expect(notes.join("\n")).toContain(message);
  });
});
