import { mkdtemp, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { LongshoreEvent } from "@longshore/core";
import { writeDouble } from "../../test/models.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "./open-offloader.ts";
import { serve } from "./serve.ts";

const open: { close(graceMs?: number): Promise<void> }[] = [];
afterAll(async () => {
  for (const one of open) await one.close(0);
});

it("an app keeps its learned beliefs of a link and its server, and ignores a torn file with one event", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-beliefs-"));
  await writeDouble(join(folder, "models"));
  const server = await serve({ store: (await openModel(join(folder, "models"))).store, port: 0, id: "edge" });
  open.push(server);
  const beliefs = join(folder, "app", "beliefs.json");
  const events: LongshoreEvent[] = [];
  const run = async (): Promise<void> => {
    const offloader = await openOffloader({
      servers: [server.address],
      defaults: { dataClass: "public" },
      observer: { record: (event) => void events.push(event) },
      beliefs,
    });
    for (let count = 0; count < 12; count++)
      await offloader.infer("double", { x: new Float32Array([1, 2, 3, 4]) }, { deadlineMs: 60_000 });
    await offloader.close();
  };
  await run();
  if (process.platform !== "win32") expect((await stat(beliefs)).mode & 0o777).toBe(0o600);
  const kept = await readFile(beliefs, "utf8");
  const { links, servers } = JSON.parse(kept) as Record<string, Record<string, { roundTripMs?: number }>>;
  expect(Object.values(links!).some(({ roundTripMs = 0 }) => roundTripMs > 0)).toBe(true);
  expect(Object.keys(servers!)).toHaveLength(1);
  await writeFile(beliefs, kept.slice(1));
  await run();
  const failures = events.filter((event) => event.kind === "failure");
  expect(failures).toEqual([expect.objectContaining({ reason: "invalid-configuration" })]);
  expect(await readFile(`${beliefs}.ignored`, "utf8")).toBe(kept.slice(1));
});
