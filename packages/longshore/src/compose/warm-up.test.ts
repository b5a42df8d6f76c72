import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { LongshoreError } from "@longshore/core";
import { onnxRuntime, systemClock } from "@longshore/nodejs";
import { writeModels } from "@longshore/testkit";
import { openModel } from "../engine/open-model.ts";
import { serve } from "./serve.ts";
import { warmUp } from "./warm-up.ts";

const folder = await mkdtemp(join(tmpdir(), "longshore-warm-"));
const runtime = onnxRuntime();
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

describe("a warm-up", () => {
  it("is answered over HTTP and gRPC by the runtime of the server", async () => {
    const reports: string[] = [];
    const report = (text: string): void => void reports.push(text);
    const parts = { runtimes: [runtime], clock: systemClock(), mostMs: 60_000, report };
    expect(await warmUp({ ...parts, grpc: true, mostRequests: 64 })).toBe(64);
    expect(await warmUp({ ...parts, grpc: false, mostRequests: 32 })).toBe(32);
    expect(reports).toEqual([]);
  });

  it("ends in time, and says why where it does not work", async () => {
    const reports: string[] = [];
    const report = (text: string): void => void reports.push(text);
    const failing = {
      name: "failing",
      load: async () => {
        throw new LongshoreError("run-failed", "execute", "no");
      },
      close: async () => undefined,
    };
    const parts = { clock: systemClock(), grpc: false, report };
    expect(await warmUp({ ...parts, runtimes: [runtime], mostMs: 0 })).toBe(0);
    expect(reports).toEqual([]);
    expect(await warmUp({ ...parts, runtimes: [failing], mostMs: 60_000 })).toBe(0);
    expect(reports[0]).toMatch(/^the warm-up failed: .*the answer was 500 Internal Server Error: no$/);
  });

  it("leaves no trace in a server's figures", async () => {
    await writeModels(folder);
    const { store } = await openModel(folder);
    const running = await serve({ store, port: 0, warmUpMs: 200 });
    const index = await fetch(`${running.address}/v2/repository/index`, { method: "POST" });
    expect(await index.text()).not.toContain('"warm"');
    const metrics = await (await fetch(`${running.address}/metrics`)).text();
    expect(metrics).not.toContain("warm");
    expect((await fetch(`${running.address}/v2/models/warm`)).status).toBe(404);
    await running.close(0);
  });
});
