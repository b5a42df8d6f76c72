import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { writeModels } from "@longshore/testkit";
import { openModel } from "../engine/open-model.ts";
import { serve } from "./serve.ts";

const folder = await mkdtemp(join(tmpdir(), "longshore-batch-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

it("a server of a real model that batches reports with its replies how requests share runs, by its own runs", async () => {
  await writeModels(folder);
  await appendFile(join(folder, "simple", "config.pbtxt"), "\ndynamic_batching { }\n");
  const running = await serve({ store: (await openModel(folder)).store, port: 0 });
  const data = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  const ask = async (): Promise<string> => {
    const body = JSON.stringify({ inputs });
    const reply = await fetch(`${running.address}/v2/models/simple/infer`, { method: "POST", body });
    expect(reply.status).toBe(200);
    await reply.arrayBuffer();
    return reply.headers.get("longshore-load") ?? "";
  };
  for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 8 }, ask));
  const load = await ask();
  await running.close(0);
  const [, requests, share] = /;batch=([0-9.]+);share=([0-9.]+)$/.exec(load) ?? [];
  expect(Number(requests)).toBeGreaterThanOrEqual(1);
  expect(Number(requests)).toBeLessThanOrEqual(8);
  expect(Number(share)).toBeGreaterThan(0);
  expect(Number(share)).toBeLessThanOrEqual(1);
});
