import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { grpcStream, writeModels } from "@longshore/testkit";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
let server: RunningServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-served-rules-"));
  await writeModels(folder);
  const { store } = await openModel(folder);
  server = await serve({ store, port: 0, grpcPort: 0, id: "till", zone: "eu/de/store-7" });
});
afterAll(async () => {
  await server.close(0);
  await rm(folder, { recursive: true, force: true });
});

const rulesOf = (zones: string): string => `class=internal;trust=none${zones}`;

/** Asks over HTTP; without a body it only announces one. */
async function ask(path: string, zones: string, body?: object) {
  const json = JSON.stringify(body ?? {});
  const headers = {
    "content-type": "application/json",
    "content-length": body ? Buffer.byteLength(json) : 1000,
    "longshore-rules": rulesOf(zones),
  };
  const sent = request(`${server.address}/v2/models/${path}`, { method: "POST", headers });
  sent.on("error", () => undefined);
  if (body) sent.end(json);
  else sent.flushHeaders();
  const [reply] = await once(sent, "response");
  const said = await text(reply);
  sent.destroy();
  return { status: reply.statusCode as number, said };
}

const numbers = (name: string, columns: number) => ({
  name,
  datatype: "INT32",
  shape: [1, columns],
  data: Array.from({ length: columns }, () => 1),
});
const simple = { inputs: [numbers("INPUT0", 16), numbers("INPUT1", 16)] };
const sequence = {
  parameters: { sequence_id: 7, sequence_start: true, sequence_end: true },
  inputs: [numbers("INPUT", 1)],
};

/** A message of gRPC that names a model and a tensor. */
async function askGrpc(method: string, zones: string): Promise<string> {
  const session = connect(`http://${server.grpcAddress}`);
  const stream = grpcStream(session, method, { "longshore-rules": rulesOf(zones) });
  const told: IncomingHttpHeaders = {};
  stream.on("response", (headers) => Object.assign(told, headers));
  stream.on("trailers", (headers) => Object.assign(told, headers));
  const name = Buffer.from("simple");
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, name.length + 2, 10, name.length]), name]));
  const said = await text(stream);
  session.destroy();
  return `${decodeURIComponent([told["grpc-message"]].join(""))}${said}`;
}

const paths = [
  "simple/infer",
  "simple/versions/1/infer",
  "simple/versions/1/variants/default/segments/start..end/infer",
  "accumulate_int32/infer",
];

describe("a server that only runs here", () => {
  it.each(paths)("refuses a request to %s that must not enter its zone, before the body", async (path) => {
    const { status, said } = await ask(path, ";zones=us,eu/de/store-70");
    expect(status).toBe(403);
    expect(said).toContain('"reason":"policy-denied"');
    expect(said).toContain("zone rule: it processes in eu/de/store-7; allowed: us, eu/de/store-70");
    expect((await ask(path, ";zones=")).status).toBe(403);
  });

  it.each(paths)(
    "refuses a request to %s that a second endpoint must confirm, before the body",
    async (path) => {
      const { status, said } = await ask(path, ";confirm=true");
      expect(status).toBe(403);
      expect(said).toContain("confirmed by a second endpoint, and this server uses no other");
    },
  );

  it.each(["", ";zones=eu/de", ";zones=us,eu/de/store-7"])(
    "answers permitted requests: '%s'",
    async (zones) => {
      expect((await ask("simple/infer", zones, simple)).status).toBe(200);
      expect((await ask("accumulate_int32/infer", zones, sequence)).status).toBe(200);
    },
  );

  it.each(["ModelInfer", "ModelStreamInfer"])("refuses it over gRPC, too: %s", async (method) => {
    expect(await askGrpc(method, ";zones=us")).toContain("zone rule: it processes in eu/de/store-7");
    expect(await askGrpc(method, ";confirm=true")).toContain("confirmed by a second endpoint");
    // Goes on to its other problems.
    expect(await askGrpc(method, ";zones=eu")).toMatch(/INPUT0/);
  });
});

it("a server that says which data classes it runs refuses others, and requests that state none", async () => {
  const { store } = await openModel(folder);
  const strict = await serve({ store, port: 0, id: "strict", dataClasses: ["public", "internal"] });
  const infer = async (headers: Record<string, string>) => {
    const reply = await fetch(`${strict.address}/v2/models/simple/infer`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(simple),
    });
    return { status: reply.status, said: await reply.text() };
  };
  try {
    expect((await infer({ "longshore-rules": "class=internal;trust=none" })).status).toBe(200);
    const personal = await infer({ "longshore-rules": "class=personal;trust=none" });
    expect(personal.status).toBe(403);
    expect(personal.said).toContain('"reason":"policy-denied"');
    expect(personal.said).toContain("strict runs requests of the data classes public, internal only");
    expect((await infer({})).status).toBe(403);
  } finally {
    await strict.close(0);
  }
});

it("no server is in the zone of each caller's own machine", async () => {
  const { store } = await openModel(folder);
  await expect(serve({ store, port: 0, zone: "device" })).rejects.toMatchObject({
    reason: "invalid-configuration",
  });
});
