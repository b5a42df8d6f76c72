import { once } from "node:events";
import { connect, createServer, type Server, Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type Handler, readBody, seededRandom } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import { directSocket } from "./direct-socket.ts";
import { listen, type Listening } from "../listen.ts";

const sockets: Socket[] = [];
const listening: Listening[] = [];
const servers: Server[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  await Promise.all(listening.splice(0).map((one) => one.close(0)));
});

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

describe("a connection that reads into given memory", () => {
  it("is made from one that Node.js has accepted, and is counted by its server as before", async () => {
    const buffers = [new Uint8Array(3), new Uint8Array(5)];
    const came: number[] = [];
    let asked = 0;
    const server = createServer().listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    const accepted = once(server, "connection");
    const socket = await dial((server.address() as { port: number }).port);
    const [given] = (await accepted) as [Socket];
    const direct = directSocket(given, {
      memory: () => buffers[asked++ % 2]!,
      came: (bytes) => came.push(bytes),
    });
    if (!direct) throw new Error("this Node.js cannot do it any more");
    direct.resume();
    socket.write("abcdefgh");
    const ended = once(direct, "end");
    socket.end();
    await ended;
    expect(came).toEqual([3, 5]);
    expect(buffers.map((buffer) => Buffer.from(buffer).toString())).toEqual(["abc", "defgh"]);
    direct.destroy();
    await once(direct, "close");
    const connections = await new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    expect(connections).toBe(0);
  });

  it("is not made of a socket without a handle", () => {
    expect(
      directSocket(new Socket(), { memory: () => new Uint8Array(1), came: () => undefined }),
    ).toBeUndefined();
  });
});

describe("bodies that are read to where they belong", () => {
  const length = 3_000_001;
  const bytes = Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31) % 251));
  const head = `POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n`;

  async function serving(handler: Handler): Promise<Socket> {
    const one = await listen(handler, {
      clock: systemClock(),
      random: seededRandom(1),
      port: 0,
      lingerBytes: 2 ** 24,
    });
    listening.push(one);
    return dial(one.port);
  }

  /** Replies to this many requests, as one text. */
  const replies = (socket: Socket, count: number): Promise<string> =>
    new Promise((resolve) => {
      let heard = "";
      socket.on("data", (chunk: Buffer) => {
        heard += chunk.toString("latin1");
        if (heard.split("HTTP/1.1 200").length > count && heard.endsWith("!")) resolve(heard);
      });
    });

  const reply = (text: string) => ({
    status: 200,
    headers: {},
    body: { kind: "parts" as const, parts: [Buffer.from(`${text}!`)] },
  });

  it.each([
    ["at once", 0],
    ["when some of them is here", 5],
  ])("are whole when their memory is named %s, with the bytes after them", async (_what, turns) => {
    const seen: boolean[] = [];
    const arrived: number[] = [];
    const socket = await serving(async ({ body }) => {
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      const memory = (size: number): ArrayBuffer => new Uint8Array(size).fill(7).buffer;
      const whole = await readBody(body, {
        maxBytes: 2 ** 24,
        lead: 5,
        memory,
        arrived: (count) => arrived.push(count),
      });
      seen.push(Buffer.from(whole.subarray(5)).equals(bytes));
      return reply("got");
    });
    const all = replies(socket, 4);
    // Two in one piece, so that the second begins while the memory for short reads is what is read into.
    socket.write(Buffer.concat([Buffer.from(head), bytes, Buffer.from(head), bytes]));
    socket.write(Buffer.concat([Buffer.from(head), bytes.subarray(0, 10)]));
    while (!arrived.includes(10)) await new Promise((resolve) => setImmediate(resolve));
    socket.write(Buffer.concat([bytes.subarray(10), Buffer.from(head), bytes]));
    await all;
    expect(seen).toEqual([true, true, true, true]);
    expect(arrived.filter((count) => count === length)).toHaveLength(4);
    const shorter = arrived.filter((count, index) => index > 0 && count <= (arrived[index - 1] ?? 0));
    expect(shorter).toHaveLength(3);
  });

  it("that come in drops hold about as much memory as has come of them", async () => {
    const chunks: Uint8Array[] = [];
    let told = (): void => undefined;
    const socket = await serving(async ({ body }) => {
      if (body.kind === "parts") throw new Error("all of it came at once");
      for await (const chunk of body.read()) {
        chunks.push(chunk);
        told();
      }
      return reply("got");
    });
    const all = replies(socket, 1);
    const drops = 20;
    socket.write(`POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: ${drops * 100}\r\n\r\n`);
    for (let drop = 0; drop < drops; drop++) {
      const here = new Promise<void>((resolve) => {
        told = resolve;
      });
      socket.write(bytes.subarray(drop * 100, (drop + 1) * 100));
      await here;
    }
    await all;
    expect(Buffer.concat(chunks).equals(bytes.subarray(0, drops * 100))).toBe(true);
    expect(chunks.filter(({ buffer, byteLength }) => buffer.byteLength > 2 * byteLength)).toHaveLength(0);
  });

  it("that are given up midway leave the next request whole", async () => {
    let asked = 0;
    const seen: boolean[] = [];
    const socket = await serving(async ({ body }) => {
      asked += 1;
      const reading = readBody(body, { maxBytes: 2 ** 24 });
      if (asked === 1) {
        reading.catch(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
        return reply("no");
      }
      seen.push(Buffer.from(await reading).equals(bytes));
      return reply("got");
    });
    const first = replies(socket, 1);
    socket.write(Buffer.concat([Buffer.from(head), bytes.subarray(0, 1_000_000)]));
    await first;
    const second = replies(socket, 1);
    socket.write(Buffer.concat([bytes.subarray(1_000_000), Buffer.from(head), bytes]));
    await second;
    expect(seen).toEqual([true]);
  });

  it("that are broken off are refused", async () => {
    let failed: unknown;
    let told = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      told = resolve;
    });
    const socket = await serving(async ({ body }) => {
      failed = await readBody(body, { maxBytes: 2 ** 24 }).catch((thrown: unknown) => thrown);
      told();
      return reply("no");
    });
    socket.end(Buffer.concat([Buffer.from(head), bytes.subarray(0, 1_000_000)]));
    await over;
    expect(failed).toMatchObject({ reason: "body-mismatch" });
  });
});
