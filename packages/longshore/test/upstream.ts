/** Servers of the plain protocol whose inference a test writes, and gateways before them. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gateway, type GatewayOptions } from "../src/compose/forwarding.ts";
import type { Online } from "../src/compose/put-online.ts";

const open: { close(graceMs?: number): unknown }[] = [];

/** Closes what a test has opened. */
export async function closeAll(): Promise<void> {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
}

export type Infer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

interface Port {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** A server of the model `sum`; gives its address. */
export async function upstream(
  infer: Infer,
  inputs: readonly Port[] = [{ name: "x", datatype: "FP32", shape: [-1] }],
  outputs: readonly Port[] = [{ name: "y", datatype: "FP32", shape: [-1] }],
): Promise<string> {
  const metadata = {
    name: "sum",
    versions: ["1"],
    platform: "planted",
    inputs,
    outputs,
  };
  const server: Server = createServer((request, response) => {
    if (request.method === "POST" && request.url?.endsWith("/infer")) {
      void infer(request, response);
      return;
    }
    const known = request.url === "/v2/models/sum" || request.url === "/v2/models/sum/versions/1";
    response.writeHead(known ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(known ? metadata : { error: "not here" }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => (server.closeAllConnections(), server.close()) });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A gateway before servers. */
export async function before(
  addresses: readonly string[],
  more: Partial<GatewayOptions> = {},
): Promise<Online> {
  const servers = addresses.map((address) => ({ address, kind: "oip" as const }));
  const running = await gateway({ port: 0, id: "gateway", dataClass: "internal", servers, ...more });
  open.push(running);
  return running;
}

/** A reply of this many floats, in the protocol's form; returns its JSON. */
export function answer(response: ServerResponse, floats: number): Buffer {
  const output = {
    name: "y",
    datatype: "FP32",
    shape: [floats],
    parameters: { binary_data_size: 4 * floats },
  };
  const json = Buffer.from(
    JSON.stringify({ model_name: "sum", model_version: "1", id: "seven", outputs: [output] }),
  );
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    "inference-header-content-length": json.byteLength,
    "content-length": json.byteLength + 4 * floats,
  });
  return json;
}

export async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
