import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newOperatorKey } from "@longshore/nodejs";
import { writeModels } from "@longshore/testkit";
import { command } from "../../test/command.ts";
import { killAll, listening } from "../../test/processes.ts";

let folder: string;
const file = (name: string): string => join(folder, name);
const keys = (): readonly string[] => ["--operator-keys", file("operator.pub")];
/** Nothing listens there. */
const nowhere = "nats:127.0.0.1:1";

const entries = (id: string): string =>
  JSON.stringify({
    schemaVersion: 1,
    entries: [{ id, address: "http://127.0.0.1:18000", tier: "edge", zone: "eu/de", trust: "operated" }],
  });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-publish-"));
  const key = newOperatorKey();
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
  await writeFile(file("stranger.pub"), newOperatorKey().publicLine);
  await writeFile(file("entries.json"), entries("store-7"));
});
const running = new Set<ChildProcess>();
afterEach(async () => {
  killAll();
  for (const one of running) one.kill("SIGKILL");
  running.clear();
  await rm(folder, { recursive: true, force: true });
});

async function signed(): Promise<void> {
  const made = ["--key", file("operator.pem"), "--out", file("endpoints.json")];
  expect(await command("directory", "sign", file("entries.json"), ...made)).toMatchObject({ code: 0 });
}

describe("an entry that cannot be published is refused before any connection is made", () => {
  it.each([
    [["endpoints.json", "--to", "http://127.0.0.1:4222"], 2, "--to is the address of a NATS server"],
    [["entries.json", "--to", nowhere], 1, "store-7: this directory entry is not believed: it is not signed"],
    [["missing.json", "--to", nowhere], 2, "missing.json"],
  ] as const)("%j", async ([name, ...to], code, words) => {
    await signed();
    const ran = await command("directory", "publish", file(name), ...to, ...keys());
    expect(ran).toMatchObject({ code, notes: expect.stringContaining(words) as string });
  });

  it("an entry of another operator, an alias that is not in the file, and a model that was not signed or has changed", async () => {
    await signed();
    const strangers = ["--to", nowhere, "--operator-keys", file("stranger.pub")];
    const other = await command("directory", "publish", file("endpoints.json"), ...strangers);
    expect(other.notes).toMatch(/store-7: .*nothing was published/);
    const to = ["--to", nowhere, ...keys()];
    const alias = await command("rollout", "publish", "reader", "--file", file("endpoints.json"), ...to);
    expect(alias).toMatchObject({
      code: 2,
      notes: expect.stringContaining("has no alias 'reader'") as string,
    });
    await writeModels(file("models"));
    const model = file("models/simple");
    const unsigned = await command("package", "publish", model, ...to);
    expect(unsigned.notes).toContain("sign it first");
    await command("package", "sign", model, "--key", file("operator.pem"));
    await writeFile(join(model, "labels.txt"), "one\n");
    const changed = await command("package", "publish", model, ...to);
    expect(changed).toMatchObject({
      code: 2,
      notes: expect.stringContaining("labels.txt is not in the manifest") as string,
    });
  });

  it("a NATS server that is not there is named", async () => {
    await signed();
    const ran = await command("directory", "publish", file("endpoints.json"), "--to", nowhere, ...keys());
    expect(ran).toMatchObject({
      code: 1,
      notes: expect.stringContaining("127.0.0.1:1/longshore-endpoints cannot be reached") as string,
    });
  });
});

/** A real nats-server; `npm run conformance -- nats` installs one and says where. */
const program = process.env["LONGSHORE_NATS_SERVER"] ?? "";

