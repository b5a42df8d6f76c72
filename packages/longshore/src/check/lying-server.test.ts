import { once } from "node:events";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { CheckOptions, LongshoreEvent, OffloadDefaults } from "@longshore/core";
import { writeModels } from "@longshore/testkit";
import { runCommand } from "../command/run-command.ts";
import { gateway } from "../compose/forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";
import { goldenFrom } from "../engine/golden-source.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-lying-"));
  await writeModels(folder);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function server(id: string): Promise<string> {
  const running = await serve({ store: (await openModel(folder)).store, port: 0, id });
  open.push(running);
  return running.address;
}

/**
 * A relay before a server which, while it lies, makes the last number of each answer one more. It is no damaged wire: the
 * server is asked for no checksum, so none shows the change.
 */
async function liar(
  target: string,
): Promise<{ readonly address: string; lies: boolean; readonly answers: number }> {
  const state = { address: "", lies: true, answers: 0 };
  const relay = createServer((asked, reply) => {
    const { "longshore-crc32": _checksum, ...headers } = asked.headers;
    const onward = request(new URL(asked.url ?? "/", target), { method: asked.method, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer
        .on("data", (chunk: Buffer) => chunks.push(chunk))
        .on("end", () => {
          const body = Buffer.concat(chunks);
          const answers = asked.url?.endsWith("/infer") === true && body.length > 4;
          if (answers) state.answers++;
          const changes = state.lies && answers;
          if (changes) body.writeInt32LE(body.readInt32LE(body.length - 4) + 1, body.length - 4);
          reply.writeHead(answer.statusCode ?? 502, answer.headers).end(body);
        });
    });
    onward.on("error", () => reply.destroy());
    asked.pipe(onward);
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  open.push({
    close: async () => {
      relay.closeAllConnections();
      relay.close();
      await once(relay, "close");
    },
  });
  state.address = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`;
  return state;
}

const rows = Array.from({ length: 16 }, (_, index) => index);
const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: rows }));

/** Asks once; the last number of the second output, which is 0 when it is right. */
async function last(address: string, rules?: string): Promise<number | undefined> {
  const reply = await fetch(`${address}/v2/models/simple/infer`, {
    method: "POST",
    body: JSON.stringify({ inputs }),
    ...(rules === undefined ? {} : { headers: { "longshore-rules": rules } }),
  });
  if (!reply.ok) throw new Error(`${reply.status} ${await reply.text()}`);
  const { outputs } = (await reply.json()) as { outputs: { name: string; data: number[] }[] };
  return outputs.find(({ name }) => name === "OUTPUT1")?.data.at(-1);
}

async function before(addresses: readonly string[], checks: CheckOptions, defaults: OffloadDefaults = {}) {
  const events: LongshoreEvent[] = [];
  const running = await gateway({
    port: 0,
    id: "gateway",
    dataClass: "internal",
    servers: addresses.map((address) => ({ address })),
    observer: { record: (event) => void events.push(event) },
    checks,
    defaults,
  });
  open.push(running);
  const quarantined = (): readonly string[] =>
    events.flatMap((event) =>
      event.kind === "endpoint-quarantined" ? [`${event.endpoint} ${event.by}`] : [],
    );
  return { address: running.address, quarantined };
}

it("is never used by a gateway that has golden inputs, which a command makes", async () => {
  const repository = join(folder, "with-golden");
  await cp(join(folder, "simple"), join(repository, "simple"), { recursive: true });
  const said: string[] = [];
  const io = {
    out: (text: string) => void said.push(text),
    note: () => undefined,
    progress: () => undefined,
    stop: new AbortController().signal,
    environment: {},
  };
  expect(await runCommand(["golden", join(repository, "simple"), "--pairs", "2"], io)).toBe(0);
  expect(said.join("\n")).toMatch(/2 golden inputs of simple 1/);
  const lying = await liar(await server("one"));
  const golden = goldenFrom((await openModel(repository)).store);
  const gate = await before([lying.address, await server("two")], { golden, sampleRatio: 0 });
  for (let count = 0; count < 30; count++) expect(await last(gate.address)).toBe(0);
  expect(gate.quarantined()).toEqual([`${new URL(lying.address).host} golden input`]);
});

it("is found by comparing answers of a share of the requests", async () => {
  const lying = await liar(await server("one"));
  const gate = await before([lying.address, await server("two"), await server("three")], {
    sampleRatio: 0.5,
    burst: 50,
  });
  let wrong = 0;
  for (let count = 0; count < 200 && gate.quarantined().length === 0; count++) {
    wrong += (await last(gate.address)) === 0 ? 0 : 1;
  }
  expect(gate.quarantined()).toEqual([`${new URL(lying.address).host} agreement`]);
  expect(wrong).toBeLessThan(60);
  for (let count = 0; count < 30; count++) expect(await last(gate.address)).toBe(0);
});

it("raises the counter of quarantines from the 0 that a scrape before has found", async () => {
  const lying = Object.assign(await liar(await server("one")), { lies: false });
  const gate = await before([lying.address, await server("two"), await server("three")], {
    sampleRatio: 0.5,
    burst: 50,
  });
  const scrape = async (): Promise<ReadonlyMap<string, number>> => {
    const text = await (await fetch(`${gate.address}/metrics`)).text();
    const lines = [...text.matchAll(/^longshore_quarantines_total(\{.*\}) (\S+)$/gm)];
    return new Map(lines.map(([, labels = "", value]) => [labels, Number(value)]));
  };
  await last(gate.address);
  const first = await scrape();
  lying.lies = true;
  for (let count = 0; count < 200 && gate.quarantined().length === 0; count++) await last(gate.address);
  const second = await scrape();
  const grown = [...second].map(([labels, value]) => [labels, value - (first.get(labels) ?? value)] as const);
  const host = new URL(lying.address).host;
  expect(grown.filter(([, increase]) => increase > 0)).toEqual([[`{endpoint="${host}",by="agreement"}`, 1]]);
});

it("misleads no caller that has answers confirmed, at any start of its lies", async () => {
  const relays = [];
  for (const id of ["one", "two", "three"])
    relays.push(Object.assign(await liar(await server(id)), { lies: false }));
  const gate = await before(
    relays.map(({ address }) => address),
    { sampleRatio: 0 },
  );
  const rules = "class=internal;trust=none;confirm=true";
  let lying: (typeof relays)[number] | undefined;
  for (let count = 0; count < 1000 && gate.quarantined().length === 0; count++) {
    expect(await last(gate.address, rules)).toBe(0);
    if (count !== 20) continue;
    // The one that is used most.
    [lying] = relays.sort((one, other) => other.answers - one.answers);
    lying!.lies = true;
  }
  expect(gate.quarantined()).toEqual([`${new URL(lying!.address).host} agreement`]);
});

it("is not believed alone by a caller that must have answers confirmed, nor by a server without others", async () => {
  const lying = await liar(await server("one"));
  const alone = await before([lying.address], { sampleRatio: 0 }, { confirm: true });
  await expect(last(alone.address)).rejects.toThrow(/503 .*"reason":"unconfirmed"/);
  await expect(last(await server("two"), "class=internal;trust=none;confirm=true")).rejects.toThrow(
    /403 .*confirmed by a second endpoint/,
  );
});
