import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const command = join(root, "packages/longshore/bin/longshore.js");
const running: ChildProcess[] = [];

afterEach(async () => {
  for (const one of running.splice(0).reverse()) {
    if (one.exitCode !== null) continue;
    const ended = new Promise((resolve) => one.once("exit", resolve));
    one.kill();
    await ended;
  }
});

/** A program and what it has printed. */
function start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env } });
  running.push(child);
  let out = "";
  let errors = "";
  child.stderr.on("data", (piece: Buffer) => (errors += piece.toString()));
  const lines = new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (piece: Buffer) => {
      out += piece.toString();
      if (out.includes("listening on")) resolve(/listening on (\S+)/.exec(out)?.[1] ?? "");
    });
    child.once("exit", (code) => reject(new Error(`it ended with ${code}: ${errors}`)));
  });
  lines.catch(() => undefined);
  return {
    /** The address that it listens on. */
    address: lines,
    /** All that it printed, once it is done. */
    output: new Promise<string>((resolve, reject) =>
      child.once("exit", (code) => (code === 0 ? resolve(out) : reject(new Error(errors)))),
    ),
  };
}

it("the Fastify app answers with the text of a receipt, and names the problem of other bytes", async () => {
  const app = start(["examples/fastify/server.mjs"], { PORT: "0" });
  app.output.catch(() => undefined);
  const address = await app.address;
  const post = async (body: Uint8Array<ArrayBuffer>) => {
    const reply = await fetch(`${address}/receipts`, {
      method: "POST",
      headers: { "content-type": "image/jpeg" },
      body,
    });
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
  };
  const image = new Uint8Array(await readFile(join(root, "samples/inputs/images/receipt-1.jpg")));
  const read = await post(image);
  expect(read).toMatchObject({ status: 200, body: { where: "device" } });
  expect(read.body["lines"]).toContain("HARBOUR MARKET");
  expect(await post(new Uint8Array([1, 2, 3]))).toMatchObject({
    status: 400,
    body: { reason: "invalid-media" },
  });
});

it("the camera answers frames in order and reports each dropped one", async () => {
  const lines = (await start(["examples/camera/camera.mjs"]).output).trim().split("\n");
  const frames = lines.map((line) => Number(/^frame (\d+): /.exec(line)?.[1]));
  expect(frames).toEqual([...frames].sort((a, b) => a - b));
  const dropped = lines.map((line) => Number(/: (\d+) dropped/.exec(line)?.[1] ?? 0));
  const answered = lines.filter((line) => line.endsWith("lines, device")).length;
  expect(answered + dropped.reduce((sum, count) => sum + count, 0)).toBe(12);
});

it("the edge box answers for its own model and forwards the others to the cloud", async () => {
  const repository = "samples/repository";
  const serve = (...args: string[]) => {
    const server = start([command, "serve", repository, "--port", "0", "--no-grpc-port", ...args]);
    server.output.catch(() => undefined);
    return server.address;
  };
  const text = await readFile(join(root, "examples/edge-and-cloud/device.mjs"), "utf8");
  const optionsOf = (id: string): string[] => {
    const words = new RegExp(
      `longshore serve ${repository} (.*--id ${id}[\\s\\S]*?)\\n//   (?:longshore|node)`,
    ).exec(text)?.[1];
    return (words ?? "")
      .replaceAll(/\\\n\/\//g, " ")
      .replace(/--port \d+/, "")
      .trim()
      .split(/\s+/);
  };
  const cloud = await serve(...optionsOf("cloud"));
  const edge = await serve(...optionsOf("edge").map((word) => (word.startsWith("http:") ? cloud : word)));
  // A first question has the models read, which takes a while on a busy machine.
  for (const at of [cloud, edge])
    await expect.poll(async () => (await fetch(`${at}/v2/models/ocr`)).status).toBe(200);
  const said = await start(["examples/edge-and-cloud/device.mjs"], { EDGE: edge }).output;
  const [at, behind] = [new URL(edge).host, new URL(cloud).host];
  expect(said).toBe(`anomaly ran at ${at}\nocr ran at ${at} > ${behind}: HARBOUR MARKET\n`);
});
