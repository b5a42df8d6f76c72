import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { numericTensor } from "@longshore/core";
import { int32View } from "@longshore/core/internal";
import { writeModels } from "@longshore/testkit";
import { gateway } from "./forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "./open-offloader.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-sequences-"));
  await writeModels(folder);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function server(id: string): Promise<RunningServer> {
  const running = await serve({ store: (await openModel(folder)).store, port: 0, id });
  open.push(running);
  return running;
}

/** `accumulate_int32` adds up what it is sent since the start. */
const model = "accumulate_int32";
const steps = 8;

/** How a server leaves: with or without finishing what is under way. */
const leavings: readonly (readonly [string, number])[] = [
  ["drains", 5000],
  ["is stopped at once", 0],
];

describe.each(leavings)("when the server of a sequence %s", (_name, graceMs) => {
  it("an app's sequence goes on at another", async () => {
    const servers = [await server("one"), await server("two")];
    await using offloader = await openOffloader({ servers: servers.map(({ address }) => address) });
    await using sequence = offloader.sequence(model, { dataClass: "internal" });
    let sum = 0;
    let where = "";
    const endpoints = new Set<string>();
    for (let step = 0; step < steps; step++) {
      if (step === 4) await servers.find(({ address }) => address.endsWith(where))?.close(graceMs);
      sum += step + 1;
      const input = numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(step + 1));
      const result = await sequence.next({ INPUT: input });
      where = result.where;
      endpoints.add(where);
      expect(int32View(result.outputs.get("OUTPUT")!)[0]).toBe(sum);
    }
    expect(endpoints.size).toBe(2);
  });

  it("a sequence of a client that keeps no state goes on through a gateway", async () => {
    const servers = [await server("one"), await server("two")];
    const gate = await gateway({
      port: 0,
      id: "gateway",
      dataClass: "internal",
      servers: servers.map(({ address }) => ({ address })),
    });
    open.push(gate);
    const executed = async ({ address }: RunningServer): Promise<number> => {
      const reply = await fetch(`${address}/v2/models/${model}/stats`).catch(() => undefined);
      const told = (await reply?.json()) as { model_stats?: { execution_count: number }[] } | undefined;
      return told?.model_stats?.[0]?.execution_count ?? 0;
    };
    let sum = 0;
    for (let step = 0; step < steps; step++) {
      if (step === 3) {
        const [first, second] = servers;
        if (!first || !second) throw new Error("two servers were opened");
        await ((await executed(first)) > 0 ? first : second).close(graceMs);
      }
      sum += step + 1;
      const reply = await fetch(`${gate.address}/v2/models/${model}/infer`, {
        method: "POST",
        body: JSON.stringify({
          parameters: { sequence_id: 7, sequence_start: step === 0, sequence_end: step === steps - 1 },
          inputs: [{ name: "INPUT", datatype: "INT32", shape: [1, 1], data: [step + 1] }],
        }),
      });
      const answer = (await reply.json()) as { outputs?: { name: string; data: number[] }[] };
      expect(answer, JSON.stringify(answer)).toMatchObject({ outputs: [{ name: "OUTPUT", data: [sum] }] });
    }
  });
});

describe.each([
  ["has no state", "simple_sequence", "longshore", [2, 2, 3]],
  ["stays at a server that lets none go", model, "oip", [1, 3, 6]],
] as const)("a sequence that %s", (_name, named, kind, sums) => {
  it("is answered over several ways, in an app and through gateways of gateways", async () => {
    const gates = await Promise.all(
      ["one", "two"].map(async (id) => {
        const gate = await gateway({
          port: 0,
          id: `gateway-${id}`,
          dataClass: "internal",
          servers: [{ address: (await server(id)).address, kind }],
        });
        open.push(gate);
        return gate.address;
      }),
    );
    const outer = await gateway({
      port: 0,
      id: "outer",
      dataClass: "internal",
      servers: gates.map((address) => ({ address })),
    });
    open.push(outer);
    await using offloader = await openOffloader({ servers: gates });
    await using sequence = offloader.sequence(named, { dataClass: "internal" });
    for (const [step, sum] of sums.entries()) {
      const input = numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(step + 1));
      const result = await sequence.next({ INPUT: input }, { end: step === 2 });
      expect(int32View(result.outputs.get("OUTPUT")!)[0]).toBe(sum);
      const reply = await fetch(`${outer.address}/v2/models/${named}/infer`, {
        method: "POST",
        body: JSON.stringify({
          parameters: { sequence_id: 7, sequence_start: step === 0, sequence_end: step === 2 },
          inputs: [{ name: "INPUT", datatype: "INT32", shape: [1, 1], data: [step + 1] }],
        }),
      });
      expect(await reply.json()).toMatchObject({ outputs: [{ name: "OUTPUT", data: [sum] }] });
    }
  });
});
