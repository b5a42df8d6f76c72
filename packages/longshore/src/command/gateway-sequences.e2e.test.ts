import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { writeTotal } from "../../test/models.ts";
import { killAll, listening, type ServerProcess } from "../../test/processes.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-sequences-"));
  await writeTotal(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(killAll);

interface Step {
  readonly id: string;
  readonly add: number;
  readonly start?: boolean;
  readonly step?: number;
  readonly key?: string;
}

/** Sends one step as a client of the plain protocol does, with a number or a key where the test states one. */
async function send(address: string, { id, add, start, step, key }: Step): Promise<object> {
  const reply = await fetch(`${address}/v2/models/total/infer`, {
    method: "POST",
    headers: { "longshore-deadline": "60000", ...(key === undefined ? {} : { "idempotency-key": key }) },
    body: JSON.stringify({
      parameters: {
        sequence_id: id,
        ...(start ? { sequence_start: true } : {}),
        ...(step === undefined ? {} : { longshore_step: step }),
      },
      inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], data: [add] }],
    }),
  });
  const told = (await reply.json()) as {
    readonly outputs?: readonly { readonly name: string; readonly data: readonly number[] }[];
    readonly reason?: string;
  };
  const output = told.outputs?.find(({ name }) => name === "total");
  return output ? { total: output.data[0] } : { status: reply.status, reason: told.reason };
}

it(
  "a gateway that was killed resumes the sequences of its servers, each step once",
  { timeout: 600_000 },
  async () => {
    const servers = await Promise.all([0, 1, 2].map(() => listening("serve", folder, "--port", "0")));
    const start = (port = "0"): Promise<ServerProcess> =>
      listening(
        "gateway",
        "--port",
        port,
        "--data-class",
        "internal",
        ...servers.flatMap(({ address }) => ["--at", address]),
      );
    const before = await start();
    const { address } = before;
    const ids = ["plain", "counted", "keyed"] as const;
    for (const [at, id] of ids.entries())
      expect(await send(address, { id, add: 10 + at, start: true })).toEqual({ total: 10 + at });
    expect(await send(address, { id: "plain", add: 1 })).toEqual({ total: 11 });
    expect(await send(address, { id: "counted", add: 1, step: 1 })).toEqual({ total: 12 });
    expect(await send(address, { id: "keyed", add: 1, key: "second" })).toEqual({ total: 13 });
    before.stop("SIGKILL");
    await before.exited;
    await start(new URL(address).port);
    // The answer to this step was given before; it is given again, and the next one follows.
    expect(await send(address, { id: "counted", add: 1, step: 1 })).toEqual({ total: 12 });
    expect(await send(address, { id: "counted", add: 5, step: 2 })).toEqual({ total: 17 });
    expect(await send(address, { id: "counted", add: 5, step: 9 })).toEqual({
      status: 409,
      reason: "sequence-step",
    });
    // Without numbers the newest state is the right one: it waits until all servers had time to join again.
    expect(await send(address, { id: "plain", add: 1 })).toEqual({ total: 12 });
    expect(await send(address, { id: "plain", add: 1 })).toEqual({ total: 13 });
    expect(await send(address, { id: "keyed", add: 1, key: "second" })).toEqual({ total: 13 });
    expect(await send(address, { id: "keyed", add: 1, key: "third" })).toEqual({ total: 14 });
    expect(await send(address, { id: "never", add: 1 })).toEqual({ status: 400, reason: "sequence-unknown" });
  },
);

it(
  "a gateway that was killed resumes the sequences of servers that join it, as soon as these are back",
  { timeout: 600_000 },
  async () => {
    const start = (port = "0"): Promise<ServerProcess> =>
      listening("gateway", "--port", port, "--data-class", "internal");
    const before = await start();
    const { address } = before;
    const listed = async (): Promise<number> => {
      const reply = await fetch(`${address}/v2/directory`);
      return ((await reply.json()) as { readonly records: readonly unknown[] }).records.length;
    };
    for (const _ of [1, 2]) await listening("serve", folder, "--port", "0", "--join", address);
    await vi.waitFor(async () => expect(await listed()).toBe(2), 60_000);
    expect(await send(address, { id: "joined", add: 1, start: true })).toEqual({ total: 1 });
    before.stop("SIGKILL");
    await before.exited;
    await start(new URL(address).port);
    expect(await send(address, { id: "joined", add: 1 })).toEqual({ total: 2 });
    const told = (await (await fetch(`${address}/v2/directory`)).json()) as object;
    expect(told).not.toHaveProperty("settling");
    expect(await listed()).toBe(2);
  },
);
