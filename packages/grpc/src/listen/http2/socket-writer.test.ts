import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { UnderWay } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { afterEach, expect, it } from "vitest";
import { SocketWriter } from "./socket-writer.ts";

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const one of sockets.splice(0)) one.destroy();
  for (const one of servers.splice(0)) one.close();
});

it("reads nothing more from a client that reads nothing, until it does", async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [Socket];
  sockets.push(client, socket);
  let drained = (): void => undefined;
  const all = new Promise<void>((resolve) => {
    drained = resolve;
  });
  const writer = new SocketWriter(
    socket,
    {
      options: { clock: systemClock(), replyTimeoutMs: 60_000 },
      sending: new UnderWay(),
      release: () => undefined,
    },
    drained,
  );
  socket.resume();
  // More than the kernel keeps for both ends of a connection on this machine.
  writer.send(new Uint8Array(32 * 2 ** 20));
  writer.holdBack();
  expect(writer.hasRoom).toBe(false);
  expect(socket.isPaused()).toBe(true);
  const heard = once(socket, "data");
  client.write("x");
  client.resume();
  await all;
  expect(socket.isPaused()).toBe(false);
  await heard;
});
