import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { writeModels } from "@longshore/testkit";
import { command } from "../../test/command.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";
import { runCommand } from "../command/run-command.ts";
import type { Terminal } from "../options/io.ts";

let folder: string;
let server: Awaited<ReturnType<typeof serve>>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-top-"));
  await writeModels(folder);
  const { store } = await openModel(folder);
  server = await serve({ store, port: 0, prices: { microsPerRequest: 5 } });
  const data = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  const body = JSON.stringify({ inputs });
  const reply = await fetch(`${server.address}/v2/models/simple/infer`, { method: "POST", body });
  expect(reply.status).toBe(200);
});
afterEach(async () => {
  await server.close(0);
  await rm(folder, { recursive: true, force: true });
});

it("prints one look and ends where there is no terminal", async () => {
  const { code, out } = await command("top", "--at", server.address, "--total");
  expect(code).toBe(0);
  expect(out).toMatch(/^longshore 0\.1\.0 {2}http:\/\/127\.0\.0\.1:\d+ {2}ready {2}since the start$/m);
  expect(out).toMatch(/^simple +1 +1 +0 /m);
  expect(out).toMatch(/^local +1 +0 /m);
  expect(out).not.toContain("\u001b");
});

it("prints a JSON line for each look", async () => {
  const { out } = await command("top", "--at", server.address, "--json", "--count", "2", "--every", "0.2");
  const looks = out.split("\n").map((line) => JSON.parse(line) as { isReady: boolean; models: object[] });
  expect(looks).toHaveLength(2);
  expect(looks[1]).toMatchObject({ isReady: true, models: [{ name: "simple", answered: 0, p50Ms: null }] });
});

it("says what failed where nothing answers, and refuses a pause of nothing", async () => {
  expect(await command("top", "--at", "http://127.0.0.1:1")).toMatchObject({
    code: 1,
    notes: expect.stringContaining("127.0.0.1:1") as string,
  });
  expect(await command("top", "--every", "0")).toMatchObject({ code: 2 });
});

it("draws on a terminal, obeys keys, and leaves the terminal as it was", async () => {
  let written = "";
  let press: (key: string) => void = () => undefined;
  let listening = 0;
  const listener = (): Disposable => {
    listening++;
    return { [Symbol.dispose]: () => void listening-- };
  };
  const terminal: Terminal = {
    size: () => ({ columns: 80, rows: 24 }),
    write: (text) => void (written += text),
    onKey(listen) {
      press = listen;
      return listener();
    },
    onResize: listener,
  };
  const running = runCommand(["top", "--at", server.address, "--every", "0.2"], {
    out: () => undefined,
    note: () => undefined,
    progress: () => undefined,
    terminal,
    environment: { NO_COLOR: "1" },
    stop: new AbortController().signal,
  });
  /** The lines of the last whole screen. */
  const screen = (): string => written.split("\u001b[H").at(-1)?.replaceAll("\u001b[K", "") ?? "";
  const soon = { timeout: 60_000, interval: 20 };
  await vi.waitFor(() => expect(screen()).toMatch(/simple +1 +0 +0/), soon);
  press("t");
  await vi.waitFor(() => expect(screen()).toMatch(/since the start[^]*simple +1 +1 +0/), soon);
  press("s");
  await vi.waitFor(() => expect(screen()).toContain("by time"), soon);
  press(" ");
  await vi.waitFor(() => expect(screen()).toContain("paused"), soon);
  press("?");
  await vi.waitFor(() => expect(screen()).toContain("q, Ctrl-C  end"), soon);
  press("q");
  expect(await running).toBe(0);
  expect(written.startsWith("\u001b[?1049h\u001b[?25l")).toBe(true);
  expect(written.endsWith("\u001b[?25h\u001b[?1049l")).toBe(true);
  expect(listening).toBe(0);
});
