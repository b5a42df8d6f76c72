import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { constantTrace, linkShapes, syntheticTrace, uploadMs } from "../trace/index.ts";
import { linkProxy, type LinkProxy, type LinkProxyOptions } from "./index.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

/** A server that counts what comes and answers each connection's end with one byte; returns its port and counters. */
async function counter(): Promise<{ port: number; seen: () => number; done: Promise<number> }> {
  let bytes = 0;
  let settle: (atMs: number) => void;
  const done = new Promise<number>((resolve) => (settle = resolve));
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("data", (chunk: Buffer) => (bytes += chunk.byteLength));
    socket.on("end", () => {
      settle(performance.now());
      socket.end("x");
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push({ close: () => server.close() });
  return { port: (server.address() as AddressInfo).port, seen: () => bytes, done };
}

async function proxyTo(port: number, more: Partial<LinkProxyOptions> = {}): Promise<LinkProxy> {
  const fast = constantTrace(1e9);
  const proxy = await linkProxy({ target: { port }, up: fast, down: fast, delayMs: 0, ...more });
  open.push(proxy);
  return proxy;
}

function dial(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  open.push({ close: () => socket.destroy() });
  socket.on("error", () => undefined);
  return socket;
}

/** Sends and ends; resolves when the other side has ended too. */
function exchange(port: number, bytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = dial(port);
    let answered = false;
    socket.on("data", () => (answered = true));
    socket.on("end", () => answered && resolve(performance.now()));
    socket.on("close", () => reject(new Error("closed early")));
    socket.end(new Uint8Array(bytes));
  });
}

describe("linkProxy", () => {
  it("carries 600 kB over 20 Mbit/s whole, and no quicker than that takes", async () => {
    const server = await counter();
    const proxy = await proxyTo(server.port, { up: constantTrace(20e6), delayMs: 10 });
    const beganMs = performance.now();
    exchange(proxy.port, 600_000).catch(() => undefined);
    const tookMs = (await server.done) - beganMs;
    expect(server.seen()).toBe(600_000);
    expect(proxy.carriedBytes.up).toBe(600_000);
    // Further delay is the machine's doing, too; the delay of the lane itself has a test of its own.
    expect(tookMs / (uploadMs(constantTrace(20e6), 0, 600_000) + 10)).toBeGreaterThan(0.95);
  });

  it("follows a packet trace with stalls", async () => {
    const trace = syntheticTrace({ ...linkShapes.stalling, stallsPerSecond: 2, stallMeanMs: 150 }, 5, 20_000);
    const server = await counter();
    const proxy = await proxyTo(server.port, { up: trace });
    const madeMs = performance.now();
    exchange(proxy.port, 300_000).catch(() => undefined);
    const tookMs = (await server.done) - madeMs;
    const expectedMs = uploadMs(trace, 0, 300_000);
    // Never quicker than the trace lets it be: the stalls are there.
    expect(tookMs / expectedMs).toBeGreaterThan(0.9);
  });

  it("shares the link between connections and hands both ends back whole", async () => {
    const server = await counter();
    const proxy = await proxyTo(server.port, { up: constantTrace(40e6), delayMs: 5, jitterMs: 5, seed: 9 });
    await Promise.all(Array.from({ length: 8 }, () => exchange(proxy.port, 50_000)));
    expect(server.seen()).toBe(400_000);
    expect(proxy.carriedBytes).toEqual({ up: 400_000, down: 8 });
  });

  it("slows a fast sender down instead of taking everything into its memory", async () => {
    const server = await counter();
    const proxy = await proxyTo(server.port, { up: constantTrace(1e6), bufferBytes: 32_768 });
    const socket = dial(proxy.port);
    let drained = false;
    socket.once("drain", () => (drained = true));
    // More than all kernel buffers on the way can hold.
    socket.write(new Uint8Array(64_000_000));
    await until(() => proxy.carriedBytes.up > 20_000);
    expect(drained).toBe(false);
    expect(proxy.carriedBytes.up).toBeLessThan(2_000_000);
  });

  it.each([
    ["of one that is reset only what the link's buffers hold", true],
    ["of one that is ended everything", false],
  ])("carries of a connection that leaves in the middle, %s", async (_what, resets) => {
    const server = await counter();
    const proxy = await proxyTo(server.port, { up: constantTrace(20e6), clogBytes: 32_768 });
    const socket = dial(proxy.port);
    await once(socket, "connect");
    socket.write(new Uint8Array(400_000));
    await until(() => proxy.carriedBytes.up > 0);
    if (resets) socket.resetAndDestroy();
    else socket.end();
    await until(() => proxy.connections < 1);
    const before = proxy.carriedBytes.up;
    // Behind what is left of the first.
    await exchange(proxy.port, 1);
    const left = proxy.carriedBytes.up - 1 - before;
    if (resets) expect(left).toBeLessThanOrEqual(32_768);
    else expect(proxy.carriedBytes.up).toBe(400_001);
  });

  it("shows a connection to the server when the link has let its opening through", async () => {
    let connections = 0;
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      connections += 1;
      socket.resume().on("end", () => socket.end("x"));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    open.push({ close: () => server.close() });
    const proxy = await proxyTo((server.address() as AddressInfo).port);
    proxy.cut();
    const exchanged = exchange(proxy.port, 10);
    await until(() => proxy.connections === 1);
    expect(connections).toBe(0);
    proxy.restore();
    await exchanged;
    expect(connections).toBe(1);
  });

  it("lets nothing through while it is cut, and goes on afterwards", async () => {
    const server = await counter();
    const proxy = await proxyTo(server.port);
    proxy.cut();
    const exchanged = exchange(proxy.port, 10_000);
    await until(() => proxy.connections === 1);
    expect(server.seen()).toBe(0);
    proxy.restore();
    await exchanged;
    expect(server.seen()).toBe(10_000);
  });

  it("breaks and refuses connections when it is cut with a reset", async () => {
    const server = await counter();
    const proxy = await proxyTo(server.port, { up: constantTrace(1e6) });
    const exchanged = exchange(proxy.port, 1_000_000);
    exchanged.catch(() => undefined);
    await until(() => proxy.carriedBytes.up > 0);
    proxy.cut({ reset: true });
    await expect(exchanged).rejects.toThrow("closed early");
    await expect(exchange(proxy.port, 10)).rejects.toThrow("closed early");
    proxy.restore();
  });

  it("closes the client's side when there is no server, and is refused a port that is taken", async () => {
    const server = await counter();
    const proxy = await proxyTo(1);
    await expect(exchange(proxy.port, 10)).rejects.toThrow("closed early");
    await expect(proxyTo(server.port, { port: proxy.port })).rejects.toMatchObject({ reason: "port-taken" });
    await proxy.close();
    await proxy.close();
    await expect(exchange(proxy.port, 10)).rejects.toThrow("closed early");
  });
});

/** Waits for real sockets, however long they take. */
async function until(ready: () => boolean): Promise<void> {
  while (!ready()) await new Promise((resolve) => setImmediate(resolve));
}
