import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { gateway } from "./forwarding.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

const port = { datatype: "FP32", shape: [-1, 3] };
const metadata = {
  name: "m",
  versions: ["1"],
  inputs: [{ ...port, name: "x" }],
  outputs: [{ ...port, name: "y" }],
};
const configuration = {
  name: "m",
  platform: "",
  backend: "python",
  max_batch_size: 4,
  sequence_batching: {
    oldest: { max_candidate_sequences: 8 },
    max_sequence_idle_microseconds: 7_000_000,
    control_input: [{ name: "ID", control: [{ kind: "CONTROL_SEQUENCE_CORRID", data_type: "TYPE_UINT64" }] }],
  },
  parameters: { hello: { string_value: "there" } },
};

/** A server that says of its one model what Triton says, as its clients see it. */
async function triton(): Promise<string> {
  const server = createServer((request: IncomingMessage, response) => {
    const answer = (status: number, value: object): void =>
      void response.writeHead(status).end(JSON.stringify(value));
    const [of, rest] = /^\/v2\/models\/m(?:\/versions\/1)?(\/.*)?$/.exec(request.url ?? "") ?? [];
    if (of !== undefined && rest === undefined) answer(200, metadata);
    else if (of !== undefined && rest === "/config") answer(200, configuration);
    else answer(404, { error: "not found" });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.closeAllConnections() }, server);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A gateway before the server, and another one before that. */
async function gateways(): Promise<readonly string[]> {
  const servers = [{ address: await triton(), kind: "json", metrics: "none" }] as const;
  const near = await gateway({ port: 0, dataClass: "internal", servers, id: "near" });
  open.push(near);
  const over = [{ address: near.address }];
  const far = await gateway({ port: 0, dataClass: "internal", servers: over, id: "far" });
  open.push(far);
  return [near.address, far.address];
}

it("shows the configuration of a model as the server that has it does", async () => {
  for (const address of await gateways()) {
    const reply = await fetch(`${address}/v2/models/m/config`);
    expect([reply.status, await reply.json()]).toEqual([200, configuration]);
  }
});
