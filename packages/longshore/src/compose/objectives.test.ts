import { join } from "node:path";
import { untyped } from "@longshore/testkit";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { float32Tensor, type Limits, type Offloader } from "@longshore/core";
import { constantTrace, linkProxy, type LinkProxy } from "@longshore/lab";
import { command } from "../../test/command.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "./open-offloader.ts";
import { type Online } from "./put-online.ts";
import { gateway } from "./forwarding.ts";
import { installedSamples } from "../engine/samples.ts";
import { type RunningServer, serve } from "./serve.ts";

/** One far away that takes little for each megabyte, one beside the gateway that takes much. */
let servers: readonly RunningServer[];
let far: LinkProxy;
let gate: Online;
let app: Offloader;
let repository: string;

const readings = float32Tensor("readings", [1, 32, 4096], new Float32Array(32 * 4096).fill(0.1));
const farMs = 1200;

beforeAll(async () => {
  repository = (await installedSamples())!;
  const origin = async (id: string) => serve({ store: (await openModel(repository)).store, port: 0, id });
  servers = await Promise.all([origin("cheap"), origin("dear")]);
  far = await linkProxy({
    target: { port: Number(new URL(servers[0]!.address).port) },
    up: constantTrace(400e6),
    down: constantTrace(400e6),
    delayMs: farMs / 2,
  });
  gate = await gateway({
    port: 0,
    dataClass: "internal",
    checks: { sampleRatio: 0 },
    servers: [
      { address: `http://127.0.0.1:${far.port}`, id: "cheap", microsPerMegabyte: 10 },
      { address: servers[1]!.address, id: "dear", microsPerMegabyte: 1000 },
    ],
  });
  app = await openOffloader({ servers: [gate.address] });
});
afterAll(async () => {
  await app.close();
  await gate.close(0);
  await far.close();
  await Promise.all(servers.map((server) => server.close(0)));
});

/** The server that answers for the gateway, once it is the expected one. */
const goesTo = (id: string, limits: Limits): Promise<void> =>
  vi.waitFor(
    async () => {
      const { accounts } = await app.infer("anomaly", { readings }, { dataClass: "public", ...limits });
      expect(accounts.at(-1)!.forwarded.map(({ endpoint }) => endpoint)).toEqual([id]);
    },
    { timeout: 60_000, interval: 10 },
  );

it("a gateway minimises the app's objective, request by request", async () => {
  await goesTo("dear", {});
  await goesTo("cheap", { objective: "cost" });
  // A request costs 5 micros or 500: those are worth a millisecond together, then minutes.
  await goesTo("dear", { objective: "mean=1,cost=0.001" });
  await goesTo("cheap", { objective: "mean=1,cost=1000" });
  // The cheapest of those that keep the deadline with this probability; the far one never does.
  await goesTo("dear", { objective: "cost", deadlineMs: farMs - 100, minInTimeRatio: 0.5 });
  await goesTo("cheap", { objective: "cost", deadlineMs: 600_000, minInTimeRatio: 0.9 });
  await goesTo("dear", { objective: "chance", deadlineMs: farMs - 100 });
}, 300_000);

it("refuses an objective that it cannot minimise, here and at the gateway", async () => {
  const asked = (limits: object) =>
    app.infer("anomaly", { readings }, untyped({ dataClass: "public", ...limits }));
  await expect(asked({ objective: "speed" })).rejects.toMatchObject({
    reason: "invalid-input",
    message: expect.stringContaining("'speed' is none of mean, p1 to p99, energy, cost and carbon"),
  });
  await expect(asked({ objective: "chance" })).rejects.toThrow("needs a deadline: deadlineMs");
  await expect(asked({ minInTimeRatio: 0.9 })).rejects.toThrow("limits.minInTimeRatio needs a deadline");
  const response = await fetch(`${gate.address}/v2/models/anomaly/infer`, {
    method: "POST",
    headers: { "content-type": "application/json", "longshore-goal": "speed" },
    body: JSON.stringify({
      inputs: [{ name: "readings", datatype: "FP32", shape: [0, 32, 4096], data: [] }],
    }),
  });
  expect(response.status).toBe(400);
  expect(await response.text()).toContain("longshore-goal must name an objective");
});

it("the command takes the same words, and says why of them", async () => {
  const plan = (...words: readonly string[]) =>
    command("plan", join(repository, "anomaly"), "--random", ...words);
  const kept = await plan("--objective", "chance", "--deadline", "60000");
  expect([kept.code, kept.notes.includes("error")]).toEqual([0, false]);
  expect(kept.out).toContain("in time in 100 % of all cases");
  expect((await plan("--objective", "p95")).out).toMatch(/95 % of the time within [\d.]+ ms/);
  expect((await plan("--objective", "mean=1,energy=0.2")).out).toContain("(least of mean=1,energy=0.2)");
  const speed = await plan("--objective", "speed");
  expect(speed.code).toBe(2);
  expect(speed.notes).toContain(
    "--objective speed: 'speed' is none of mean, p1 to p99, energy, cost and carbon",
  );
  const sure = await plan("--in-time", "99", "--deadline", "200");
  expect(sure.notes).toContain("--in-time wants a number from 0 to 1, not '99'");
});
