import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { writeModels } from "@longshore/testkit";
import { type FaultyRelay, faultyRelay } from "../../test/faulty-relay.ts";
import { answer, before, closeAll, upstream } from "../../test/upstream.ts";
import { gateway } from "./forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "./serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-lock-out-"));
  await writeModels(folder);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
  await closeAll();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function relayed(id: string): Promise<FaultyRelay> {
  const running = await serve({ store: (await openModel(folder)).store, port: 0, id });
  const relay = await faultyRelay(Number(new URL(running.address).port));
  open.push(relay, running);
  return relay;
}

const rows = Array.from({ length: 16 }, (_, index) => index);
const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: rows }));

function ask(address: string, deadlineMs?: number): Promise<Response> {
  const body = JSON.stringify({ inputs });
  const headers = deadlineMs === undefined ? {} : { "longshore-deadline": `${deadlineMs}` };
  return fetch(`${address}/v2/models/simple/infer`, { method: "POST", body, headers });
}

/** A gateway before relays, which resends requests in this many rounds. */
async function gatewayBefore(relays: readonly FaultyRelay[], mostRounds = 10): Promise<string> {
  const servers = relays.map(({ address }) => address);
  const retry = { mostRounds };
  const gate = await gateway({ port: 0, id: "gateway", dataClass: "internal", servers, retry });
  open.push(gate);
  return gate.address;
}

it.each([1, 2])(
  "sends to %i servers at once that are healthy again after they refused connections and then closed them",
  async (count) => {
    const relays = await Promise.all(Array.from({ length: count }, (_, at) => relayed(`server-${at}`)));
    const gate = await gatewayBefore(relays, 0);
    expect((await ask(gate)).status).toBe(200);
    for (const state of ["refuses", "closes"] as const) {
      await Promise.all(relays.map((relay) => relay.become(state)));
      const before = relays.map(({ taken }) => taken);
      for (let request = 0; request < 12; request++) {
        const reply = await ask(gate);
        const { reason } = (await reply.json()) as { reason: string };
        expect([reply.status, reason]).toEqual(
          state === "refuses" ? [502, "unreachable"] : [504, "no-answer"],
        );
      }
      // None of these is left out because of how it failed.
      if (state === "closes")
        for (const [at, { taken }] of relays.entries()) expect(taken).toBeGreaterThan(before[at]!);
    }
    await Promise.all(relays.map((relay) => relay.become("passes")));
    for (let request = 0; request < 10; request++) expect((await ask(gate)).status).toBe(200);
  },
);

it("says when to come again while its only server refuses for load, and answers then", async () => {
  let busy = true;
  const address = await upstream((request, response) => {
    request.resume();
    if (busy) {
      response.writeHead(503, { "retry-after": "1" }).end(JSON.stringify({ error: "busy" }));
      return;
    }
    response.write(answer(response, 1));
    response.end(Buffer.alloc(4));
  });
  const gate = await before([address]);
  const sum = (): Promise<Response> =>
    fetch(`${gate.address}/v2/models/sum/infer`, {
      method: "POST",
      body: JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1], data: [1] }] }),
    });
  expect((await sum()).status).toBe(503);
  busy = false;
  const refused = await sum();
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await refused.json()).toMatchObject({ reason: "no-endpoint", retryAfterMs: expect.any(Number) });
  await expect.poll(async () => (await sum()).status, { timeout: 10_000, interval: 100 }).toBe(200);
});

it("sends a request again to its only server after a reset, while its deadline leaves time", async () => {
  const relay = await relayed("server");
  const gate = await gatewayBefore([relay]);
  expect((await ask(gate)).status).toBe(200);
  await relay.become("closes");
  const { taken } = relay;
  const asked = ask(gate, 20_000);
  await expect.poll(() => relay.taken, { timeout: 10_000, interval: 5 }).toBeGreaterThan(taken);
  await relay.become("passes");
  expect((await asked).status).toBe(200);
});

it("sends to the server that failed a request again when the other one holds it", async () => {
  const relays = [await relayed("one"), await relayed("two")] as const;
  const gate = await gatewayBefore(relays);
  for (let request = 0; request < 20; request++) expect((await ask(gate)).status).toBe(200);
  await relays[0].become("holds");
  await relays[1].become("closes");
  const { taken } = relays[1];
  const beganMs = performance.now();
  const asked = ask(gate, 20_000);
  await expect.poll(() => relays[1].taken, { timeout: 10_000, interval: 5 }).toBeGreaterThan(taken);
  await relays[1].become("passes");
  expect((await asked).status).toBe(200);
  expect(performance.now() - beganMs).toBeLessThan(10_000);
});

it.each([300, 1500, 4000])(
  "reports that the deadline of %i ms passed while a silent server was polled",
  async (deadlineMs) => {
    const relay = await relayed("server");
    const gate = await gatewayBefore([relay]);
    await relay.become("holds");
    const reply = await ask(gate, deadlineMs);
    const { reason } = (await reply.json()) as { reason: string };
    expect([reply.status, reason]).toEqual([504, "deadline-exceeded"]);
  },
);
