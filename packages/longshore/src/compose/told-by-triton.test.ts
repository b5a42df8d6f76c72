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

/** The wanted form of an output, as the servers get it. */
interface Wanted {
  readonly inputs: readonly { readonly data: readonly number[] }[];
  readonly outputs?: readonly { readonly parameters?: { readonly classification?: number } }[];
}

const labels = ["cat", "dog", "fish"];

async function bodyOf(request: IncomingMessage): Promise<Wanted> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString()) as Wanted;
}

/** A server that says of its one model what Triton says, as its clients see it; or one that knows of no configurations and classes. */
async function triton(is = true): Promise<{ readonly address: string; asked: Wanted[] }> {
  const asked: Wanted[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const answer = (status: number, value: object): void =>
      void response.writeHead(status).end(JSON.stringify(value));
    const [of, rest] = /^\/v2\/models\/m(?:\/versions\/1)?(\/.*)?$/.exec(request.url ?? "") ?? [];
    if (of !== undefined && rest === undefined) answer(200, metadata);
    else if (of !== undefined && rest === "/config" && is) answer(200, configuration);
    else if (of !== undefined && rest === "/infer")
      void bodyOf(request).then((message) => {
        asked.push(message);
        const data = message.inputs[0]?.data ?? [];
        const [{ parameters } = {}] = message.outputs ?? [];
        const best = data.map((score, index) => `${score.toFixed(6)}:${index}:${labels[index]}`);
        const count = is ? (parameters?.classification ?? 0) : 0;
        const y =
          count > 0
            ? { datatype: "BYTES", shape: [1, count], data: best.sort().toReversed().slice(0, count) }
            : { datatype: "FP32", shape: [1, 3], data };
        answer(200, { model_name: "m", model_version: "1", outputs: [{ name: "y", ...y }] });
      });
    else answer(404, { error: "not found" });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.closeAllConnections() }, server);
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** A gateway before servers, and another one before that. */
async function gateways(...endpoints: readonly { readonly address: string }[]): Promise<readonly string[]> {
  const servers = endpoints.map(({ address }) => ({ address, kind: "json", metrics: "none" }) as const);
  const near = await gateway({
    port: 0,
    dataClass: "internal",
    servers,
    id: "near",
    checks: { sampleRatio: 1 },
  });
  open.push(near);
  const over = [{ address: near.address }];
  const far = await gateway({ port: 0, dataClass: "internal", servers: over, id: "far" });
  open.push(far);
  return [near.address, far.address];
}

it("shows the configuration of a model as the server that has it does", async () => {
  for (const address of await gateways(await triton())) {
    const reply = await fetch(`${address}/v2/models/m/config`);
    expect([reply.status, await reply.json()]).toEqual([200, configuration]);
  }
});

it("reports a model's runtime in its server's own words, and nothing without them", async () => {
  for (const is of [true, false]) {
    for (const address of await gateways(await triton(is))) {
      const reply = await fetch(`${address}/v2/models/m`);
      expect(await reply.json()).toMatchObject({ name: "m", platform: is ? "python" : "" });
    }
  }
});

/** The answer to a request for classes of `y`, or for `y` itself. */
async function ask(address: string, classification?: number): Promise<unknown> {
  const inputs = [{ name: "x", datatype: "FP32", shape: [1, 3], data: [0.25, 0.5, 0.125] }];
  const outputs = [{ name: "y", ...(classification ? { parameters: { classification } } : {}) }];
  const reply = await fetch(`${address}/v2/models/m/infer`, {
    method: "POST",
    body: JSON.stringify({ inputs, outputs }),
  });
  const { outputs: given } = (await reply.json()) as { outputs?: { datatype: string; data: unknown[] }[] };
  return [reply.status, given?.[0]?.datatype, given?.[0]?.data];
}

it("names classes as the server does that has their labels", async () => {
  const endpoint = await triton();
  for (const address of await gateways(endpoint)) {
    expect(await ask(address, 2)).toEqual([200, "BYTES", ["0.500000:1:dog", "0.250000:0:cat"]]);
    expect(await ask(address)).toEqual([200, "FP32", [0.25, 0.5, 0.125]]);
  }
});

it("names them itself, without labels, if the server knows of no classes, and does not request any from it", async () => {
  const endpoint = await triton(false);
  for (const address of await gateways(endpoint))
    expect(await ask(address, 2)).toEqual([200, "BYTES", ["0.500000:1", "0.250000:0"]]);
  expect(endpoint.asked.map(({ outputs }) => outputs)).toEqual([[{ name: "y" }], [{ name: "y" }]]);
});

it("does not compare class texts of different endpoints: figures may differ in the last decimal place", async () => {
  const endpoints = [await triton(), await triton()];
  const [address = ""] = await gateways(...endpoints);
  for (let round = 0; round < 10; round++) await ask(address, 1);
  expect(endpoints.flatMap(({ asked }) => asked)).toHaveLength(10);
});
