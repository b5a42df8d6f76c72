import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { newOperatorKey, systemClock, systemRandom } from "@longshore/nodejs";
import { type LongshoreEvent, silentObserver } from "@longshore/core";
import { writeModels } from "@longshore/testkit";
import { command } from "../../test/command.ts";
import { type DirectoryOptions, openDirectory } from "../connect/directory.ts";
import { gateway } from "../compose/forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";

let folder: string;
const file = (name: string): string => join(folder, name);
const open: { close(graceMs?: number): Promise<void> }[] = [];

/** `simple` in two equal versions. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-aliases-"));
  await writeModels(file("all"));
  await cp(file("all/simple"), file("models/simple"), { recursive: true });
  await cp(file("all/simple/1"), file("models/simple/2"), { recursive: true });
  const config = file("models/simple/config.pbtxt");
  await writeFile(config, `${await readFile(config, "utf8")}\nversion_policy { all { } }\n`);
  const key = newOperatorKey();
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
  await rm(folder, { recursive: true, force: true });
});

async function server(read?: DirectoryOptions, events: LongshoreEvent[] = []): Promise<string> {
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const operatorKeys = await readFile(file("operator.pub"), "utf8");
  const directory = await openDirectory(read ?? { from: file("endpoints.json"), operatorKeys }, parts);
  open.push({ close: async () => directory[Symbol.asyncDispose]() });
  await directory.ready;
  const { store } = await openModel(file("models"));
  const observer = { record: (event: LongshoreEvent) => void events.push(event) };
  const running = await serve({ store, port: 0, allowManagement: true, directory, observer });
  open.push(running);
  return running.address;
}

async function leadsTo(address: string): Promise<string> {
  const data = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  const reply = await fetch(`${address}/v2/models/reader/infer`, {
    method: "POST",
    headers: { "longshore-account": "1" },
    body: JSON.stringify({ inputs }),
  });
  const json = (await reply.json()) as { parameters?: { longshore_account?: string } };
  const account = JSON.parse(json.parameters?.longshore_account ?? "{}") as {
    segment?: { version?: string };
  };
  return account.segment?.version ?? `status ${reply.status}`;
}

it("one signed word moves a name at every server that reads the directory", async () => {
  await writeFile(file("endpoints.json"), JSON.stringify({ schemaVersion: 1, entries: [] }));
  const events: LongshoreEvent[] = [];
  const [one, two] = [await server(undefined, events), await server()];
  expect(await leadsTo(one)).toBe("status 404");
  const alias = [
    "rollout",
    "sign",
    "reader",
    "--file",
    file("endpoints.json"),
    "--key",
    file("operator.pem"),
  ];
  const sign = (...args: readonly string[]) => command(...alias, "--model", "simple", "--at", one, ...args);
  expect((await sign("--to", "1")).said).toContain("reader (revision 1) leads to simple 1");
  const old = await readFile(file("endpoints.json"), "utf8");
  for (const address of [one, two])
    await vi.waitFor(async () => expect(await leadsTo(address)).toBe("1"), 60_000);
  // Meant for what is no longer so.
  const stale = await sign("--to", "2", "--revision", "0");
  expect([stale.code, stale.said]).toEqual([1, expect.stringContaining("conflict")]);
  expect((await sign("--to", "2", "--revision", "1", "--json")).said).toContain('"revision":2');
  for (const address of [one, two])
    await vi.waitFor(async () => expect(await leadsTo(address)).toBe("2"), 60_000);
  expect(events).toContainEqual(
    expect.objectContaining({ kind: "rollout-changed", change: "followed", alias: "reader" }),
  );
  const refused = await command("rollout", "set", "reader", "--model", "simple", "--to", "1", "--at", one);
  expect([refused.code, refused.said]).toEqual([1, expect.stringContaining("is the operator's")]);
  // An attacker who has the file and not the key.
  const text = await readFile(file("endpoints.json"), "utf8");
  const forged = text.replace('"revision": 2', '"revision": 3').replace('"version": "2"', '"version": "1"');
  expect(forged).not.toBe(text);
  await writeFile(file("endpoints.json"), forged);
  const trial = await sign("--to", "7");
  expect([trial.code, trial.said]).toEqual([2, expect.stringContaining("no version 7")]);
  expect(await leadsTo(two)).toBe("2");
  // Signing endpoints leaves names as they are; a file without the name takes it away.
  await writeFile(file("endpoints.json"), text);
  expect(
    (await command("directory", "sign", file("endpoints.json"), "--key", file("operator.pem"))).code,
  ).toBe(0);
  expect(JSON.parse(await readFile(file("endpoints.json"), "utf8"))).toMatchObject({
    aliases: [{ body: { alias: { revision: 2 } } }],
  });
  // Also where endpoints are written elsewhere and signed into that file.
  await writeFile(file("endpoints.yaml"), "schemaVersion: 1\nentries: []\n");
  await command(
    "directory",
    "sign",
    file("endpoints.yaml"),
    "--key",
    file("operator.pem"),
    "--out",
    file("endpoints.json"),
  );
  expect(JSON.parse(await readFile(file("endpoints.json"), "utf8"))).toMatchObject({
    aliases: [{ body: { alias: { revision: 2 } } }],
  });
  const { aliases: _, ...without } = JSON.parse(await readFile(file("endpoints.json"), "utf8")) as {
    aliases: unknown;
  };
  await writeFile(file("endpoints.json"), JSON.stringify(without));
  await vi.waitFor(async () => expect(await leadsTo(two)).toBe("status 404"), 60_000);
  // Readers that saw the name before believe it again, and no older change that was meant for it then fits.
  expect((await sign("--to", "1", "--revision", "0")).said).toContain(
    "reader (revision 3) leads to simple 1",
  );
  await vi.waitFor(async () => expect(await leadsTo(two)).toBe("1"), 60_000);
  // Also where it is put back as it was signed long ago.
  const { lastRevision } = JSON.parse(await readFile(file("endpoints.json"), "utf8")) as {
    lastRevision: number;
  };
  await writeFile(file("endpoints.json"), JSON.stringify({ ...(JSON.parse(old) as object), lastRevision }));
  expect((await sign("--to", "2", "--revision", "1")).said).toContain(
    "reader (revision 4) leads to simple 2",
  );
  await vi.waitFor(async () => expect(await leadsTo(two)).toBe("2"), 60_000);
});

it("a gateway that keeps a directory passes names on to its readers, and their removal, too", async () => {
  await writeFile(file("endpoints.json"), JSON.stringify({ schemaVersion: 1, entries: [] }));
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const operatorKeys = await readFile(file("operator.pub"), "utf8");
  const listed = await openDirectory({ from: file("endpoints.json"), operatorKeys }, parts);
  open.push({ close: async () => listed[Symbol.asyncDispose]() });
  await listed.ready;
  const directoryServer = await gateway({ port: 0, directory: listed, joins: { operatorKeys } });
  open.push(directoryServer);
  const one = await server({ from: directoryServer.address, operatorKeys });
  const alias = [
    "rollout",
    "sign",
    "reader",
    "--file",
    file("endpoints.json"),
    "--key",
    file("operator.pem"),
  ];
  const signed = await command(...alias, "--model", "simple", "--at", one, "--to", "1");
  expect(signed.said).toContain("reader (revision 1) leads to simple 1");
  await vi.waitFor(async () => expect(await leadsTo(one)).toBe("1"), 60_000);
  await command(...alias, "--model", "simple", "--at", one, "--to", "2", "--revision", "1");
  await vi.waitFor(async () => expect(await leadsTo(one)).toBe("2"), 60_000);
  // A reader without the operator's keys believes no name of it.
  const stranger = await server({ from: directoryServer.address });
  expect(await leadsTo(stranger)).toBe("status 404");
  await writeFile(file("endpoints.json"), JSON.stringify({ schemaVersion: 1, entries: [] }));
  await vi.waitFor(async () => expect(await leadsTo(one)).toBe("status 404"), 60_000);
});

it("names that are signed into a file at the same time are all in it, and one of two for the same revision is refused", async () => {
  const { store } = await openModel(file("models"));
  const running = await serve({ store, port: 0 });
  open.push(running);
  const into = ["--file", file("endpoints.json"), "--key", file("operator.pem"), "--model", "simple"];
  const sign = (name: string, ...more: readonly string[]) =>
    command("rollout", "sign", name, ...into, "--to", "1", "--at", running.address, ...more);
  const names = ["a", "b", "c", "d", "e", "f"];
  await Promise.all(names.map((name) => sign(name)));
  const same = await Promise.all(names.map(() => sign("g", "--revision", "0")));
  expect(same.filter(({ code }) => code === 0)).toHaveLength(1);
  const written = JSON.parse(await readFile(file("endpoints.json"), "utf8")) as {
    readonly aliases: readonly { readonly body: { readonly alias: { readonly name: string } } }[];
  };
  expect(written.aliases.map(({ body }) => body.alias.name).sort()).toEqual([...names, "g"]);
});
