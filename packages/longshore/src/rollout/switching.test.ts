import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type Endpoint,
  endCut,
  float32Tensor,
  float32View,
  LongshoreError,
  seededRandom,
  silentObserver,
  startCut,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { openFleet } from "../../test/fleet.ts";
import { writeVersion } from "../../test/models.ts";
import { dial, serverInfo } from "../connect/dial.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { serve } from "../compose/serve.ts";

let folder: string;
/** Of a gateway before two servers, and of a server that is alone. */
let address: string;
let alone: string;
let client: Endpoint;
const open: { close(graceMs?: number): Promise<void> }[] = [];
const x = float32Tensor("x", [1, 4], Float32Array.of(1, 2, 3, 4));
const call = {
  ...housekeepingCall("test"),
  rules: { dataClass: "internal", leastTrust: "none" } as const,
};

/** The effect of the versions on 1: head and tail have factors of their own, so that a mixture of two versions shows. */
const factors = { "1": [2, 3], "2": [5, 7], "3": [2, 3] } as const;

/** The third version is the first, but fails where the last value is 4. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-switching-"));
  for (const [version, [head, tail]] of Object.entries(factors)) {
    await writeVersion(folder, "table", version, (build, x) => {
      const factor = (name: string, value: number): string =>
        build.weights(name, "FP32", [4], new Float32Array(4).fill(value));
      const middle = build.node("Mul", [x, factor("head", head)], { outputs: ["middle"] });
      let last = build.node("Mul", [middle, factor("tail", tail)]);
      if (version === "3") {
        const table = build.weights("table", "FP32", [4], new Float32Array(4));
        const index = build.node("Cast", [build.node("Div", [middle, factor("again", head)])], {
          attributes: { to: { int: 7 } },
        });
        last = build.node("Add", [last, build.node("Gather", [table, index])]);
      }
      return build.node("Identity", [last], { outputs: ["y"] });
    });
  }
  const fleet = await openFleet(folder);
  ({ address } = fleet);
  const { store } = await openModel(folder);
  const own = await serve({ store, port: 0, id: "own", allowManagement: true });
  alone = own.address;
  const parts = { clock: systemClock(), random: seededRandom(1), observer: silentObserver };
  client = dial(serverInfo(alone), parts);
  open.push(client, fleet, own);
});
afterAll(async () => {
  for (const one of open) await one.close(0);
  rmSync(folder, { recursive: true, force: true });
});

const rollout = async (at: string, ...args: readonly string[]): Promise<string> =>
  (await command("rollout", ...args, "--at", at)).said;

const first = (outputs: Tensors, name: string): number => float32View(outputs.get(name) as Tensor)[0] ?? NaN;

/** Head and tail under the alias, as requests of a device that knows what the alias is. */
async function inParts(): Promise<string> {
  const { description } = (await client.describe("reader", undefined, call))!;
  const { version, digest } = description;
  const part = (from: string, to: string, inputs: Tensors) =>
    client.infer(
      { segment: { model: "reader", version, digest, variant: "default", from, to }, codecs: {}, inputs },
      call,
    );
  const head = await part(startCut, "c1", tensorsOf(x));
  const tail = await part("c1", endCut, head.outputs);
  expect([head.account.segment.digest, tail.account.segment.digest]).toEqual([digest, digest]);
  return `${version} ${first(tail.outputs, "y")}`;
}

it("head and tail are of one version while an alias is switched under load, and no caller of the whole notices", async () => {
  expect(await rollout(alone, "set", "reader", "--model", "table", "--to", "1")).toContain(
    "leads to table 1",
  );
  const offloader = await openOffloader({ servers: [alone], defaults: { dataClass: "internal" } });
  const counts = new Map<string, number>();
  const load = { over: false };
  const loop = async (what: string, ask: () => Promise<string>): Promise<void> => {
    while (!load.over) {
      const said = `${what} ${await ask().catch((thrown: unknown) => LongshoreError.from(thrown, "plan", "asking").reason)}`;
      counts.set(said, (counts.get(said) ?? 0) + 1);
    }
  };
  const whole = async (): Promise<string> =>
    String(first((await offloader.infer("reader", { x })).outputs, "y"));
  const work = [inParts, inParts, whole, whole].map((ask) => loop(ask === whole ? "whole" : "parts", ask));
  const answers = { "1": 6, "2": 35 } as const;
  /** Answers of the version: those in parts, or those of the whole, whichever are fewer. */
  const answered = (version: "1" | "2"): number => {
    const value = answers[version];
    return Math.min(counts.get(`parts ${version} ${value}`) ?? 0, counts.get(`whole ${value}`) ?? 0);
  };
  try {
    for (let turn = 0; turn < 12; turn++) {
      const [now, to] = turn % 2 === 0 ? (["1", "2"] as const) : (["2", "1"] as const);
      // Both kinds of callers get answers of the leading version before it changes, however slow the machine is.
      const before = answered(now);
      await expect.poll(() => answered(now), { timeout: 60_000 }).toBeGreaterThan(before + 2);
      expect(await rollout(alone, "set", "reader", "--model", "table", "--to", to)).toContain(
        `leads to table ${to}`,
      );
    }
  } finally {
    load.over = true;
  }
  await Promise.all(work);
  await offloader.close();
  // A caller whose head the alias no longer leads to is told so, and sends the request again.
  const allowed = ["parts 1 6", "parts 2 35", "parts unknown-version", "whole 6", "whole 35"];
  expect([...counts.keys()].filter((said) => !allowed.includes(said))).toEqual([]);
});

it("a canary that fails under load from several callers is covered for each of them, and rolled back", async () => {
  await rollout(address, "set", "reader", "--model", "table", "--to", "1");
  await rollout(address, "start", "reader", "--to", "3", "--weight", "0.5");
  const seen = new Set<string>();
  const load = { over: false };
  const caller = async (from: number): Promise<void> => {
    for (let count = from; !load.over; count++) {
      const data = [1, 2, 3, count % 2 === 0 ? 4 : 3];
      const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data }] });
      const reply = await fetch(`${address}/v2/models/reader/infer`, { method: "POST", body });
      const json = (await reply.json()) as { model_version: string; outputs?: { data: number[] }[] };
      expect([reply.status, json.outputs?.[0]?.data]).toEqual([200, data.map((value) => 6 * value)]);
      seen.add(json.model_version);
    }
  };
  const callers = Array.from({ length: 6 }, (_, index) => caller(index));
  try {
    await expect
      .poll(() => rollout(address, "status", "reader"), { timeout: 60_000 })
      .toMatch(/rolled back: \d+ of \d+ requests failed, of the stable version 0 of \d+/);
  } finally {
    load.over = true;
  }
  await Promise.all(callers);
  expect([...seen].sort()).toEqual(["1", "3"]);
});