describe.skipIf(!existsSync(program))("in a real nats-server", () => {
  const soon = { timeout: 60_000, interval: 100 };

  async function nats(): Promise<string> {
    const child = spawn(program, ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", file("js")]);
    running.add(child);
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => void (said += chunk.toString()));
    await vi.waitFor(() => expect(said).toContain("Server is ready"), soon);
    return `nats:127.0.0.1:${/client connections on 127.0.0.1:(\d+)/.exec(said)?.[1] ?? ""}`;
  }

  it(
    "entries and packages are published once, never over later ones, and withdrawn",
    { timeout: 120_000 },
    async () => {
      const to = ["--to", await nats()];
      const publish = async (): Promise<object> => {
        const { code, out, notes } = await command(
          "directory",
          "publish",
          file("endpoints.json"),
          ...to,
          ...keys(),
          "--json",
        );
        const { published } = JSON.parse(out) as { published?: readonly { outcome: string }[] };
        return { code, outcomes: published?.map(({ outcome }) => outcome), notes };
      };
      const missing = await command("directory", "withdraw", "store-7", ...to);
      expect(missing).toMatchObject({
        code: 2,
        notes: expect.stringContaining("no bucket 'longshore-endpoints'") as string,
      });
      await signed();
      const first = await readFile(file("endpoints.json"));
      expect(await publish()).toMatchObject({ code: 0, outcomes: ["published"] });
      expect(await publish()).toMatchObject({ code: 0, outcomes: ["unchanged"] });
      await signed();
      expect(await publish()).toMatchObject({ code: 0, outcomes: ["published"] });
      await writeFile(file("endpoints.json"), first);
      expect(await publish()).toMatchObject({ code: 1 });
      expect(await command("directory", "withdraw", "store-7", ...to)).toMatchObject({ code: 0 });
      expect(await command("directory", "withdraw", "store-7", ...to)).toMatchObject({ code: 1 });

      await writeModels(file("models"));
      const model = file("models/simple");
      const sign = async (): Promise<void> =>
        void (await command("package", "sign", model, "--key", file("operator.pem")));
      const send = () => command("package", "publish", model, ...to, ...keys());
      await sign();
      const manifest = await readFile(join(model, "package.json"));
      expect((await send()).notes).toContain("2 files sent, 0 were there");
      expect((await send()).notes).toContain("the store has it already");
      await sign();
      expect((await send()).notes).toContain("0 files sent, 2 were there");
      await writeFile(join(model, "package.json"), manifest);
      expect(await send()).toMatchObject({ code: 1, notes: expect.stringContaining("later than") as string });
    },
  );

  it(
    "a server follows an alias that was published, and forgets one that was withdrawn",
    { timeout: 240_000 },
    async () => {
      await writeModels(file("all"));
      await cp(file("all/simple"), file("models/simple"), { recursive: true });
      await cp(file("all/simple/1"), file("models/simple/2"), { recursive: true });
      const config = file("models/simple/config.pbtxt");
      await writeFile(config, `${await readFile(config, "utf8")}\nversion_policy { all { } }\n`);
      const at = await nats();
      const to = ["--to", at];
      const serving = ["--port", "0", "--data-class", "public"];
      const { address } = await listening("serve", file("models"), "--port", "0");
      const sign = async (version: string): Promise<void> => {
        const what = ["--model", "simple", "--to", version, "--at", address];
        const made = ["--file", file("endpoints.json"), "--key", file("operator.pem")];
        expect(await command("rollout", "sign", "reader", ...made, ...what)).toMatchObject({ code: 0 });
        const ran = await command(
          "rollout",
          "publish",
          "reader",
          "--file",
          file("endpoints.json"),
          ...to,
          ...keys(),
        );
        expect(ran).toMatchObject({
          code: 0,
          out: expect.stringMatching(/alias +reader +\d+ +published/) as string,
        });
      };
      await sign("1");
      const gate = await listening(
        "gateway",
        ...serving,
        "--no-joins",
        "--at",
        address,
        "--directory",
        at,
        ...keys(),
      );
      const version = async (): Promise<unknown> =>
        ((await (await fetch(`${gate.address}/v2/models/reader`)).json()) as { versions?: unknown }).versions;
      await vi.waitFor(async () => expect(await version()).toEqual(["1"]), soon);
      await sign("2");
      await vi.waitFor(async () => expect(await version()).toEqual(["2"]), soon);
      expect(await command("rollout", "withdraw", "reader", ...to)).toMatchObject({ code: 0 });
      await vi.waitFor(async () => expect(await version()).toBeUndefined(), soon);
    },
  );
});
