import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening, type ServerProcess } from "../../test/processes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-away-"));
  await writeDouble(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(killAll);

const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] });

async function ask({ address }: ServerProcess): Promise<string> {
  const reply = await fetch(`${address}/v2/models/double/infer`, { method: "POST", body });
  const text = await reply.text();
  return reply.status === 200 && text.includes("[2,4,6,8]") ? "right" : `${reply.status} ${text}`;
}

/** Asks all the time, some fifty times a second. */
function load(server: ServerProcess): {
  readonly counts: { right: number };
  readonly wrong: string[];
  end(): Promise<void>;
} {
  const counts = { right: 0, over: false };
  const wrong: string[] = [];
  const client = async (): Promise<void> => {
    while (!counts.over) {
      const said = await ask(server).catch(String);
      if (said === "right") counts.right++;
      else wrong.push(said);
      await wait(20);
    }
  };
  const clients = [client(), client()];
  return {
    counts,
    wrong,
    async end() {
      counts.over = true;
      await Promise.all(clients);
    },
  };
}

async function metric({ address }: ServerProcess, name: string): Promise<number> {
  const text = await (await fetch(`${address}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1] ?? NaN);
}
const age = (server: ServerProcess): Promise<number> => metric(server, "longshore_directory_age_seconds");

const within = { timeout: 60_000, interval: 100 };

/** A server that joins a directory server. */
const member = (directoryServer: string, id: string): Promise<ServerProcess> =>
  listening("serve", folder, "--port", "0", "--join", directoryServer, "--id", id);
const directoryServer = (...more: readonly string[]): Promise<ServerProcess> =>
  listening("gateway", "--data-class", "internal", ...more);

it(
  "a directory server that hangs, dies and comes back empty disturbs no reader, and all changes are caught up",
  { timeout: 180_000 },
  async () => {
    const first = await directoryServer("--port", "0");
    const members = await Promise.all(["one", "two"].map((id) => member(first.address, id)));
    const reader = await directoryServer("--port", "0", "--no-joins", "--directory", first.address);
    await expect.poll(() => ask(reader), within).toBe("right");
    await expect.poll(() => metric(reader, "longshore_directory_entries"), within).toBe(2);
    const { counts, wrong, end } = load(reader);
    const goesOn = async (): Promise<void> => {
      const before = counts.right;
      await expect.poll(() => counts.right, within).toBeGreaterThan(before + 20);
    };
    first.stop("SIGSTOP");
    await expect.poll(() => age(reader), within).toBeGreaterThan(3);
    first.stop("SIGKILL");
    await first.exited;
    // An endpoint that goes while the directory server is down costs no request either.
    members[0]!.stop();
    expect(await members[0]!.exited).toBe(0);
    await goesOn();
    const second = await directoryServer("--port", new URL(first.address).port);
    // It begins with an empty list, which must not be taken for news.
    await expect.poll(() => age(reader), within).toBeLessThan(2.5);
    await member(second.address, "three");
    const added = (line: string): boolean => line.includes('"directory-changed"') && line.includes('"three"');
    await expect.poll(() => reader.told.some(added), within).toBe(true);
    members[1]!.stop();
    expect(await members[1]!.exited).toBe(0);
    await goesOn();
    await end();
    expect(wrong).toEqual([]);
  },
);

it("the fate of a directory is logged and counted by the gateway that reads it, also before it listens", async () => {
  const file = join(folder, "endpoints.yaml");
  const endpoints =
    "schemaVersion: 1\nentries: [{ id: one, address: http://127.0.0.1:1, tier: edge, zone: eu }]\n";
  await writeFile(file, endpoints);
  const reader = await directoryServer(
    "--port",
    "0",
    "--no-joins",
    "--directory",
    file,
    "--log-level",
    "info",
  );
  const said = (...words: readonly string[]): boolean =>
    reader.notes.some((line) => words.every((word) => line.includes(word)));
  const changes = await metric(reader, "longshore_directory_changes_total");
  expect([changes, said('"directory":"file endpoints.yaml"', '"one"', '"added"')]).toEqual([1, true]);
  await writeFile(file, "not: [endpoints");
  await expect.poll(() => said("file endpoints.yaml", "out of touch", "warning"), within).toBe(true);
  await writeFile(file, endpoints.replace("eu", "us"));
  await expect.poll(() => said('"one"', '"changed"', "behindMs"), within).toBe(true);
});
