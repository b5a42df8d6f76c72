import { once } from "node:events";
import { createServer } from "node:net";
import { expect, it } from "vitest";
import { natsSession } from "./session.ts";

const info = { server_id: "s", version: "2.11.0", proto: 1, max_payload: 1_048_576, headers: true };

it("makes one connection for all callers at once, and another one only when that broke", async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on("error", () => undefined);
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (data) => void (data.includes("PING") && socket.write("PONG\r\n")));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (!address || typeof address === "string") throw new Error("a port was expected");
  const session = natsSession({ servers: `127.0.0.1:${address.port}` }, "the bucket");
  const used = () => session.use(async (connection) => connection);
  const [first, second] = await Promise.all([used(), used()]);
  expect(second).toBe(first);
  expect(await used()).toBe(first);
  expect(connections).toBe(1);
  await first.close();
  const [third, fourth] = await Promise.all([used(), used()]);
  expect(third).toBe(fourth);
  expect(connections).toBe(2);
  await session.close();
  expect(third.isClosed()).toBe(true);
  await expect(used()).rejects.toMatchObject({ reason: "shutting-down" });
  await new Promise((over) => server.close(over));
  await expect(
    natsSession({ servers: `127.0.0.1:${address.port}` }, "it").use(async () => 1),
  ).rejects.toMatchObject({
    reason: "unreachable",
  });
});
