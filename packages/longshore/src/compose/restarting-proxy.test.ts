import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { writeModels } from "@longshore/testkit";
import { type FaultyRelay, faultyRelay } from "../../test/faulty-relay.ts";
import { gateway } from "./forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "./serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-restarting-"));
  await writeModels(folder);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rows = Array.from({ length: 16 }, (_, index) => index);
const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: rows }));
const body = JSON.stringify({ inputs });
const deadlineMs = 20_000;

async function relayed(id: string): Promise<FaultyRelay> {
  const running = await serve({ store: (await openModel(folder)).store, port: 0, id });
  const relay = await faultyRelay(Number(new URL(running.address).port));
  open.push(relay, running);
  return relay;
}

/** A proxy or tunnel that restarts: it refuses connections for a second, takes and closes them for three, and passes again. */
it.each([1, 2])(
  "loses no request with time left while the way to %i servers refuses, closes and heals",
  async (count) => {
    const relays = await Promise.all(Array.from({ length: count }, (_, at) => relayed(`server-${at}`)));
    /** Tries at a server that failed. */
    let failed = 0;
    const gate = await gateway({
      port: 0,
      id: "gateway",
      dataClass: "internal",
      servers: relays.map(({ address }) => address),
      observer: {
        record(event) {
          if (event.kind === "leg-ended" && event.outcome !== "won" && event.outcome !== "lost") failed++;
        },
      },
    });
    open.push(gate);
    const ask = async (): Promise<number> => {
      const reply = await fetch(`${gate.address}/v2/models/simple/infer`, {
        method: "POST",
        body,
        headers: { "longshore-deadline": `${deadlineMs}` },
      });
      await reply.arrayBuffer();
      return reply.status;
    };
    expect(await ask()).toBe(200);
    const asked: Promise<number>[] = [];
    for (const [state, requests] of [
      ["refuses", 10],
      ["closes", 30],
    ] as const) {
      await Promise.all(relays.map((relay) => relay.become(state)));
      for (let request = 0; request < requests; request++) {
        const before = failed;
        asked.push(ask());
        await vi.waitFor(() => expect(failed).toBeGreaterThan(before), 60_000);
      }
    }
    await Promise.all(relays.map((relay) => relay.become("passes")));
    for (let request = 0; request < 10; request++) asked.push(ask());
    const lost = (await Promise.all(asked)).filter((status) => status !== 200);
    expect(lost).toEqual([]);
  },
);
